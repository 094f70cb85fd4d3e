package regret

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
)

// row is one scenario of the suite: a line of the table. A workload is one; worlds that need another
// harness (batches, caches, urgencies) bring their own.
type row interface {
	// Name returns the row's letter, unique and what rows are sorted by, and one line of what its world is.
	Name() (id, title string)
	// Measure plays all that the row compares and returns its figures. ID and Title are filled in.
	Measure(t *testing.T) outcome
}

// shorter is a row that takes part in `make test`: a second or two, with assertions.
type shorter interface {
	row
	Short(t *testing.T)
}

// registered are the rows of the suite, each file's own by its init.
var registered []row

func register(rows ...row) { registered = append(registered, rows...) }

// suite returns the rows in the table's order.
func suite() []row {
	rows := slices.Clone(registered)
	slices.SortFunc(rows, func(a, b row) int {
		x, _ := a.Name()
		y, _ := b.Name()
		return cmp.Compare(x, y)
	})
	return rows
}

// outcome is what a row came to. All of it goes into the table's file as JSON.
type outcome struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Best tells the best fixed setting and what it gave, e.g. "150.9/s (50 workers)".
	Best string `json:"best"`
	// Penstock is ours, Peers are others' by name (those of peerNames have a column).
	Penstock figure            `json:"penstock"`
	Peers    map[string]figure `json:"peers,omitempty"`
	// After is how many round trips ours took after each change to stay within 5 % of the new optimum;
	// -1: it did not.
	After []float64 `json:"after,omitempty"`
	// Probing is the share of permit-time that ours spent off its settled value, 0..1.
	Probing float64 `json:"probing"`
	// Marks are the marks that apply to this row.
	Marks []marked `json:"marks,omitempty"`
	// Note is a sentence for under the table; empty: none.
	Note string `json:"note,omitempty"`
}

// figure is one cell.
type figure struct {
	// Share of the best fixed setting, 1 for equal; the median of the seeds. Least is that of the worst seed.
	Share float64 `json:"share"`
	Least float64 `json:"least,omitempty"`
	// Extra stands in brackets behind it: refusals for 100 answers, a stale share; empty: nothing.
	Extra string `json:"extra,omitempty"`
}

func (f figure) String() string {
	s := fmt.Sprintf("%.1f %%", 100*f.Share)
	if f.Extra != "" {
		s += " (" + f.Extra + ")"
	}
	return s
}

// mark is one of the marks that the issue sets.
type mark string

const (
	markStill   mark = "at least 97 % of the best fixed setting where the world stands still"
	markShift   mark = "above every fixed setting where it shifts"
	markAhead   mark = "ahead of every published rule (level counts: within half a percent of one that is within half a percent of the best possible)"
	markAfter   mark = "within 5 % of the new optimum in at most 20 round trips after each change"
	markQuota   mark = "at least 97 % of an unknown quota used, at most 2 refusals for 100 answers"
	markStale   mark = "stale share at most the target, upstream calls within 10 % of the best fixed TTL that meets it"
	markVerdict mark = "no decision left standing whose verdict is worse"
	markProbing mark = "at most 5 % of permits spent on probing"
)

// marks are all of them, in the page's order.
var marks = []mark{markStill, markShift, markAhead, markAfter, markQuota, markStale, markVerdict, markProbing}

// asserted are the marks whose miss fails the full run.
var asserted = []mark{markVerdict, markProbing}

// marked is whether a row meets a mark, and the figure that says so.
type marked struct {
	Mark   mark   `json:"mark"`
	Met    bool   `json:"met"`
	Figure string `json:"figure,omitempty"`
}

func (o *outcome) mark(m mark, met bool, format string, args ...any) {
	o.Marks = append(o.Marks, marked{m, met, fmt.Sprintf(format, args...)})
}

// markAhead compares ours with each of the peers.
func (o *outcome) markAhead() {
	const level = .005
	behind := ""
	for _, name := range peerNames() {
		p, ok := o.Peers[name]
		switch {
		case !ok || o.Penstock.Share > p.Share:
		case p.Share >= 1-level && o.Penstock.Share >= p.Share-level:
		default:
			behind += fmt.Sprintf(", %s %.1f", name, 100*p.Share)
		}
	}
	o.mark(markAhead, behind == "", "%.1f%s", 100*o.Penstock.Share, behind)
}

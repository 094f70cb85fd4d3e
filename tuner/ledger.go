package tuner

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Verdict is what became of a decision.
type Verdict string

// The verdicts. A decision that is not judged (yet) has none.
const (
	VerdictBetter  Verdict = "better"
	VerdictNeutral Verdict = "neutral"
	VerdictWorse   Verdict = "worse"
)

// Decision is one change of one knob.
type Decision struct {
	// ID is unique, also across restarts.
	ID string `json:"id"`
	// Rev is the number of the decision's last change: it rises with everything that happens to the
	// ledger, also across restarts.
	Rev  uint64    `json:"rev"`
	Time time.Time `json:"time"`
	// Node is the node of a cluster that decided; empty: there is none.
	Node string `json:"node,omitempty"`
	Knob string `json:"knob"`
	// Upstream and Route are what the knob belongs to, empty if none.
	Upstream string `json:"upstream,omitempty"`
	Route    string `json:"route,omitempty"`
	// From and To are in the knob's base unit.
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// Rule names the rule that fired; "pin" and "unpin" are an operator's.
	Rule string `json:"rule"`
	// Reason is one plain sentence with the numbers in it.
	Reason string `json:"reason"`
	// Signals are the numbers that the rule read.
	Signals map[string]float64 `json:"signals,omitempty"`
	// Expected says what the change should bring.
	Expected string `json:"expected,omitempty"`
	// Mode is shadow for a decision that was not applied. It is empty for an operator's.
	Mode Mode `json:"mode,omitempty"`
	// Author is who decided, where it was not the tuner.
	Author string `json:"author,omitempty"`

	// Verdict, Measured (one sentence) and JudgedAt come after the evaluation window.
	Verdict  Verdict   `json:"verdict,omitempty"`
	Measured string    `json:"measured,omitempty"`
	JudgedAt time.Time `json:"judged_at,omitzero"`
	// Confidence, 0..1, says how sure it is that the verdict is not chance; 0: not known.
	Confidence float64 `json:"confidence,omitempty"`
	// RolledBack: the knob was turned back to From because of the verdict.
	RolledBack bool `json:"rolled_back,omitempty"`
	// Repeats counts how often a shadow decision was made again with nothing changed.
	Repeats int `json:"repeats,omitempty"`
}

// Filter selects decisions. Its zero value selects all.
type Filter struct {
	// Knob and Verdict, if set, must be equal.
	Knob    string
	Verdict Verdict
	// Since leaves out decisions made before it.
	Since time.Time
	// Limit is the most to return, the newest; 0: no limit.
	Limit int
}

func (f Filter) matches(d *Decision) bool {
	return (f.Knob == "" || d.Knob == f.Knob) && (f.Verdict == "" || d.Verdict == f.Verdict) && !d.Time.Before(f.Since)
}

// DefaultLedgerSize is how many decisions a Ledger keeps unless told otherwise.
const DefaultLedgerSize = 1000

// Ledger keeps the last decisions in memory. Safe for concurrent use.
type Ledger struct {
	prefix string // makes ids unique across restarts

	mu        sync.Mutex // guards what follows
	node      string     // whose ledger it is, in a cluster
	size      int
	seq       int
	decisions []*Decision // oldest first
	rev       uint64      // of the last change
	followers map[chan struct{}]struct{}
	keeping   bool   // Kept was called
	kept      uint64 // the last change that is kept elsewhere
	lost      uint64
}

// NewLedger returns a Ledger of at most size decisions; 0: DefaultLedgerSize.
func NewLedger(size int) *Ledger {
	if size <= 0 {
		size = DefaultLedgerSize
	}
	return &Ledger{
		size: size, prefix: strconv.FormatInt(time.Now().UnixMilli(), 36), rev: firstRev(),
		followers: make(map[chan struct{}]struct{}),
	}
}

// Record adds a decision, the tuner's or an operator's (a pin), and returns its id. ID is given here;
// a zero Time is now.
func (l *Ledger) Record(d Decision) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	d.ID = l.prefix + "-" + strconv.Itoa(l.seq)
	if l.node != "" {
		d.ID = l.node + "-" + d.ID
	}
	d.Node = l.node
	if d.Time.IsZero() {
		d.Time = time.Now()
	}
	d.Signals = maps.Clone(d.Signals)
	l.makeRoom()
	l.decisions = append(l.decisions, &d)
	l.touch(&d)
	return d.ID
}

// makeRoom drops the oldest decisions until there is room for one. The caller holds mu.
func (l *Ledger) makeRoom() {
	over := len(l.decisions) - l.size + 1
	if over <= 0 {
		return
	}
	for _, gone := range l.decisions[:over] {
		if l.keeping && gone.Rev > l.kept && gone.Node == l.node {
			l.lost++
		}
	}
	l.decisions = slices.Delete(l.decisions, 0, over)
}

// amend changes a decision that is still kept and returns it as it is then.
func (l *Ledger) amend(id string, f func(*Decision)) (Decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Backward(l.decisions) {
		if d.ID == id {
			f(d)
			l.touch(d)
			return d.copy(), true
		}
	}
	return Decision{}, false
}

func (d *Decision) copy() Decision {
	c := *d
	c.Signals = maps.Clone(d.Signals)
	return c
}

// Decisions returns the decisions that match, newest first.
func (l *Ledger) Decisions(f Filter) []Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Decision{}
	for _, d := range slices.Backward(l.decisions) {
		if f.matches(d) {
			out = append(out, d.copy())
			if len(out) == f.Limit {
				break
			}
		}
	}
	return out
}

// Decision returns one decision by id.
func (l *Ledger) Decision(id string) (Decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range slices.Backward(l.decisions) {
		if d.ID == id {
			return d.copy(), true
		}
	}
	return Decision{}, false
}

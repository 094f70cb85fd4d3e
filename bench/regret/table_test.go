package regret

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

var (
	full    = flag.Bool("full", false, "run the whole suite")
	only    = flag.String("only", "", "some rows, by their letters with commas between")
	told    = flag.Bool("tell", false, "tell the tuner's decisions and the workers over time")
	quick   = flag.Bool("quick", false, "without peers, one seed")
	against = flag.Int("against", 0, "compare workloads with so many workers instead of the best of the grid")
	seeds   = flag.Int("seeds", 3, "how many seeds; the median counts")
	write   = flag.Bool("write", false, "write the figures and docs/regret.md; rows that were not run keep theirs")
)

// TestTable measures rows of the suite; with -write it writes docs/regret.md.
func TestTable(t *testing.T) {
	if !*full && *only == "" {
		t.Log("the whole table takes minutes: -args -full")
		return
	}
	var fresh []outcome
	for _, r := range suite() {
		id, title := r.Name()
		if *only != "" && !slices.Contains(strings.Split(*only, ","), id) {
			continue
		}
		t.Run(id, func(t *testing.T) {
			o := r.Measure(t)
			o.ID, o.Title = id, title
			t.Logf("%s", tableOf([]outcome{o}))
			for _, m := range o.Marks {
				if !m.Met && slices.Contains(asserted, m.Mark) {
					t.Errorf("missed: %s: %s", m.Mark, m.Figure)
				} else if !m.Met {
					t.Logf("missed: %s: %s", m.Mark, m.Figure)
				}
			}
			fresh = append(fresh, o)
		})
	}
	if *write {
		if err := writePage(fresh); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShort is the suite's part in make test.
func TestShort(t *testing.T) {
	for _, r := range suite() {
		if s, ok := r.(shorter); ok {
			id, _ := r.Name()
			t.Run(id, s.Short)
		}
	}
}

func TestRowsHaveLettersOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range suite() {
		id, title := r.Name()
		if id == "" || title == "" || seen[id] {
			t.Errorf("the row %q %q has no letter of its own, or no title", id, title)
		}
		seen[id] = true
	}
}

func TestThePageIsMadeOfTheFigures(t *testing.T) {
	o := outcome{ID: "x", Title: "a world", Best: "10/s", Penstock: figure{Share: .98, Least: .97, Extra: "0.5"},
		Peers: map[string]figure{"Vegas": {Share: .99}}, After: []float64{3, -1}, Probing: .02}
	o.markAhead()
	page, err := renderPage([]outcome{o})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| x | a world | 10/s | 98.0 % (0.5) | 97.0 % | - | 99.0 % |", "3, - | 2.0 % |", "x (98.0, Vegas 99.0)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

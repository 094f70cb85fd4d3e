package tuner

import (
	"fmt"
	"testing"
	"time"
)

func TestTheLedgerKeepsTheNewest(t *testing.T) {
	l := NewLedger(10)
	var ids []string
	for i := range 35 {
		ids = append(ids, l.Record(Decision{Knob: fmt.Sprint("k", i%2), To: float64(i)}))
	}
	all := l.Decisions(Filter{})
	if len(all) != 10 || all[0].To != 34 || all[9].To != 25 {
		t.Fatalf("%d decisions, from %v", len(all), all[0].To)
	}
	if _, ok := l.Decision(ids[0]); ok {
		t.Error("the oldest is still there")
	}
	if d, ok := l.Decision(ids[30]); !ok || d.To != 30 || d.ID != ids[30] || d.Time.IsZero() {
		t.Errorf("got %+v, %v", d, ok)
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			t.Fatalf("id %s twice", id)
		}
		seen[id] = true
	}
}

func TestDecisionsAreFiltered(t *testing.T) {
	l := NewLedger(0)
	start := time.Unix(1000, 0)
	for i := range 6 {
		id := l.Record(Decision{Knob: fmt.Sprint("k", i%2), Time: start.Add(time.Duration(i) * time.Second), To: float64(i)})
		if i == 3 {
			l.amend(id, func(d *Decision) { d.Verdict = VerdictWorse })
		}
	}
	for name, c := range map[string]struct {
		f    Filter
		want []float64
	}{
		"all":     {Filter{}, []float64{5, 4, 3, 2, 1, 0}},
		"knob":    {Filter{Knob: "k1"}, []float64{5, 3, 1}},
		"since":   {Filter{Since: start.Add(4 * time.Second)}, []float64{5, 4}},
		"verdict": {Filter{Verdict: VerdictWorse}, []float64{3}},
		"limit":   {Filter{Knob: "k0", Limit: 2}, []float64{4, 2}},
		"none":    {Filter{Knob: "k9"}, []float64{}},
	} {
		got := l.Decisions(c.f)
		if got == nil || len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i := range got {
			if got[i].To != c.want[i] {
				t.Errorf("%s: number %d is %v, want %v", name, i, got[i].To, c.want[i])
			}
		}
	}
}

func TestARecordIsACopy(t *testing.T) {
	l := NewLedger(0)
	signals := map[string]float64{"x": 1}
	id := l.Record(Decision{Rule: "pin", Author: "ann", Signals: signals})
	signals["x"] = 2
	got, _ := l.Decision(id)
	got.Signals["x"] = 3
	if again, _ := l.Decision(id); again.Signals["x"] != 1 || again.Author != "ann" {
		t.Errorf("the record became %+v", again)
	}
}

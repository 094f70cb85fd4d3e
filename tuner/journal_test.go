package tuner

import (
	"slices"
	"testing"
	"time"
)

func ids(list []Decision) (out []string) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func TestAFollowerGetsTheLastStateOfWhatChanged(t *testing.T) {
	l := NewLedger(0)
	wake, cancel := l.Follow()
	a, b := l.Record(Decision{Knob: "a"}), l.Record(Decision{Knob: "b"})
	<-wake
	seen := l.Rev()
	if got := l.Changes(seen, Filter{}); len(got) != 0 {
		t.Errorf("nothing changed, and it gives %+v", got)
	}
	c := l.Record(Decision{Knob: "c"})
	l.amend(a, func(d *Decision) { d.Verdict = VerdictBetter })
	l.amend(a, func(d *Decision) { d.Measured = "much" })
	<-wake
	got := l.Changes(seen, Filter{})
	if !slices.Equal(ids(got), []string{c, a}) || got[1].Verdict != VerdictBetter || got[1].Measured != "much" || got[1].Rev != l.Rev() {
		t.Errorf("changes %+v", got)
	}
	if got := l.Changes(0, Filter{Limit: 2}); !slices.Equal(ids(got), []string{b, c}) {
		t.Errorf("the first two changes: %v, want %v", ids(got), []string{b, c})
	}
	if got := l.Changes(0, Filter{Knob: "a"}); !slices.Equal(ids(got), []string{a}) {
		t.Errorf("changes of a: %v", ids(got))
	}
	cancel()
	l.Record(Decision{})
	select {
	case <-wake:
		t.Error("woken after cancel")
	default:
	}
}

func TestReadingADecisionIsNoChange(t *testing.T) {
	l := NewLedger(0)
	id := l.Record(Decision{Knob: "a"})
	rev := l.Rev()
	if d, ok := l.Decision(id); !ok || d.Rev != rev || l.Rev() != rev {
		t.Errorf("rev %d, then %+v, %d", rev, d, l.Rev())
	}
}

func TestDecisionsThatGoUnkeptAreCounted(t *testing.T) {
	l := NewLedger(3)
	for range 5 {
		l.Record(Decision{}) // nobody keeps them: nothing is lost
	}
	l.Kept(l.Changes(0, Filter{})[1].Rev)
	for range 2 {
		l.Record(Decision{})
	}
	if l.Lost() != 0 {
		t.Errorf("%d lost, but those were kept", l.Lost())
	}
	for range 4 {
		l.Record(Decision{})
	}
	if l.Lost() != 4 {
		t.Errorf("%d lost, want 4", l.Lost())
	}
}

func TestRestoredDecisionsComeFirstAndKeepTheirIDs(t *testing.T) {
	old := NewLedger(0)
	first := old.Record(Decision{Knob: "a", Mode: ModeActive, Signals: map[string]float64{"x": 1}})
	before := old.Changes(0, Filter{})
	second := old.Record(Decision{Knob: "b", Mode: ModeActive})
	old.amend(first, func(d *Decision) { d.Verdict = VerdictWorse })
	saved := append(before, old.Changes(0, Filter{})...) // first is there twice, in two states

	l := NewLedger(3)
	l.prefix = "later" // than the same millisecond
	own := l.Record(Decision{Knob: "c", Time: time.Now().Add(time.Hour)})
	start := l.Rev()
	l.Restore(saved)
	l.Restore(saved)
	got := l.Decisions(Filter{})
	if !slices.Equal(ids(got), []string{own, second, first}) {
		t.Fatalf("got %v", ids(got))
	}
	if got[2].Verdict != VerdictWorse || got[2].Measured != "" || got[2].Signals["x"] != 1 {
		t.Errorf("the judged one: %+v", got[2])
	}
	if got[1].Measured != notJudged || got[1].Rev <= start {
		t.Errorf("the one that waited: %+v", got[1])
	}
	small := NewLedger(1)
	small.Restore(saved)
	if got := small.Decisions(Filter{}); !slices.Equal(ids(got), []string{second}) {
		t.Errorf("with room for one: %v", ids(got))
	}
}

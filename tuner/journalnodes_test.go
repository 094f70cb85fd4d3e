package tuner

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLedgersOfNodesBecomeOne(t *testing.T) {
	l := NewLedger(4)
	l.Named("a")
	at := time.Now().Add(-time.Hour)
	own := l.Record(Decision{Knob: "own", Time: at})
	if !strings.HasPrefix(own, "a-") {
		t.Errorf("id %q", own)
	}
	foreign := Decision{ID: "b-1", Node: "b", Knob: "early", Time: at.Add(-time.Minute), Mode: ModeActive, Rev: 7}
	rev := l.Rev()
	if !l.Merge(foreign) || len(l.Changes(rev, Filter{})) != 1 {
		t.Error("news is not told")
	}
	l.Merge(Decision{ID: "b-2", Node: "b", Knob: "late", Time: at.Add(time.Minute)})
	if l.Merge(Decision{ID: own, Node: "a", Knob: "changed"}) || l.Merge(Decision{ID: "x"}) {
		t.Error("another node changed a decision of this one")
	}
	names := func() (s string) {
		for _, d := range l.Decisions(Filter{}) {
			s += d.Knob + " "
		}
		return s
	}
	if got := names(); got != "late own early " {
		t.Errorf("newest first: %s", got)
	}
	foreign.Verdict = VerdictBetter
	l.Merge(foreign)
	if d, ok := l.Decision("b-1"); !ok || d.Verdict != VerdictBetter || names() != "late own early " {
		t.Errorf("%+v, %s", d, names())
	}
	for range 3 {
		l.Record(Decision{Knob: "new"})
	}
	if l.Merge(Decision{ID: "b-0", Node: "b", Time: at.Add(-time.Hour)}) || len(l.Decisions(Filter{})) != 4 {
		t.Errorf("a full ledger: %s", names())
	}
	l.Restore([]Decision{{ID: "b-9", Node: "b", Mode: ModeActive, Time: at}})
	if d, ok := l.Decision("b-9"); ok && d.Measured != "" {
		t.Errorf("a decision of a node that lives was given up: %+v", d)
	}
}

func TestWhoFollowsTunesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{Mode: ModeActive}, "m")
		defer h.loop.Stop()
		h.loop.SetFollowing(true)
		time.Sleep(10 * time.Minute)
		if s := h.loop.Status()[0]; s.Mode != ModeOff || s.Rule != "follow" || h.a.Get() != 2 {
			t.Errorf("it follows and stands at %d: %+v", h.a.Get(), s)
		}
		h.loop.SetFollowing(false)
		time.Sleep(10 * time.Minute)
		if s := h.loop.Status()[0]; s.Mode != ModeActive || h.a.Get() != 5 {
			t.Errorf("then it stands at %d: %+v", h.a.Get(), s)
		}
	})
}

package tuner

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// gain is what the toy world of these tests measures: a yield that depends on the knobs.
type gain struct {
	Yield float64 `json:"yield"`
}

type climbState struct {
	Looks   int  `json:"looks"`
	Settled bool `json:"settled"`
}

// climb is the smallest rule that is a whole one: it goes up by one while that pays.
func climb(yield func() float64, perSecond float64) Rule[gain, climbState] {
	return Rule[gain, climbState]{
		Measure: func(from, to time.Time) (gain, int) {
			return gain{yield()}, int(perSecond * to.Sub(from).Seconds())
		},
		Signals: func(g gain) map[string]float64 { return map[string]float64{"yield": g.Yield} },
		Decide: func(in In[gain], s climbState) (Proposal, climbState) {
			s.Looks++
			s.Settled = s.Settled || in.Last != nil && in.Last.Verdict != VerdictBetter
			if s.Settled {
				return Proposal{To: in.Value, Rule: "settled", Reason: "more did not pay"}, s
			}
			return Proposal{To: in.Value + 1, Rule: "climb", Reason: "more may pay", Expected: "a higher yield"}, s
		},
		Judge: func(t Trial, before, after gain) Effect {
			switch {
			case after.Yield > before.Yield:
				return Effect{Verdict: VerdictBetter, Measured: "the yield rose", Confidence: 1}
			case after.Yield < before.Yield:
				return Effect{Verdict: VerdictWorse, Measured: "the yield fell", Confidence: 1}
			}
			return Effect{Verdict: VerdictNeutral, Measured: "the yield stayed"}
		},
		Model: func(value float64, s climbState) any { return map[string]any{"kind": "climb", "looks": s.Looks} },
	}
}

// hill is a loop with knobs of a toy world whose yield is highest where both are at 5.
type hill struct {
	loop   *Loop
	knobs  *knob.Registry
	a, b   knob.Int
	window *observe.Window
}

func newHill(t *testing.T, o Options, couple string) *hill {
	h := &hill{knobs: knob.NewRegistry(), window: observe.NewWindow(observe.WindowOptions{})}
	var err error
	if h.a, err = h.knobs.Int(knob.Spec{Name: "toy.a", Default: 2, Min: 0, Max: 10, MaxStep: 1}); err != nil {
		t.Fatal(err)
	}
	if h.b, err = h.knobs.Int(knob.Spec{Name: "toy.b", Default: 2, Min: 0, Max: 10, MaxStep: 1}); err != nil {
		t.Fatal(err)
	}
	yield := func() float64 {
		a, b := float64(h.a.Get()-5), float64(h.b.Get()-5)
		return 100 - a*a - b*b
	}
	o.Knobs, o.Signals = h.knobs, h.window
	o.Plugs = []Plug{
		{Knob: "toy.a", Kind: "climb", Upstream: "m", Couple: couple, Slow: climb(yield, 10).Slow()},
		{Knob: "toy.b", Kind: "climb", Upstream: "m", Couple: couple, Slow: climb(yield, 10).Slow()},
	}
	h.loop = New(o)
	h.loop.Start()
	t.Cleanup(h.loop.Stop)
	return h
}

func TestAnyKnobCanBePluggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{Mode: ModeActive}, "m")
		defer h.loop.Stop()
		time.Sleep(10 * time.Minute)
		if h.a.Get() != 5 || h.b.Get() != 5 {
			t.Errorf("the knobs stand at %d and %d, want 5 and 5", h.a.Get(), h.b.Get())
		}
		for _, d := range h.loop.Decisions(Filter{}) {
			if d.Verdict == VerdictWorse && !d.RolledBack || d.Verdict == "" || d.Signals["yield"] == 0 || d.Upstream != "m" {
				t.Errorf("the decision %+v", d)
			}
		}
		v := h.loop.View()
		if len(v.Knobs) != 2 || v.Knobs[0].Model == nil || v.Mode != ModeActive {
			t.Errorf("the view is %+v", v)
		}
	})
}

func TestCoupledKnobsAreOnTrialOneAtATime(t *testing.T) {
	for _, couple := range []string{"", "m"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHill(t, Options{Mode: ModeActive}, couple)
			defer h.loop.Stop()
			both := false
			for range 600 {
				time.Sleep(time.Second)
				judging := 0
				for _, s := range h.loop.Status() {
					if s.Judging != "" {
						judging++
					}
				}
				both = both || judging == 2
			}
			if both == (couple != "") {
				t.Errorf("coupled by %q: two on trial at once: %v", couple, both)
			}
		})
	}
}

func TestAModeOfItsOwnHoldsForEachKnob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{Mode: ModeActive, Modes: map[string]Mode{"toy.*": ModeShadow, "toy.b": ModeActive}}, "m")
		defer h.loop.Stop()
		time.Sleep(5 * time.Minute)
		if h.a.Get() != 2 || h.b.Get() != 5 {
			t.Errorf("the knobs stand at %d and %d, want 2 and 5", h.a.Get(), h.b.Get())
		}
		shadow := h.loop.Decisions(Filter{Knob: "toy.a"})
		if len(shadow) == 0 || shadow[0].Mode != ModeShadow {
			t.Errorf("the shadow decided %+v", shadow)
		}
		h.loop.SetSwitches(Switches{Modes: map[string]Mode{"toy.a": ModeActive, "toy.b": ModeOff}})
		time.Sleep(5 * time.Minute)
		if h.a.Get() != 5 {
			t.Errorf("toy.a stands at %d after it was made active", h.a.Get())
		}
		h.loop.SetSwitches(Switches{Mode: ModeOff, Modes: map[string]Mode{"toy.a": ModeActive}})
		for _, s := range h.loop.Status() {
			if s.Mode != ModeOff {
				t.Errorf("with all off, %s is %s", s.Knob, s.Mode)
			}
		}
	})
}

func TestPatternsAreCheckedAndTheLongestWins(t *testing.T) {
	for p, ok := range map[string]bool{"workers.m": true, "cache.ttl.*": true, "*": true, "": false, "a*": false, "a.*.b": false} {
		if err := CheckPattern(p); (err == nil) != ok {
			t.Errorf("%q: %v", p, err)
		}
	}
	modes := map[string]Mode{"*": ModeOff, "cache.*": ModeShadow, "cache.ttl.*": ModeActive, "cache.ttl.m": ModeOff}
	for name, want := range map[string]Mode{"x": ModeOff, "cache.memory": ModeShadow, "cache.ttl.n": ModeActive, "cache.ttl.m": ModeOff} {
		if m, ok := modeOf(modes, name); m != want || !ok {
			t.Errorf("%s: %s", name, m)
		}
	}
}

func TestWhatWasLearnedIsSavedAndFades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{Mode: ModeActive}, "")
		time.Sleep(5 * time.Minute)
		states, err := h.loop.States()
		h.loop.Stop()
		if err != nil || !strings.Contains(string(states["toy.a"].Slow), `"looks":`) {
			t.Fatalf("%v, %v", states, err)
		}
		again := newHill(t, Options{}, "")
		defer again.loop.Stop()
		if err := again.loop.Restore(states); err != nil {
			t.Fatal(err)
		}
		if back, _ := again.loop.States(); string(back["toy.a"].Slow) != string(states["toy.a"].Slow) {
			t.Errorf("%s came back as %s", states["toy.a"].Slow, back["toy.a"].Slow)
		}
		states["toy.a"] = Saved{Kind: "climb", At: time.Now(), Slow: json.RawMessage("{")}
		if again.loop.Restore(states) == nil {
			t.Error("nonsense was taken")
		}
		time.Sleep(25 * time.Hour)
		old := newHill(t, Options{}, "")
		defer old.loop.Stop()
		delete(states, "toy.a")
		if err := old.loop.Restore(states); err != nil {
			t.Fatal(err)
		}
		if back, _ := old.loop.States(); strings.Contains(string(back["toy.b"].Slow), `"looks":1`) {
			t.Errorf("what is a day old came back as %s", back["toy.b"].Slow)
		}
	})
}

func TestAnOperatorRollsADecisionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{Mode: ModeActive}, "m")
		defer h.loop.Stop()
		for len(h.loop.Decisions(Filter{})) == 0 {
			time.Sleep(time.Second)
		}
		d := h.loop.Decisions(Filter{})[0]
		if _, err := h.loop.RollBack(d.ID, "ann", "too bold"); err != nil {
			t.Fatal(err)
		}
		all := h.loop.Decisions(Filter{Knob: d.Knob})
		if len(all) != 2 || all[0].Rule != "rollback" || all[0].Author != "ann" || !all[1].RolledBack || !strings.Contains(all[1].Measured, "too bold") {
			t.Errorf("the ledger says %+v", all)
		}
		k, _ := h.knobs.Lookup(d.Knob)
		if k.Value() != d.From {
			t.Errorf("the knob stands at %v", k.Value())
		}
		if _, err := h.loop.RollBack(d.ID, "ann", ""); err == nil {
			t.Error("a decision was rolled back twice")
		}
		if _, err := h.loop.RollBack("absent", "ann", ""); err == nil {
			t.Error("a decision that is not was rolled back")
		}
		time.Sleep(9 * time.Minute)
		if k.Value() != d.From {
			t.Error("the tuner did not leave the knob alone")
		}
	})
}

// quickly is a Fast controller that counts, and turns its knob to the number of calls up to 9.
type quickly struct {
	mu      sync.Mutex
	calls   int
	refused error
	from    float64
}

func (q *quickly) OnCall(_ observe.Call, _ time.Time, h Hand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	if q.calls < 10 {
		q.refused = h.Turn(float64(q.calls), "another call")
	}
}

func (q *quickly) Tick(_ time.Time, _ Hand) []Decision {
	q.mu.Lock()
	defer q.mu.Unlock()
	to := float64(min(q.calls, 9))
	if to == q.from {
		return nil
	}
	d := Decision{From: q.from, To: to, Rule: "count", Reason: "calls came", Verdict: VerdictNeutral, Measured: "nothing"}
	q.from = to
	return []Decision{d}
}

func (q *quickly) Status() (rule, reason string)             { return "count", "calls came" }
func (q *quickly) Model() any                                { return nil }
func (q *quickly) Save() any                                 { return map[string]int{"calls": q.calls} }
func (q *quickly) Load(raw json.RawMessage, _ float64) error { return json.Unmarshal(raw, &struct{}{}) }

func TestAFastControllerActsOnlyWhenActiveAndIsSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHill(t, Options{}, "")
		defer h.loop.Stop()
		q := new(quickly)
		h.loop.SetPlugs([]Plug{{Knob: "toy.a", Kind: "count", Upstream: "m", Fast: q, Safer: -1}})
		call := func() { h.loop.OnCall(observe.Call{Upstream: "m"}) }
		call()
		if q.calls != 0 {
			t.Error("a controller that is off saw a call")
		}
		h.loop.SetMode(ModeShadow)
		call()
		if q.refused == nil || h.a.Get() != 2 {
			t.Errorf("in shadow mode: %v, %d", q.refused, h.a.Get())
		}
		h.loop.SetMode(ModeActive)
		call()
		call()
		if q.refused != nil || h.a.Get() != 3 {
			t.Errorf("in active mode: %v, %d", q.refused, h.a.Get())
		}
		h.loop.SetFrozen(true)
		call()
		if q.calls != 3 {
			t.Error("a frozen controller saw a call")
		}
		h.loop.SetFrozen(false)
		time.Sleep(11 * time.Second)
		all := h.loop.Decisions(Filter{})
		if len(all) != 1 || all[0].Knob != "toy.a" || all[0].Mode != ModeActive || all[0].Upstream != "m" || all[0].Time.IsZero() {
			t.Errorf("the ledger says %+v", all)
		}
	})
}

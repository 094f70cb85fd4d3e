package tuner

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// A controller of the table is given whatever a hostile world may measure; the properties must hold for all
// of them. Each new controller gets a line here.
type anyController struct {
	name string
	spec knob.Spec
	plug func(w *chaos) Plug
}

// chaos gives random measurements of random sizes.
type chaos struct {
	random *rand.Rand
	n      map[string]int // how many samples each knob was shown last
}

func (c *chaos) samples() int { return c.random.IntN(3 * DefaultMinSamples) }

func (c *chaos) flow(_, _ time.Time) Flow {
	x := func(most float64) float64 { return math.Round(c.random.Float64() * most) }
	calls := float64(c.samples())
	ok := x(calls)
	f := Flow{
		Seconds: 15, Calls: calls, OK: ok, Failed: calls - ok, Overload: x(calls - ok), First: calls, FirstFailed: x(calls), Retries: x(calls),
		Workers: x(50), Rate: x(2) * x(100), Waits: x(10 * calls), InFlight: calls * x(60),
	}
	f.Items, f.OKItems = calls*(1+x(30)), ok*(1+x(30))
	f.Time = ok * c.random.ExpFloat64()
	f.TimeSq, f.ItemTime, f.Longest = f.Time*f.Time/max(ok, 1)*2, f.Time*10, f.Time
	f.Wait = f.Waits * c.random.ExpFloat64()
	f.WaitSq, f.RetriesOK, f.Denied = f.Wait*f.Wait, x(f.Retries), x(100)
	f.Standing, f.Late, f.Full = x(20), x(20), x(5)
	for range c.random.IntN(sizeClasses) {
		n := x(500)
		f.Sizes = append(f.Sizes, SizeClass{Calls: n, Failed: x(n), Good: x(n), N: x(n * 100), Time: x(n), TimeSq: x(n * 3)})
	}
	return f
}

func (c *chaos) calls(_, _ time.Time) (observe.CallSignals, int) {
	n := c.samples()
	mean := time.Duration(c.random.ExpFloat64() * float64(time.Second))
	s := observe.CallSignals{
		Count: uint64(n), Rate: c.random.Float64() * 100, Goodput: c.random.Float64() * 100, MeanInFlight: c.random.Float64() * 60, Mean: mean, P95: mean,
	}
	s.Outcomes.OK = uint64(c.random.IntN(n + 1))
	s.Outcomes.Overload = uint64(n) - s.Outcomes.OK
	return s, n
}

func (c *chaos) memory(_, _ time.Time) MemorySeen {
	x := func(most float64) float64 { return math.Round(c.random.Float64() * most) }
	m := MemorySeen{Seconds: x(60), MaxBytes: x(2) * 1e6, Bytes: x(2e6), Band: 5e4, Self: c.random.IntN(4) - 1}
	for i := range c.random.IntN(4) {
		m.Routes = append(m.Routes, MemoryRoute{Route: fmt.Sprint(i), Share: c.random.Float64(), Bytes: x(2e6), memorySums: memorySums{
			Hits: x(40), Misses: x(40), Gained: x(90), Lost: x(9), GainedVariance: x(100), LostVariance: x(10),
		}})
	}
	return m
}

// spied tells chaos how many samples the rule was shown.
type spied struct {
	Slow
	w    *chaos
	knob string
}

func (s spied) measure(from, to time.Time) (any, int) {
	seen, n := s.Slow.measure(from, to)
	s.w.n[s.knob] = n
	return seen, n
}

func controllers() []anyController {
	slow := func(name, kind string, spec knob.Spec, rule func(w *chaos) Slow) anyController {
		spec.Name = name
		return anyController{name, spec, func(w *chaos) Plug {
			return Plug{Knob: name, Kind: kind, Upstream: "m", Couple: "m", Safer: -1, Slow: spied{rule(w), w, name}}
		}}
	}
	whole := knob.Spec{Kind: knob.KindInt, Default: 20, Min: 2, Max: 60, MaxStep: 7}
	seconds := knob.Spec{Kind: knob.KindDuration, Default: .05, Min: 0, Max: 2, MaxStep: .3}
	return []anyController{
		slow("workers.m", "workers", whole, func(w *chaos) Slow {
			r := WorkersRule(observe.NewWindow(observe.WindowOptions{}), "m")
			r.Measure = w.calls
			return r.Slow()
		}),
		slow("batch.target.m", "batch", whole, func(w *chaos) Slow { return BatchRule(w.flow).Slow() }),
		slow("batch.linger.m", "linger", seconds, func(w *chaos) Slow { return LingerRule(w.flow).Slow() }),
		slow("retry.budget.m", "retry", knob.Spec{Kind: knob.KindFloat, Default: .1, Max: .4, MaxStep: .1}, func(w *chaos) Slow { return RetryRule(w.flow).Slow() }),
		slow("cache.share.m", "memory", knob.Spec{Kind: knob.KindFloat, Default: .5, Min: .01, Max: 1, MaxStep: .3}, func(w *chaos) Slow {
			r := MemoryRule(w.memory)
			r.MinSamples = 0
			return r.Slow()
		}),
		slow("codel.target.m", "codel", seconds, func(w *chaos) Slow { return CoDelRule(w.flow).Slow() }),
		{"workers.f", knob.Spec{Name: "workers.f", Kind: knob.KindInt, Default: 20, Min: 2, Max: 60, MaxStep: 58}, func(*chaos) Plug {
			return Plug{Knob: "workers.f", Kind: "search rate.f", Upstream: "f", Couple: "f", Safer: -1}
		}},
	}
}

// hostile is a loop over all controllers of the table in a hostile world.
type hostile struct {
	loop    *Loop
	knobs   *knob.Registry
	w       *chaos
	changes int
}

func newHostile(t *testing.T, seed uint64, o Options) *hostile {
	h := &hostile{knobs: knob.NewRegistry(), w: &chaos{rand.New(rand.NewPCG(seed, 7)), make(map[string]int)}}
	o.Knobs, o.Signals = h.knobs, observe.NewWindow(observe.WindowOptions{})
	if _, err := h.knobs.Float(knob.Spec{Name: "rate.f", Max: 1e6}); err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers() {
		if _, err := h.knobs.Register(c.spec); err != nil {
			t.Fatal(err)
		}
		p := c.plug(h.w)
		if p.Slow == nil && p.Fast == nil {
			o.Targets = append(o.Targets, Target{Upstream: p.Upstream, Workers: p.Knob, Search: true, Rate: "rate." + p.Upstream})
			continue
		}
		o.Plugs = append(o.Plugs, p)
	}
	h.loop = New(o)
	h.knobs.Subscribe(func(c knob.Change) {
		h.changes++
		k, _ := h.knobs.Lookup(c.Knob)
		s := k.Spec()
		if s.Check(c.To) != nil {
			t.Errorf("%s came to %v", c.Knob, c.To)
		}
		if s.MaxStep > 0 && math.Abs(c.To-c.From) > s.MaxStep*(1+1e-9) {
			t.Errorf("%s went from %v to %v at once", c.Knob, c.From, c.To)
		}
		if n, ok := h.w.n[c.Knob]; ok && n < DefaultMinSamples {
			t.Errorf("%s was turned on %d samples", c.Knob, n)
		}
	})
	return h
}

// live has the world go on for so long: looks of the loop, and calls for those that see them.
func (h *hostile) live(t *testing.T, d time.Duration) {
	outcomes := []observe.Outcome{observe.OutcomeOK, observe.OutcomeOK, observe.OutcomeRefused, observe.OutcomeOverload, observe.OutcomeTimeout, observe.OutcomeDown}
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range 50 {
			took := time.Duration(h.w.random.ExpFloat64() * float64(200*time.Millisecond))
			k, _ := h.knobs.Lookup("workers.f")
			h.loop.OnCall(observe.Call{
				Upstream: "f", Route: fmt.Sprint(h.w.random.IntN(3)), Start: time.Now().Add(-took), Duration: took, Items: 1,
				Outcome: outcomes[h.w.random.IntN(len(outcomes))], InFlight: 1 + h.w.random.IntN(int(k.Value())),
			})
			time.Sleep(100 * time.Millisecond)
		}
		h.loop.Tick()
		on := make(map[string]int)
		for _, s := range h.loop.Status() {
			if s.Judging != "" {
				on[s.Upstream]++
			}
		}
		if on["m"] > 1 {
			t.Errorf("%d coupled knobs are on trial at once", on["m"])
		}
	}
}

func TestNoControllerBreaksTheRulesInAHostileWorld(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			h := newHostile(t, seed, Options{Mode: ModeActive})
			h.live(t, 40*time.Minute)
			moved := make(map[string]bool)
			for _, d := range h.loop.Decisions(Filter{}) {
				moved[d.Knob] = true
				if d.Verdict == VerdictWorse && !d.RolledBack {
					t.Errorf("a worse decision stands: %+v", d)
				}
				if d.Reason == "" || d.Rule == "" || math.IsNaN(d.From+d.To+d.Confidence) {
					t.Errorf("a decision that explains nothing: %+v", d)
				}
			}
			if len(moved) < 3 {
				t.Errorf("only %v moved at all, so nothing was tried", moved)
			}
			if _, err := json.Marshal(h.loop.View()); err != nil {
				t.Errorf("the view can't be written: %v", err)
			}
			if _, err := h.loop.States(); err != nil {
				t.Errorf("the states can't be written: %v", err)
			}
		})
	}
}

func TestFrozenOffAndShadowTurnNothing(t *testing.T) {
	for name, set := range map[string]func(l *Loop){
		"frozen": func(l *Loop) { l.SetFrozen(true) },
		"off":    func(l *Loop) { l.SetSwitches(Switches{Mode: ModeOff}) },
		"shadow": func(l *Loop) { l.SetSwitches(Switches{Modes: map[string]Mode{"*": ModeShadow}}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHostile(t, 5, Options{Mode: ModeActive})
			h.live(t, 5*time.Minute)
			set(h.loop)
			before := h.changes
			h.live(t, 20*time.Minute)
			if h.changes != before {
				t.Errorf("%s: %d changes", name, h.changes-before)
			}
			for _, d := range h.loop.Decisions(Filter{Limit: 3}) {
				if name == "shadow" && d.Mode != ModeShadow {
					t.Errorf("the last decision in shadow mode is %+v", d)
				}
			}
		})
	}
}

func TestAnUpstreamOverAGuardrailIsOnlySpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t, 6, Options{Mode: ModeActive, Appetite: Appetite{ErrorLimitRatio: .3}})
		window := h.loop.o.Signals.(*observe.Window)
		h.knobs.Subscribe(func(c knob.Change) {
			if c.To > c.From && c.Why[:4] != "roll" && c.Why[:4] != "take" {
				t.Errorf("%s was raised to %v: %s", c.Knob, c.To, c.Why)
			}
		})
		for range 200 {
			for range 20 {
				window.OnCall(observe.Call{Upstream: "m", Start: time.Now(), Outcome: observe.OutcomeError, Items: 1})
			}
			time.Sleep(5 * time.Second)
			h.loop.Tick()
		}
	})
}

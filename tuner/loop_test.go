package tuner

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// rig is an upstream of so many slots, callers who always want more, and permits by the knob: all of it
// in virtual time, measured by a real Window.
type rig struct {
	t       *testing.T
	window  *observe.Window
	knobs   *knob.Registry
	workers knob.Int
	loop    *Loop

	mu       sync.Mutex
	freed    *sync.Cond
	inFlight int // under permits
	busy     int // in the upstream's slots
	slots    int
	service  time.Duration
	outcome  observe.Outcome
	random   *rand.Rand // if set, service times are exponential, or within the spread around the mean if that is set
	spread   float64
	stopped  bool
	onCall   observe.CallFunc // nil: none
	inOrder  bool             // the upstream serves first come first served, else in any order
	came     int
	served   int
}

func newRig(t *testing.T, slots int, service time.Duration, o Options) *rig {
	r := &rig{t: t, window: observe.NewWindow(observe.WindowOptions{}), knobs: knob.NewRegistry(), slots: slots, service: service, outcome: observe.OutcomeOK}
	r.freed = sync.NewCond(&r.mu)
	var err error
	r.workers, err = r.knobs.Int(knob.Spec{Name: "workers.m", Default: 8, Min: 1, Max: 100, MaxStep: 20})
	if err != nil {
		t.Fatal(err)
	}
	o.Knobs, o.Signals, o.Targets = r.knobs, r.window, []Target{{Upstream: "m", Workers: "workers.m"}}
	r.loop = New(o)
	r.loop.Start()
	return r
}

// callers keeps n calls wanted until stop.
func (r *rig) callers(n int) (stop func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for r.callOnce() {
			}
		})
	}
	r.knobs.Subscribe(func(knob.Change) { r.freed.Broadcast() })
	return func() {
		r.mu.Lock()
		r.stopped = true
		r.mu.Unlock()
		r.freed.Broadcast()
		wg.Wait()
		r.loop.Stop()
	}
}

func (r *rig) callOnce() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.inFlight >= r.workers.Get() && !r.stopped {
		r.freed.Wait()
	}
	if r.stopped {
		return false
	}
	r.inFlight++
	c := observe.Call{Upstream: "m", Route: "r", Start: time.Now(), InFlight: r.inFlight, Items: 1}
	turn := r.came
	r.came++
	for r.busy >= r.slots || r.inOrder && turn != r.served {
		r.freed.Wait()
	}
	r.busy++
	if r.served++; r.inOrder {
		r.freed.Broadcast()
	}
	service := r.service
	if r.random != nil {
		by := r.random.ExpFloat64()
		if r.spread > 0 {
			by = 1 + r.spread*(2*r.random.Float64()-1)
		}
		service = time.Duration(by * float64(service))
	}
	r.mu.Unlock()
	time.Sleep(service)
	r.mu.Lock()
	r.busy--
	r.inFlight--
	c.Outcome = r.outcome
	c.Duration = time.Since(c.Start)
	r.freed.Broadcast()
	r.window.OnCall(c)
	if f := r.onCall; f != nil { // it may turn the workers, whose subscribers are told
		r.mu.Unlock()
		f(c)
		r.mu.Lock()
	}
	return true
}

func TestTheLoopFindsTheKneeOfARealUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 500*time.Millisecond, Options{Mode: ModeActive})
		stop := r.callers(60)
		defer stop()
		time.Sleep(10 * time.Minute)
		if n := r.workers.Get(); n < 18 || n > 26 {
			t.Errorf("10 minutes later there are %d workers for 20 slots", n)
			for _, d := range r.loop.Decisions(Filter{}) {
				t.Logf("%s %.0f -> %.0f: %s; %s: %s", d.Rule, d.From, d.To, d.Reason, d.Verdict, d.Measured)
			}
		}
		all := r.loop.Decisions(Filter{})
		if len(all) == 0 || len(all) > 20 {
			t.Fatalf("there are %d decisions", len(all))
		}
		for _, d := range all {
			if d.Verdict == VerdictWorse && !d.RolledBack {
				t.Errorf("a worse decision stands: %+v", d)
			}
			if d.Reason == "" || d.Expected == "" || d.Signals["calls"] < DefaultMinSamples || d.Mode != ModeActive {
				t.Errorf("a decision that explains nothing: %+v", d)
			}
		}
		if first, ok := r.loop.Decision(all[len(all)-1].ID); !ok || first.Rule != "grow" || first.From != 8 || first.Verdict != VerdictBetter {
			t.Errorf("the first decision is %+v", first)
		}
	})
}

func TestChanceDoesNotRatchetTheWorkersUp(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 10, 2*time.Second, Options{Mode: ModeActive})
			r.random = rand.New(rand.NewPCG(seed, 1))
			stop := r.callers(25)
			defer stop()
			time.Sleep(20 * time.Minute)
			if n := r.workers.Get(); n < 8 || n > 16 {
				t.Errorf("seed %d: 20 minutes later there are %d workers for 10 slots of random 2 s", seed, n)
				for _, d := range r.loop.Decisions(Filter{}) {
					t.Logf("%s %.0f -> %.0f: %s; %s: %s", d.Rule, d.From, d.To, d.Reason, d.Verdict, d.Measured)
				}
			}
		})
	}
}

func TestAHealthyUpstreamWithSpareWorkersIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeActive})
		stop := r.callers(3)
		defer stop()
		time.Sleep(10 * time.Minute)
		if all := r.loop.Decisions(Filter{}); len(all) != 0 || r.workers.Get() != 8 {
			t.Errorf("%d workers after %+v", r.workers.Get(), all)
		}
		if s := r.loop.Status(); s[0].Rule != "app-limited" || s[0].Reason == "" {
			t.Errorf("the status is %+v", s)
		}
	})
}

func TestShadowRecordsAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeShadow})
		stop := r.callers(60)
		defer stop()
		time.Sleep(5 * time.Minute)
		all := r.loop.Decisions(Filter{})
		if r.workers.Get() != 8 || len(all) != 1 {
			t.Fatalf("%d workers, decisions %+v", r.workers.Get(), all)
		}
		if d := all[0]; d.Mode != ModeShadow || d.To != 12 || d.Repeats < 10 || d.Verdict != "" {
			t.Errorf("the decision is %+v", d)
		}
	})
}

func TestOffAndFrozenDoNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{})
		stop := r.callers(60)
		defer stop()
		time.Sleep(2 * time.Minute)
		r.loop.SetFrozen(true)
		r.loop.SetMode(ModeActive)
		time.Sleep(2 * time.Minute)
		if n := len(r.loop.Decisions(Filter{})); n != 0 || r.workers.Get() != 8 || r.loop.Mode() != ModeActive || !r.loop.Frozen() {
			t.Errorf("%d decisions, %d workers", n, r.workers.Get())
		}
		r.loop.SetFrozen(false)
		time.Sleep(2 * time.Minute)
		if r.workers.Get() == 8 {
			t.Error("after the thaw nothing happened")
		}
	})
}

func TestAPinnedKnobIsLeftAloneAndTuningResumesFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeActive})
		if err := r.workers.Pin(knob.Pin{Value: 10}); err != nil {
			t.Fatal(err)
		}
		stop := r.callers(60)
		defer stop()
		time.Sleep(3 * time.Minute)
		if n := len(r.loop.Decisions(Filter{})); n != 0 || r.workers.Get() != 10 {
			t.Errorf("%d decisions under the pin, %d workers", n, r.workers.Get())
		}
		if _, err := r.workers.Unpin(false, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		all := r.loop.Decisions(Filter{})
		if len(all) == 0 || all[len(all)-1].From != 10 {
			t.Errorf("after the pin: %+v", all)
		}
	})
}

func TestAPinDuringTheEvaluationEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeActive})
		stop := r.callers(60)
		defer stop()
		for len(r.loop.Decisions(Filter{})) == 0 {
			time.Sleep(time.Second)
		}
		if err := r.workers.Pin(knob.Pin{Value: 5}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		all := r.loop.Decisions(Filter{})
		if len(all) != 1 || all[0].Verdict != "" || all[0].Measured == "" || r.workers.Get() != 5 {
			t.Errorf("%+v, %d workers", all, r.workers.Get())
		}
	})
}

func TestALatencyStepThatIsNotOursDoesNotChoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 40, 200*time.Millisecond, Options{Mode: ModeActive})
		stop := r.callers(100)
		defer stop()
		time.Sleep(5 * time.Minute)
		r.mu.Lock()
		r.service *= 3
		r.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if n := r.workers.Get(); n < 36 {
			t.Errorf("%d workers are left for 40 slots that became slower", n)
		}
	})
}

func TestAtLowTrafficTheWindowGrowsUntilItHasEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One slot of 2 s under one permit: 30 calls take a minute.
		r := newRig(t, 10, 2*time.Second, Options{Mode: ModeActive})
		if err := r.workers.SetBase(1, knob.SourceFile); err != nil {
			t.Fatal(err)
		}
		stop := r.callers(30)
		defer stop()
		time.Sleep(50 * time.Second)
		if s := r.loop.Status(); s[0].Rule != "waiting" || r.workers.Get() != 1 {
			t.Errorf("after 50 s: %+v", s)
		}
		time.Sleep(50 * time.Second)
		all := r.loop.Decisions(Filter{})
		if len(all) == 0 || all[len(all)-1].Signals["calls"] < DefaultMinSamples {
			t.Errorf("after 100 s: %+v", all)
		}
	})
}

func TestGrowthIntoFailuresIsRolledBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 60, 100*time.Millisecond, Options{Mode: ModeActive, Appetite: Appetite{Evaluation: 10 * time.Minute}})
		stop := r.callers(90)
		defer stop()
		for len(r.loop.Decisions(Filter{})) == 0 {
			time.Sleep(time.Second)
		}
		r.mu.Lock()
		r.outcome = observe.OutcomeOverload
		r.mu.Unlock()
		time.Sleep(30 * time.Second)
		d := r.loop.Decisions(Filter{Verdict: VerdictWorse})
		if len(d) != 1 || !d[0].RolledBack || d[0].JudgedAt.IsZero() {
			t.Fatalf("30 s after the failures began: %+v", r.loop.Decisions(Filter{}))
		}
		if r.workers.Get() != 8 {
			t.Errorf("%d workers after the rollback, want 8", r.workers.Get())
		}
	})
}

func TestTargetsAndIntervalChangeLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeActive, Interval: time.Hour})
		stop := r.callers(60)
		defer stop()
		time.Sleep(2 * time.Minute)
		if n := len(r.loop.Decisions(Filter{})); n != 0 {
			t.Errorf("%d decisions before the first tick", n)
		}
		r.loop.SetInterval(time.Second)
		time.Sleep(time.Minute)
		before := len(r.loop.Decisions(Filter{}))
		if before == 0 {
			t.Error("the shorter interval did nothing")
		}
		r.loop.SetTargets(nil)
		time.Sleep(time.Minute)
		if n := len(r.loop.Decisions(Filter{})); n != before || len(r.loop.Status()) != 0 {
			t.Errorf("%d decisions about nothing", n-before)
		}
		r.loop.SetTargets([]Target{{Upstream: "m", Workers: "workers.absent"}})
		time.Sleep(2 * time.Second)
		if s := r.loop.Status(); s[0].Rule != "no-knob" {
			t.Errorf("the status is %+v", s)
		}
	})
}

func TestStartAndStopAreIdempotent(t *testing.T) {
	l := New(Options{Knobs: knob.NewRegistry(), Signals: observe.NewWindow(observe.WindowOptions{})})
	l.Stop()
	l.Start()
	l.Start()
	l.Stop()
	l.Stop()
	l.Start()
	l.Stop()
}

func TestASubscriberMayRecordWhileTheLoopTunes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, 100*time.Millisecond, Options{Mode: ModeActive})
		var seen atomic.Int32
		r.knobs.Subscribe(func(c knob.Change) {
			r.loop.Record(Decision{Knob: c.Knob, Rule: "seen"})
			seen.Add(1)
		})
		stop := r.callers(60)
		defer stop()
		time.Sleep(time.Minute)
		if seen.Load() == 0 {
			t.Error("no change was seen")
		}
	})
}

func TestModesAreParsed(t *testing.T) {
	for _, s := range []string{"off", "shadow", "active"} {
		if m, err := ParseMode(s); err != nil || string(m) != s {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	if _, err := ParseMode("on"); err == nil {
		t.Error("on was accepted")
	}
}

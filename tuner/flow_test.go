package tuner

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != text {
		t.Errorf("%s differs from %s (go test ./tuner -update writes it anew): %v\n%s", name, path, err, text)
	}
}

// play runs a rule over a Flow step by step, 30 s each, as the loop would: each change is measured and judged before
// the next. at gives what is measured in a step under a value.
func play[S any](rule Rule[Flow, S], spec knob.Spec, start float64, steps int, at func(step int, value float64) Flow) (text string, final float64) {
	var b strings.Builder
	var state S
	var last *Outcome
	value, said, now := start, "", time.Unix(0, 0)
	for step := range steps {
		now = now.Add(30 * time.Second)
		before := at(step, value)
		p, next := rule.Decide(In[Flow]{Now: now, Spec: spec, Value: value, Seen: before, N: int(before.Calls), Last: last, Appetite: Balanced()}, state)
		state, last = next, nil
		to := withinStep(spec, value, p.To)
		line := fmt.Sprintf("%s: %s", p.Rule, p.Reason)
		if to != value {
			after := at(step, to)
			e := rule.Judge(Trial{Spec: spec, Rule: p.Rule, From: value, To: to, NBefore: int(before.Calls), NAfter: int(after.Calls), Appetite: Balanced()}, before, after)
			line += fmt.Sprintf("\n      %s -> %s, expected %s\n      %s: %s", spec.Format(value), spec.Format(to), p.Expected, e.Verdict, e.Measured)
			last = &Outcome{Rule: p.Rule, From: value, To: to, Verdict: e.Verdict}
			if e.Verdict == VerdictWorse {
				last.RolledBack = true
				line += "; rolled back"
			} else {
				value = to
			}
		}
		if line != said {
			fmt.Fprintf(&b, "%4ds %s\n", 30*(step+1), line)
			said = line
		}
	}
	return b.String() + "end: " + spec.Format(value) + "\n", value
}

// batchWorld is an upstream with so many workers whose calls with n requests take a + b*n, and square*n*n where
// large ones are slow; of calls over breaks requests, half fail.
type batchWorld struct {
	a, b, square float64
	workers      float64
	arrivals     float64
	breaks       float64
	rate         float64

	told [sizeClasses]SizeClass
}

// flow is what 30 s show with batches of at most target.
func (w *batchWorld) flow(target float64) Flow {
	cost := func(n float64) float64 { return w.a + w.b*n + w.square*n*n }
	// What is queued is spread over the workers: the size settles where that carries the arrivals.
	n := 1.0
	for n < target && (w.workers*n/cost(n) < w.arrivals || w.rate > 0 && w.rate*n < w.arrivals) {
		n = math.Min(n+0.25, target)
	}
	served := math.Min(w.arrivals, w.workers*n/cost(n))
	if w.rate > 0 {
		served = math.Min(served, w.rate*n)
	}
	wait := cost(n) / w.workers / 2
	if served < 0.999*w.arrivals {
		wait = 5
	}
	f := Flow{Seconds: 30, Workers: w.workers, Rate: w.rate, Waits: 30 * served, Wait: 30 * served * wait, WaitSq: 30 * served * wait * wait}
	for _, share := range []float64{0.5, 1, 1.5} { // sizes vary around their mean
		size := math.Min(math.Max(1, math.Round(share*n)), target)
		calls := math.Round(10 * served / size)
		failed := 0.0
		if w.breaks > 0 && size > w.breaks {
			failed = calls / 2
		}
		okay, took := calls-failed, cost(size)
		f.Calls += calls
		f.Items += calls * size
		f.OK += okay
		f.OKItems += okay * size
		f.Failed += failed
		f.Time += okay * took
		f.TimeSq += okay * took * took * 1.04
		f.ItemTime += okay * took * size
		f.InFlight += calls * math.Min(w.workers, served/n*cost(n))
		c := &w.told[sizeClassOf(int(size))]
		c.Calls += calls
		c.Failed += failed
		c.Good += okay
		c.N += okay * size
		c.Time += okay * took
		c.TimeSq += okay * took * took * 1.04
	}
	f.Sizes = append([]SizeClass(nil), w.told[:]...)
	return f
}

var batchSpec = knob.Spec{Name: "batch.target.m", Kind: knob.KindInt, Default: 50, Min: 1, Max: 1000}

func TestBatchGolden(t *testing.T) {
	for name, c := range map[string]struct {
		world    batchWorld
		start    float64
		low, top float64
	}{
		// 1 % of endless, since it is full: 99*a/b.
		"dear-items":   {batchWorld{a: .01, b: .02, workers: 4, arrivals: 220}, 200, 40, 60},
		"cheap-items":  {batchWorld{a: .1, b: .001, workers: 2, arrivals: 900}, 20, 90, 400},
		"light-load":   {batchWorld{a: .1, b: .01, workers: 4, arrivals: 20}, 50, 50, 50},
		"single":       {batchWorld{a: .001, b: .001, workers: 4, arrivals: 20}, 50, 50, 50},
		"large-fail":   {batchWorld{a: .05, b: .005, workers: 2, arrivals: 230, breaks: 16}, 50, 4, 16},
		"large-slow":   {batchWorld{a: .05, b: .001, square: .0005, workers: 2, arrivals: 600}, 60, 7, 30},
		"rate-limited": {batchWorld{a: .05, b: .05, workers: 40, arrivals: 400, rate: 10}, 10, 40, 90},
	} {
		text, final := play(BatchRule(nil), batchSpec, c.start, 20, func(_ int, v float64) Flow { return c.world.flow(v) })
		if final < c.low || final > c.top {
			t.Errorf("%s ends at %v, want %v to %v", name, final, c.low, c.top)
		}
		golden(t, "batch-"+name, text)
	}
}

func TestTheCostOfABatchIsFittedWithItsUncertainty(t *testing.T) {
	w := batchWorld{a: .03, b: .004, workers: 3, arrivals: 300}
	var s BatchState
	for range 5 {
		s = s.learn(w.flow(50).Sizes)
	}
	if f := s.Fit; math.Abs(f.A-.03) > 2*f.SA+.001 || math.Abs(f.B-.004) > 2*f.SB+.0002 || f.SB <= 0 {
		t.Errorf("fitted %+v", f)
	}
	before := s.Fit
	// A time of single requests must not take away what is known of batches.
	for range 50 {
		one := s.Told
		one = append([]SizeClass(nil), one...)
		one[0].Calls, one[0].Good, one[0].N = one[0].Calls+100, one[0].Good+100, one[0].N+100
		one[0].Time, one[0].TimeSq = one[0].Time+3.4, one[0].TimeSq+100*.034*.034*1.04
		s = s.learn(one)
	}
	if f := s.Fit; math.Abs(f.B-before.B) > 2*before.SB+.0005 {
		t.Errorf("after a time of single requests %+v, before %+v", f, before)
	}
	faded := BatchRule(nil).Fade(s, 0.5)
	if faded.Fit.SB <= s.Fit.SB {
		t.Errorf("half the trust makes it no less sure: %+v, %+v", faded.Fit, s.Fit)
	}
}

func TestLingerGolden(t *testing.T) {
	spec := knob.Spec{Name: "batch.linger.m", Kind: knob.KindDuration, Default: .005, Min: 0, Max: 10}
	busy := batchWorld{a: .1, b: .01, workers: 4, arrivals: 200}
	for name, c := range map[string]struct {
		at       func(step int, v float64) Flow
		low, top float64
	}{
		"helps": {func(_ int, v float64) Flow {
			f := busy.flow(50)
			f.Wait *= 1 - math.Min(v, .05)*10 // up to half of the wait is saved
			return f
		}, .03, .2},
		"harms": {func(_ int, v float64) Flow {
			f := busy.flow(50)
			f.Wait += f.Waits * v * 10
			return f
		}, .005, .005},
		"idle": {func(_ int, _ float64) Flow {
			w := batchWorld{a: .01, b: .01, workers: 40, arrivals: 20}
			f := w.flow(50)
			f.Items *= 1.2
			return f
		}, .005, .005},
	} {
		text, final := play(LingerRule(nil), spec, .005, 30, c.at)
		if final < c.low || final > c.top {
			t.Errorf("%s ends at %v, want %v to %v", name, final, c.low, c.top)
		}
		golden(t, "linger-"+name, text)
	}
}

// retryWorld is 30 s of an upstream where so many first tries a second fail and so many retries would succeed.
func retryWorld(fails, success, overload float64) func(step int, budget float64) Flow {
	return func(_ int, budget float64) Flow {
		const first = 3000.0
		failed := first * fails
		retries := math.Min(failed, first*budget)
		okay := retries * success
		f := Flow{Seconds: 30, Calls: first + retries, First: first, FirstFailed: failed, Retries: retries, RetriesOK: okay, Workers: 10}
		f.OK = first - failed + okay
		f.Failed = failed + retries - okay
		f.Overload = overload * f.Failed
		f.Denied = failed - retries
		return f
	}
}

func TestRetryGolden(t *testing.T) {
	spec := knob.Spec{Name: "retry.budget.m", Kind: knob.KindFloat, Default: .1, Min: 0, Max: 1}
	for name, c := range map[string]struct {
		at       func(step int, v float64) Flow
		low, top float64
	}{
		"pays":     {retryWorld(.3, .9, 0), .25, .5},
		"wasted":   {retryWorld(.3, .1, 0), .01, .05},
		"overload": {retryWorld(.5, .2, 1), .01, .05},
		"healthy":  {retryWorld(.001, 1, 0), .1, .1},
	} {
		text, final := play(RetryRule(nil), spec, .1, 20, c.at)
		if final < c.low || final > c.top {
			t.Errorf("%s ends at %v, want %v to %v", name, final, c.low, c.top)
		}
		golden(t, "retry-"+name, text)
	}
}

// codelWorld is 30 s of an overloaded queue whose calls take so long, give or take.
func codelWorld(mean, deviation float64, standing func(target float64) float64, late func(target float64) float64, used float64) func(int, float64) Flow {
	return func(_ int, target float64) Flow {
		if target == 0 {
			target = math.Max(.005, 4*mean)
		}
		const calls = 1000.0
		f := Flow{Seconds: 30, Calls: calls, Items: calls, OK: calls, OKItems: calls, Time: calls * mean, TimeSq: calls * (mean*mean + deviation*deviation),
			ItemTime: calls * mean, Workers: 10, InFlight: calls * 10 * used, Waits: calls, Wait: calls * target / 2, WaitSq: calls * target * target / 3}
		f.Standing, f.Late = standing(target)*calls, late(target)*calls
		return f
	}
}

func TestCoDelGolden(t *testing.T) {
	spec := knob.Spec{Name: "codel.target.m", Kind: knob.KindDuration, Min: 0, Max: 3600}
	none := func(float64) float64 { return 0 }
	for name, c := range map[string]struct {
		at       func(step int, v float64) Flow
		low, top float64
	}{
		"even":      {codelWorld(.2, .02, none, none, .9), 0, 0},
		"slow":      {codelWorld(5, 1, none, none, .9), 0, 0},
		"heavytail": {codelWorld(.1, 2, none, none, .9), 3, 5},
		"too-eager": {codelWorld(.1, .01, func(target float64) float64 { return math.Max(0, .1-target/10) }, none, .5), .8, 1.5},
		"too-lax":   {codelWorld(.5, .1, none, func(target float64) float64 { return math.Max(0, target/20) }, 1), .4, .7},
	} {
		text, final := play(CoDelRule(nil), spec, 0, 20, c.at)
		if final < c.low || final > c.top {
			t.Errorf("%s ends at %v, want %v to %v", name, final, c.low, c.top)
		}
		golden(t, "codel-"+name, text)
	}
}

func TestAHistoryReachesFurtherBackAtACoarserGrain(t *testing.T) {
	m := NewFlowMeter()
	start := time.Unix(1_700_000_000, 0)
	// One call in 5 s for three hours.
	now := start
	for range 3 * 720 {
		now = now.Add(5 * time.Second)
		m.OnCall(observe.Call{Outcome: observe.OutcomeOK, Duration: time.Second, Items: 2}, now)
	}
	for _, span := range []time.Duration{time.Minute, 20 * time.Minute, 2 * time.Hour} {
		want := span.Seconds() / 5
		if f := m.Between(now.Add(-span), now, 1, 0); math.Abs(f.Calls-want) > max(2, .15*want) || f.Items != 2*f.Calls {
			t.Errorf("the last %v hold %v calls, want about %v", span, f.Calls, want)
		}
	}
	if f := m.Between(now.Add(time.Hour), now.Add(2*time.Hour), 1, 0); f.Calls != 0 {
		t.Errorf("the future holds %v calls", f.Calls)
	}
}

func TestCountersAreCountedByTheirRise(t *testing.T) {
	m := NewFlowMeter()
	now := time.Unix(1_700_000_000, 0)
	m.Note(Totals{Standing: 100}, now)
	m.Note(Totals{Standing: 107, Denied: 3}, now.Add(time.Second))
	m.Note(Totals{Standing: 2}, now.Add(2*time.Second)) // the stage began anew
	if f := m.Between(now.Add(-time.Minute), now.Add(time.Minute), 1, 0); f.Standing != 7 || f.Denied != 3 {
		t.Errorf("%+v", f.Totals)
	}
}

package tuner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"penstock/knob"
)

// foresight is a world of predictions: for each call that there would be, many predictions of which a share comes
// true that falls evenly from best to 0. A pressed upstream has nothing to spare for the share that is over spare calls
// per call.
type foresight struct{ best, many, spare float64 }

// play gives what the preloader does in so many calls' time: it makes the predictions over the threshold, or the
// surest that the budget bears.
func (f foresight) play(threshold, budget, allowed, misses float64) PreloadSeen {
	in := max(f.best-threshold, 0) / max(f.best, 0.01) // the share of predictions that pass
	wasteOf := func(in float64) float64 { return f.many * in * (1 - f.best*(1-in/2)) }
	force := threshold
	for wasteOf(in) > budget && in > 0 {
		in -= 0.001
		force = f.best * (1 - in)
	}
	made, wanted := f.many*in, f.many*in
	if f.spare > 0 {
		made = min(made, f.spare)
	}
	hit := f.best * (1 - in/2)
	bound := 0.0
	if force > threshold+0.05 {
		bound = 1
	}
	return PreloadSeen{
		PreloadCount: PreloadCount{
			Misses: misses, Used: misses * made * hit, Wasted: misses * made * (1 - hit), Saved: misses * made * hit / 5,
			Wanted: misses * wanted, Refused: misses * (wanted - made),
		},
		Threshold: force, Bound: bound, Budget: budget, Allowed: allowed,
	}
}

var (
	thresholdSpec = knob.Spec{Name: "preload.threshold", Kind: knob.KindFloat, Default: 0.2, Max: 1}
	budgetSpec    = knob.Spec{Name: "preload.budget", Kind: knob.KindFloat, Default: 0.1, Max: 1}
)

// playPreload lets both knobs take turns in a world that changes once.
func playPreload(worlds []foresight, threshold, allowed float64, rounds int) (text string, atThreshold, atBudget float64, most float64) {
	var b strings.Builder
	values := [2]float64{threshold, allowed}
	specs := [2]knob.Spec{thresholdSpec, budgetSpec}
	names := [2]string{"threshold", "budget   "}
	rules := [2]Rule[PreloadSeen, PreloadState]{PreloadRule(PreloadThreshold, nil), PreloadRule(PreloadBudget, nil)}
	var states [2]PreloadState
	var last [2]*Outcome
	var said [2]string
	now := time.Unix(0, 0)
	for n := range rounds {
		w := worlds[n*len(worlds)/rounds]
		for i := range rules {
			now = now.Add(preloadEvaluation)
			seen := w.play(values[0], values[1], allowed, 2000)
			in := In[PreloadSeen]{Now: now, Spec: specs[i], Value: values[i], Seen: seen, N: 2000, Last: last[i], Appetite: Balanced()}
			p, next := rules[i].Decide(in, states[i])
			states[i], last[i] = next, nil
			to := withinStep(specs[i], values[i], p.To)
			line := fmt.Sprintf("%s %s: %s", names[i], p.Rule, p.Reason)
			if to != values[i] {
				from := values[i]
				values[i] = to
				e := rules[i].Judge(Trial{Spec: specs[i], Rule: p.Rule, From: from, To: to, Appetite: Balanced()}, seen, w.play(values[0], values[1], allowed, 2000))
				line += fmt.Sprintf("\n      %.3f -> %.3f, expected %s\n      %s: %s", from, to, p.Expected, e.Verdict, e.Measured)
				last[i] = &Outcome{Rule: p.Rule, From: from, To: to, Verdict: e.Verdict}
				if e.Verdict == VerdictWorse {
					last[i].RolledBack = true
					values[i] = from
					line += "; rolled back"
				}
			}
			most = max(most, values[1])
			if line != said[i] && p.Rule != "paused" {
				fmt.Fprintf(&b, "%6.0fs %s\n", now.Sub(time.Unix(0, 0)).Seconds(), line)
				said[i] = line
			}
		}
	}
	return b.String(), values[0], values[1], most
}

func TestPreloadGolden(t *testing.T) {
	for name, c := range map[string]struct {
		worlds    []foresight
		threshold float64
		fits      func(threshold, budget float64) bool
	}{
		// Much comes true, and the budget is hardly touched: less sure things are tried too.
		"sure": {[]foresight{{best: 1, many: 0.1}}, 0.5, func(th, b float64) bool { return th < 0.5 && b == 0.1 }},
		// Far more pass than the budget bears: the surest of them are to have it.
		"plenty": {[]foresight{{best: 0.9, many: 3}}, 0.2, func(th, b float64) bool { return th > 0.5 && b == 0.1 }},
		// Little comes true: both knobs spare the upstream.
		"poor": {[]foresight{{best: 0.45, many: 0.5}}, 0.1, func(th, b float64) bool { return th > 0.3 || b < 0.05 }},
		// The upstream has nothing to spare, and later it has.
		"pressed-then-calm": {[]foresight{{best: 0.9, many: 0.4, spare: 0.05}, {best: 0.9, many: 0.4}}, 0.2, func(_, b float64) bool { return b == 0.1 }},
	} {
		text, th, b, most := playPreload(c.worlds, c.threshold, 0.1, 40)
		text += fmt.Sprintf("threshold %.3f, budget %.3f at the end\n", th, b)
		if !c.fits(th, b) || most > 0.1 {
			t.Errorf("%s: threshold %.3f, budget %.3f, at most %.3f\n%s", name, th, b, most, text)
		}
		golden(t, "preload-"+name, text)
	}
}

func TestTheBudgetNeverPassesWhatIsAllowedAndBothStayInBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 7))
	var th, bu PreloadState
	for range 20_000 {
		allowed := rng.Float64()
		any := func(most float64) float64 { return math.Floor(rng.ExpFloat64() * most * float64(rng.IntN(2))) }
		seen := PreloadSeen{
			PreloadCount: PreloadCount{Misses: any(1000), Used: any(100), Late: any(50), Wasted: any(100), Wanted: any(300), Refused: any(100)},
			Threshold:    rng.Float64(), Bound: rng.Float64(), Budget: rng.Float64(), Allowed: allowed,
		}
		now := time.Unix(rng.Int64N(1e6), 0)
		a := []Appetite{Balanced(), {StepRatio: 1}, {StepRatio: .2}}[rng.IntN(3)]
		in := In[PreloadSeen]{Now: now, Spec: budgetSpec, Value: allowed * rng.Float64(), Seen: seen, Appetite: a}
		p, next := PreloadBudget(in, bu)
		bu = next
		if math.IsNaN(p.To) || p.To < 0 || p.To > max(allowed, in.Value)+0.001 || p.Rule == "" || p.Reason == "" {
			t.Fatalf("of %+v came %+v", in, p)
		}
		in.Spec, in.Value = thresholdSpec, rng.Float64()
		q, next := PreloadThreshold(in, th)
		th = next
		if math.IsNaN(q.To) || q.To < 0 || q.To > 1 || math.Abs(q.To-in.Value) > 0.5 || q.Rule == "" {
			t.Fatalf("of %+v came %+v", in, q)
		}
		if e := judgePreload(Trial{Rule: p.Rule, Appetite: a}, seen, seen); e.Verdict != VerdictNeutral {
			t.Fatalf("nothing changed, and the verdict is %+v", e)
		}
	}
}

func TestPrecisionAndPressureOnlyEverSpareTheUpstream(t *testing.T) {
	for _, pressed := range []bool{true, false} {
		seen := PreloadSeen{PreloadCount: PreloadCount{Misses: 1000, Used: 20, Wasted: 180, Wanted: 200}, Threshold: .3, Budget: .1, Allowed: .1}
		if pressed {
			seen.Used, seen.Wasted, seen.Refused = 180, 20, 150
		}
		in := In[PreloadSeen]{Now: time.Unix(0, 0), Spec: thresholdSpec, Value: .2, Seen: seen, Appetite: Balanced()}
		if p, _ := PreloadThreshold(in, PreloadState{}); p.To <= .2 {
			t.Errorf("pressed %v: the threshold goes by %+v", pressed, p)
		}
		in.Spec, in.Value = budgetSpec, .1
		if p, _ := PreloadBudget(in, PreloadState{}); p.To >= .1 {
			t.Errorf("pressed %v: the budget goes by %+v", pressed, p)
		}
	}
}

func TestThePreloadMeterTellsWhatCameInASpan(t *testing.T) {
	m := NewPreloadMeter()
	start := time.Unix(1_000_000, 0)
	for i := range 100 {
		m.Measure(start.Add(time.Duration(i)*time.Second), PreloadCount{Misses: float64(10 * i), Used: float64(i), Looks: float64(10 * i), Thresholds: float64(3 * i)}, start, start)
	}
	seen := m.Measure(start.Add(100*time.Second), PreloadCount{Misses: 5}, start.Add(50*time.Second), start.Add(70*time.Second))
	if seen.Misses != 200 || seen.Used != 20 || math.Abs(seen.Threshold-.3) > 1e-9 {
		t.Errorf("in 20 s came %+v", seen)
	}
	if seen = m.Measure(start.Add(102*time.Second), PreloadCount{Misses: 5}, start.Add(100*time.Second), start.Add(101*time.Second)); seen.Misses != 5 {
		t.Errorf("after a fresh start came %+v", seen)
	}
}

package tuner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// world is a modelled upstream at one moment: so many slots of so much service time, callers who would
// keep so many calls in flight, and what happens to those beyond its capacity.
type world struct {
	slots   float64
	service time.Duration
	demand  float64
	// collapse: each call over twice the slots costs the throughput of one slot.
	collapse bool
	// reject: calls beyond the slots are refused at once with 503.
	reject bool
	// refused and failed are shares of calls that end in 429 and in a connection error.
	refused, failed float64
	// broken is a share of calls that end in 503 whatever the load.
	broken float64
}

// signals are what 10 s of the world under a limit show.
func (w world) signals(limit float64) observe.CallSignals {
	n := min(limit, w.demand)
	busy := min(n, w.slots)
	if w.collapse && n > 2*w.slots {
		busy = max(busy-(n-2*w.slots), 1)
	}
	rate := busy / w.service.Seconds()
	mean := time.Duration(n / rate * float64(time.Second))
	o := observe.Outcomes{}
	total := 10 * rate
	if w.reject && n > w.slots {
		mean = w.service
		o.Overload = uint64(10 * (n - w.slots) / w.service.Seconds())
	}
	o.Refused, o.Down = uint64(w.refused*total), uint64(w.failed*total)
	o.Overload += uint64(w.broken * total)
	o.OK = uint64((1-w.broken)*total) - o.Refused - o.Down
	return observe.CallSignals{
		Count: o.Total(), Items: o.Total(), Outcomes: o, Rate: float64(o.Total()) / 10, Throughput: rate,
		Goodput: float64(o.OK) / 10, MeanInFlight: n, MaxInFlight: int(n), Mean: mean, P50: mean, P95: mean, P99: mean,
	}
}

// simulate runs the rule step by step, 10 s each, as the loop would, and writes a line whenever
// something changes. at gives the world of a step.
func simulate(steps int, start float64, spec knob.Spec, at func(step int) world) (text string, final float64) {
	var b strings.Builder
	var state WorkersState
	var last *Outcome
	value, said := start, ""
	now := time.Unix(0, 0)
	for step := range steps {
		now = now.Add(10 * time.Second)
		before := at(step).signals(value)
		in := In[observe.CallSignals]{Now: now, Spec: spec, Value: value, Seen: before, Last: last}
		var p Proposal
		p, state = Workers(in, state)
		last = nil
		line := fmt.Sprintf("%s: %s", p.Rule, p.Reason)
		if p.To != value {
			after := at(step).signals(p.To)
			verdict, measured := Judge(value, p.To, &before, &after)
			line += fmt.Sprintf("\n      %.0f -> %.0f, expected %s\n      %s: %s", value, p.To, p.Expected, verdict, measured)
			last = &Outcome{Rule: p.Rule, From: value, To: p.To, Verdict: verdict}
			if verdict == VerdictWorse {
				last.RolledBack = true
				line += "; rolled back"
			} else {
				value = p.To
			}
		}
		if line != said {
			fmt.Fprintf(&b, "%4ds %s\n", 10*(step+1), line)
			said = line
		}
	}
	return b.String(), value
}

var testSpec = knob.Spec{Name: "workers.m", Kind: knob.KindInt, Default: 8, Min: 1, Max: 200, MaxStep: 50}

func still(w world) func(int) world { return func(int) world { return w } }

func TestWorkersGolden(t *testing.T) {
	for name, c := range map[string]struct {
		steps    int
		start    float64
		at       func(int) world
		low, top float64 // where it must end
	}{
		"fast":          {60, 8, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400}), 45, 60},
		"slow":          {60, 8, still(world{slots: 50, service: 5 * time.Second, demand: 400}), 45, 60},
		"healthy-idle":  {60, 8, still(world{slots: 50, service: 20 * time.Millisecond, demand: 2}), 8, 8},
		"rejecting":     {60, 100, still(world{slots: 50, service: 200 * time.Millisecond, demand: 400, reject: true}), 40, 58},
		"collapse":      {60, 8, still(world{slots: 20, service: 200 * time.Millisecond, demand: 400, collapse: true}), 18, 23},
		"quota":         {60, 8, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400, refused: .3}), 8, 8},
		"outage":        {20, 30, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400, failed: 1}), 30, 30},
		"broken":        {60, 30, still(world{slots: 50, service: 20 * time.Millisecond, demand: 25, broken: .2}), 20, 33},
		"latency-steps": {60, 40, latencyDoubles, 40, 55},
		"capacity-half": {90, 8, capacityHalves, 40, 60},
	} {
		text, final := simulate(c.steps, c.start, testSpec, c.at)
		text += fmt.Sprintf("end: %.0f\n", final)
		path := filepath.Join("testdata", "workers-"+name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s differs from %s (-update rewrites it):\n%s", name, path, text)
		}
		if final < c.low || final > c.top {
			t.Errorf("%s ends at %.0f workers, want %.0f to %.0f", name, final, c.low, c.top)
		}
	}
}

// latencyDoubles after 5 minutes, without our doing.
func latencyDoubles(step int) world {
	w := world{slots: 50, service: 100 * time.Millisecond, demand: 400}
	if step >= 30 {
		w.service *= 2
	}
	return w
}

// capacityHalves from the fifth to the tenth minute.
func capacityHalves(step int) world {
	w := world{slots: 50, service: 100 * time.Millisecond, demand: 400, reject: true}
	if step >= 30 && step < 60 {
		w.slots = 25
	}
	return w
}

func TestWorkersStaysInsideBoundsAndStepWhateverItSees(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	spec := knob.Spec{Name: "workers.m", Kind: knob.KindInt, Default: 5, Min: 3, Max: 40, MaxStep: 4}
	var state WorkersState
	var last *Outcome
	value, now := 5.0, time.Unix(0, 0)
	for range 20_000 {
		now = now.Add(time.Duration(rng.IntN(60)) * time.Second)
		n := func(most int) uint64 { return uint64(rng.IntN(most)) }
		c := observe.CallSignals{
			Outcomes: observe.Outcomes{OK: n(100), Overload: n(20), Refused: n(5), Timeout: n(20), Down: n(5)},
			Goodput:  rng.Float64() * 1000, MeanInFlight: rng.Float64() * 60, Mean: time.Duration(rng.Int64N(int64(time.Minute))),
		}
		c.Count = c.Outcomes.Total()
		var p Proposal
		p, state = Workers(In[observe.CallSignals]{Now: now, Spec: spec, Value: value, Seen: c, Last: last}, state)
		if err := spec.Check(p.To); err != nil || math.Abs(p.To-value) > spec.MaxStep {
			t.Fatalf("from %v to %v by %s: %v", value, p.To, p.Rule, err)
		}
		if p.Rule == "" || p.Reason == "" || (p.To != value && p.Expected == "") {
			t.Fatalf("a proposal without words: %+v", p)
		}
		last = nil
		if p.To != value {
			last = &Outcome{Rule: p.Rule, From: value, To: p.To, Verdict: []Verdict{VerdictBetter, VerdictNeutral, VerdictWorse}[rng.IntN(3)]}
			if last.RolledBack = last.Verdict == VerdictWorse; !last.RolledBack {
				value = p.To
			}
		}
	}
}

func TestJudge(t *testing.T) {
	base := world{slots: 50, service: 100 * time.Millisecond, demand: 400}
	rejecting := base
	rejecting.reject = true
	idle := base
	idle.demand = 5
	slower := base
	slower.service = 150 * time.Millisecond
	failing := base
	failing.failed = .2
	for name, c := range map[string]struct {
		from, to      float64
		before, after world
		want          Verdict
	}{
		"growth that pays":                      {20, 30, base, base, VerdictBetter},
		"growth beyond the knee":                {50, 75, base, base, VerdictWorse},
		"a little growth beyond the knee":       {100, 101, base, base, VerdictNeutral},
		"growth nobody uses":                    {20, 30, idle, idle, VerdictNeutral},
		"growth into rejections":                {50, 60, rejecting, rejecting, VerdictWorse},
		"growth while failures begin":           {20, 30, base, failing, VerdictWorse},
		"a cut that ends rejections":            {70, 52, rejecting, rejecting, VerdictBetter},
		"a cut that ends queueing":              {80, 60, base, base, VerdictBetter},
		"a cut too deep":                        {50, 30, base, base, VerdictWorse},
		"a cut nobody notices":                  {50, 40, idle, idle, VerdictNeutral},
		"growth while the upstream got slower ": {40, 44, base, slower, VerdictWorse},
	} {
		before, after := c.before.signals(c.from), c.after.signals(c.to)
		if got, measured := Judge(c.from, c.to, &before, &after); got != c.want {
			t.Errorf("%s: %s, want %s (%s)", name, got, c.want, measured)
		}
	}
}

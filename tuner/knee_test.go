package tuner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/knob"
)

// epochOf is what an epoch of so many calls under a limit shows of a world; noise is one standard
// deviation of a call, as a share of its mean.
func epochOf(w world, limit float64, calls int, noise float64, random *rand.Rand) Epoch {
	c := w.signals(limit)
	mean := c.Mean.Seconds()
	if random != nil {
		mean *= 1 + noise*random.NormFloat64()/math.Sqrt(float64(calls))
	}
	e := Epoch{Limit: limit, Span: 2 * c.Mean, Calls: calls, InFlight: c.MeanInFlight, Routes: map[string]RouteTimes{}}
	n := float64(calls)
	share := func(x uint64) int { return int(math.Round(n * float64(x) / float64(max(c.Count, 1)))) }
	e.Overload, e.Refused = share(c.Outcomes.Overload), share(c.Outcomes.Refused)
	e.OK = share(c.Outcomes.OK)
	ok := float64(e.OK)
	if e.OK > 0 {
		e.Routes["r"] = RouteTimes{N: e.OK, Sum: ok * mean, SumSq: ok * mean * mean * (1 + noise*noise)}
	}
	return e
}

// playKnee plays epochs through Knee and writes a line whenever it says something new.
func playKnee(epochs int, start float64, spec knob.Spec, noise float64, random *rand.Rand, at func(epoch int) world) (text string, limits []float64) {
	var b strings.Builder
	var s KneeState
	limit, said := start, ""
	for i := range epochs {
		var step Step
		step, s = Knee(spec, Appetite{}, epochOf(at(i), limit, 100, noise, random), s)
		line := fmt.Sprintf("%s: %s", step.Rule, step.Reason)
		if step.To != limit {
			line += fmt.Sprintf("\n      %.0f -> %.0f", limit, step.To)
		}
		if line != said {
			fmt.Fprintf(&b, "%4d  %s\n", i+1, line)
			said = line
		}
		limit = step.To
		limits = append(limits, limit)
	}
	return b.String(), limits
}

func TestKneeGolden(t *testing.T) {
	for name, c := range map[string]struct {
		epochs   int
		start    float64
		at       func(int) world
		low, top float64 // where it must spend the last third
	}{
		"fast":          {60, 8, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400}), 45, 55},
		"from-above":    {60, 180, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400}), 45, 56},
		"collapse":      {60, 8, still(world{slots: 20, service: 200 * time.Millisecond, demand: 400, collapse: true}), 18, 23},
		"rejecting":     {60, 100, still(world{slots: 50, service: 200 * time.Millisecond, demand: 400, reject: true}), 45, 56},
		"quota":         {20, 8, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400, refused: .3}), 8, 8},
		"outage":        {20, 30, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400, failed: 1}), 30, 30},
		"latency-steps": {90, 40, latencyDoubles, 40, 56},
		"capacity-half": {180, 8, capacityHalves, 44, 60},
	} {
		text, limits := playKnee(c.epochs, c.start, testSpec, .1, nil, c.at)
		text += fmt.Sprintf("end: %.0f\n", limits[len(limits)-1])
		path := filepath.Join("testdata", "knee-"+name+".txt")
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
			t.Errorf("%s differs from %s (go test ./tuner -update writes it anew):\n%s", name, path, text)
		}
		if m := middle(limits[len(limits)*2/3:]); m < c.low || m > c.top {
			t.Errorf("%s: in the last third there are mostly %.0f workers, not %.0f to %.0f:\n%s", name, m, c.low, c.top, text)
		}
	}
}

// middle is the median: at any one moment a look may be under way.
func middle(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	return s[len(s)/2]
}

func TestKneeStaysInsideItsBoundsWhateverComes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		spec := knob.Spec{Name: "w", Kind: knob.KindInt, Min: float64(1 + random.IntN(5)), MaxStep: float64(random.IntN(30))}
		spec.Max = spec.Min + float64(random.IntN(200))
		var s KneeState
		limit := spec.Min + math.Floor(random.Float64()*(spec.Max-spec.Min))
		for range 60 {
			w := world{slots: 1 + 100*random.Float64(), service: time.Duration(1 + random.Int64N(int64(time.Second))), demand: 400,
				collapse: random.IntN(2) == 0, reject: random.IntN(4) == 0, broken: random.Float64() * random.Float64() / 2}
			var step Step
			step, s = Knee(spec, Appetite{}, epochOf(w, limit, epochSamples+random.IntN(3000), random.Float64(), random), s)
			if step.To < spec.Min || step.To > spec.Max || step.To != math.Round(step.To) {
				t.Fatalf("%v is out of [%v, %v]: %+v", step.To, spec.Min, spec.Max, step)
			}
			if spec.MaxStep > 0 && math.Abs(step.To-limit) > spec.MaxStep {
				t.Fatalf("a step from %v to %v is over %v: %+v", limit, step.To, spec.MaxStep, step)
			}
			if step.Rule == "" || step.Reason == "" {
				t.Fatalf("a step that explains nothing: %+v", step)
			}
			limit = step.To
		}
	}
}

// More than the knee costs this world nothing but time in the queue, so that noise may hide it.
func TestKneeFindsTheKneeThroughNoise(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 7))
		text, limits := playKnee(160, 8, testSpec, 1, random, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400}))
		sum := 0.0
		for _, l := range limits[80:] {
			sum += l
		}
		if mean := sum / 80; mean < 46 || mean > 80 {
			t.Errorf("seed %d: %.0f workers on average for 50 slots of random service:\n%s", seed, mean, text)
		}
	}
}

func TestProbingCostsAtMostAFewPermits(t *testing.T) {
	_, limits := playKnee(400, 8, testSpec, .3, nil, still(world{slots: 50, service: 20 * time.Millisecond, demand: 400}))
	settled, off := middle(limits[100:]), 0.0
	for _, l := range limits[100:] {
		off += math.Abs(l-settled) / settled
	}
	if share := off / 300; share > .05 {
		t.Errorf("%.1f %% of the permits are spent on looking", 100*share)
	}
}

func TestFewCallsOfManyRoutesAreComparedLikeWithLike(t *testing.T) {
	// Twice the share of slow calls is no congestion.
	a := Epoch{Routes: map[string]RouteTimes{"fast": {90, 90 * .002, 90 * .002 * .002}, "slow": {10, 20, 40}}}
	b := Epoch{Routes: map[string]RouteTimes{"fast": {80, 80 * .002, 80 * .002 * .002}, "slow": {20, 40, 80}}}
	ratio, _, ok := b.against(&a)
	if !ok || math.Abs(ratio-1) > 1e-9 {
		t.Errorf("another mix of the same routes compares as %v, %v", ratio, ok)
	}
	if _, _, ok := b.against(&Epoch{Routes: map[string]RouteTimes{"other": {5, 1, 1}}}); ok {
		t.Error("epochs with no route in common were compared")
	}
}

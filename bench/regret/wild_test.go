package regret

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	worlds = flag.Int("worlds", 0, "how many worlds TestWild draws")
	which  = flag.String("which", "", "some of TestWild's worlds, by their numbers with commas between")
)

// TestWild plays ours in worlds drawn at random, which nobody has looked at while writing it: other slots, times,
// distributions, collapses and changes than the suite's. It tells the share of what each allows.
//
//	go test -C bench ./regret -run Wild -v -args -worlds 60
//	go test -C bench ./regret -run Wild -v -args -which 17 -tell
func TestWild(t *testing.T) {
	var numbers []int
	for i := range *worlds {
		numbers = append(numbers, i+1)
	}
	for _, s := range strings.Split(*which, ",") {
		if n, err := strconv.Atoi(s); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		t.Skip("a few seconds a world: -args -worlds N")
	}
	var shares []float64
	for _, i := range numbers {
		sc := wild(uint64(i))
		r := run(t, sc, ours(), uint64(i))
		possible := 0.0
		for at := sc.warmup; at < sc.length; at += tenth {
			possible += sc.optimum(at) * tenth.Seconds()
		}
		share := float64(r.good) / possible
		shares = append(shares, share)
		after := ""
		for j, at := range sc.shifts {
			until := sc.length
			if j+1 < len(sc.shifts) {
				until = sc.shifts[j+1]
			}
			after += fmt.Sprintf(" %.0f", recovered(sc, r, at, until).Seconds()/sc.trip.Seconds())
		}
		t.Logf("%3d %5.1f %% of what is possible, %.1f %% probing, trips after a change:%s; %s", i, 100*share, 100*probing(sc, r), after, sc.title)
		if n := standingWorse(r.decisions); n > 0 {
			t.Errorf("world %d: %d worse decisions stand", i, n)
		}
		tell(t, r)
		tellShifts(t, sc, r)
	}
	sum := 0.0
	for _, x := range shares {
		sum += x
	}
	slices.Sort(shares)
	t.Logf("mean %.2f %%, median %.2f %%, a tenth under %.1f %%, least %.1f %%", 100*sum/float64(len(shares)),
		100*median(shares), 100*shares[len(shares)/10], 100*shares[0])
}

// wild is the world of a number: one half stands still, and the others change twice.
func wild(number uint64) *workload {
	random := rand.New(rand.NewPCG(number, 77))
	between := func(low, high float64) float64 { return low * math.Exp(random.Float64()*math.Log(high/low)) }
	slots, service := math.Round(between(4, 150)), time.Duration(between(.02, 2)*float64(time.Second))
	w := world{thrash: between(.1, 2.5)}
	kind := "even"
	switch x := random.Float64(); {
	case x < .2:
		w.random, kind = true, "exponential"
	case x < .35:
		w.pareto, kind = between(1.8, 3), "heavy-tailed"
	default:
		w.spread = between(.05, .5)
	}
	if random.Float64() < .12 {
		w.newest, kind = true, kind+", the newest first"
	}
	trips := func(n float64) time.Duration {
		return max(time.Duration(n*float64(service)), time.Duration(n/200*20*float64(time.Second))).Truncate(tenth)
	}
	sc := &workload{id: "wild", timeout: max(40*service, sec), warmup: trips(150), length: trips(750), trip: service}
	have, times := steps([]float64{slots}), steps([]time.Duration{service})
	story := fmt.Sprintf("%.0f slots of %v (%s), %.2f beyond", slots, service.Round(time.Millisecond), kind, w.thrash)
	if sc.shifts = []time.Duration{trips(300), trips(550)}; random.Float64() < .5 {
		sc.shifts = nil
	} else if random.Float64() < .75 {
		to := math.Max(2, math.Round(slots*between(.25, 5)))
		have = steps([]float64{slots, to, slots}, sc.shifts...)
		story += fmt.Sprintf(", then %.0f, and back", to)
	} else {
		to := time.Duration(float64(service) * between(.4, 3))
		times = steps([]time.Duration{service, to, service}, sc.shifts...)
		story += fmt.Sprintf(", then %v, and back", to.Round(time.Millisecond))
	}
	w.slots, w.service = have, serving(times)
	callers := int(between(1.3, 6) * max(slots, have(trips(300))))
	sc.title, sc.world, sc.callers, sc.optimum = story+fmt.Sprintf(", %d callers", callers), w, always(callers), throughput(have, times)
	return sc
}

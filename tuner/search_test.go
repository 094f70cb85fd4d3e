package tuner

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// searching is a rig whose target is searched at the pace of its calls.
func searching(t *testing.T, slots int, service time.Duration) *rig {
	r := newRig(t, slots, service, Options{Mode: ModeActive})
	r.loop.SetTargets([]Target{{Upstream: "m", Workers: "workers.m", Search: true}})
	r.knobs.Subscribe(func(knob.Change) { r.freed.Broadcast() })
	r.onCall, r.inOrder = r.loop.OnCall, true
	r.random, r.spread = rand.New(rand.NewPCG(4, 2)), .2
	return r
}

func TestTheSearchFindsTheKneeInFewRoundTrips(t *testing.T) {
	for _, service := range []time.Duration{20 * time.Millisecond, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := searching(t, 30, service)
			stop := r.callers(100)
			defer stop()
			time.Sleep(40 * service)
			if n := r.settled(); n < 27 || n > 40 {
				t.Errorf("40 round trips of %v later there are %d workers for 30 slots", service, n)
			}
			time.Sleep(20*time.Second + 40*service)
			all := r.loop.Decisions(Filter{})
			if len(all) == 0 {
				t.Fatal("there is no decision")
			}
			first := all[len(all)-1]
			if first.From != 8 || first.Verdict != VerdictBetter || first.Reason == "" || first.Expected == "" ||
				first.Measured == "" || first.Signals["calls"] < epochSamples {
				t.Errorf("the first decision is %+v", first)
			}
			for _, d := range all {
				if d.Verdict == VerdictWorse && !d.RolledBack {
					t.Errorf("a worse decision stands: %+v", d)
				}
			}
		})
	}
}

func TestTheLedgerOfASearchIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := searching(t, 20, 50*time.Millisecond)
		r.random, r.spread = rand.New(rand.NewPCG(5, 5)), 0
		stop := r.callers(60)
		defer stop()
		time.Sleep(2 * time.Minute)
		// In one run of ten an epoch that ended too soon keeps it at some 35 until the next look: twice the slots is
		// the bound, for which the upstream's queue holds as many calls as it works on.
		if n := r.settled(); n < 16 || n > 40 {
			t.Errorf("2 minutes later there are %d workers for 20 slots", n)
			for _, d := range r.loop.Decisions(Filter{}) {
				t.Logf("%v %s %.0f -> %.0f: %s; %s: %s", d.Time.Format("04:05"), d.Rule, d.From, d.To, d.Reason, d.Verdict, d.Measured)
			}
		}
		if all := r.loop.Decisions(Filter{}); len(all) > 24 {
			t.Errorf("%d decisions in 2 minutes in which nothing changed", len(all))
		}
	})
}

// settled is the median of the workers over 20 s: at any one moment a trial step may be under way.
func (r *rig) settled() int {
	var seen []int
	for range 41 {
		seen = append(seen, r.workers.Get())
		time.Sleep(500 * time.Millisecond)
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}

func TestASearchDoesNothingWithoutDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := searching(t, 20, 50*time.Millisecond)
		stop := r.callers(3)
		defer stop()
		time.Sleep(5 * time.Minute)
		if n := r.workers.Get(); n != 8 {
			t.Errorf("3 callers moved the workers from 8 to %d", n)
		}
	})
}

func TestASearchLeavesAPinAloneAndResumesFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := searching(t, 30, 100*time.Millisecond)
		stop := r.callers(100)
		defer stop()
		if err := r.workers.Pin(knob.Pin{Value: 12}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if n := r.workers.Get(); n != 12 {
			t.Errorf("the pin of 12 became %d", n)
		}
		if _, err := r.workers.Unpin(false, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if n := r.settled(); n < 26 || n > 36 {
			t.Errorf("20 s after the unpinning there are %d workers for 30 slots", n)
		}
	})
}

func TestASearchStandsStillWhileFrozenAndInShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := searching(t, 30, 100*time.Millisecond)
		r.loop.SetFrozen(true)
		stop := r.callers(100)
		defer stop()
		time.Sleep(20 * time.Second)
		r.loop.SetFrozen(false)
		r.loop.SetMode(ModeShadow)
		time.Sleep(20 * time.Second)
		if n := r.workers.Get(); n != 8 {
			t.Errorf("there are %d workers, not 8", n)
		}
		r.loop.SetMode(ModeActive)
		time.Sleep(20 * time.Second)
		if n := r.settled(); n < 26 || n > 36 {
			t.Errorf("20 s after the switch to active there are %d workers for 30 slots", n)
		}
	})
}

func TestACohortIsCutOnce(t *testing.T) {
	var g gauge
	now := time.Unix(100, 0)
	g.reset(10, now)
	late := now.Add(time.Second)
	for range 1000 {
		c := observe.Call{Start: now.Add(-time.Millisecond), Duration: time.Second, InFlight: 10, Outcome: observe.OutcomeOverload}
		if _, ready := g.add(c, late); ready {
			t.Fatal("calls that started under the limit before made an epoch")
		}
	}
	ready := false
	for i := range 1000 {
		c := observe.Call{Start: now.Add(time.Duration(i) * time.Millisecond), Duration: 100 * time.Millisecond, InFlight: 10, Outcome: observe.OutcomeOverload}
		if _, ready = g.add(c, c.Start.Add(c.Duration)); ready {
			break
		}
	}
	if !ready {
		t.Error("calls that started under the limit made no epoch")
	}
}

func TestAnEpochWaitsForTheSlowCalls(t *testing.T) {
	var g gauge
	start := time.Unix(100, 0)
	g.reset(20, start)
	epochs := 0
	// Every tenth call takes 1 s, the others 10 ms: an epoch must not be of quick finishers alone.
	for i := range 1000 {
		at := start.Add(time.Duration(i) * 10 * time.Millisecond)
		c := observe.Call{Route: "quick", Start: at, Duration: 10 * time.Millisecond, InFlight: 20, Outcome: observe.OutcomeOK}
		if old := i - 100; i%10 == 0 && old >= 0 {
			c = observe.Call{Route: "slow", Start: start.Add(time.Duration(old) * 10 * time.Millisecond), Duration: time.Second, InFlight: 20, Outcome: observe.OutcomeOK}
		}
		e, ready := g.add(c, at.Add(10*time.Millisecond))
		if !ready {
			continue
		}
		g.restart(g.cut(at.Add(10*time.Millisecond)), at.Add(10*time.Millisecond))
		if i < 300 {
			continue // nothing is known of slow calls until the first have come back
		}
		if epochs++; e.Routes["slow"].N == 0 {
			t.Errorf("after %v an epoch has no slow call: %+v", at.Sub(start), e)
		}
	}
	if epochs == 0 || g.trip != time.Second {
		t.Errorf("%d epochs, and the slow calls' round trip is %v", epochs, g.trip)
	}
}

func TestGrowthThatTheDemandDoesNotReachComesDownToTheDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := searching(t, 30, 100*time.Millisecond)
		stop := r.callers(10) // more than the 8 workers, fewer than the 12 that they grow to
		defer stop()
		time.Sleep(20 * time.Second)
		if n := r.settled(); n < 8 || n > 10 {
			t.Errorf("10 callers at most, and %d workers", n)
		}
		for _, d := range r.loop.Decisions(Filter{}) {
			if d.Verdict == VerdictWorse {
				t.Errorf("worse: %+v", d)
			}
		}
	})
}

func TestAnEpochKnowsWhatHasNotEnded(t *testing.T) {
	for every, want := range map[int]bool{1: false, 2: true} {
		var g gauge
		start := time.Unix(100, 0)
		g.reset(20, start)
		for i := range 200 {
			at := start.Add(time.Duration(i) * time.Millisecond)
			c := observe.Call{Start: at, Duration: time.Millisecond, InFlight: 20, Outcome: observe.OutcomeOK}
			if i%every > 0 { // an old call ends instead, and the one that starts hangs
				c.Start = start.Add(-time.Second)
			}
			g.ends = append(g.ends, at)
			if g.from.IsZero() {
				g.from = at
			}
			if i%every == 0 {
				g.samples = append(g.samples, c)
			}
		}
		if missing := g.unended(len(g.samples), start.Add(200*time.Millisecond)); (missing > hungLeast) != want {
			t.Errorf("every %d. start ended: %.2f are missing", every, missing)
		}
	}
}

func TestCountsOfAnotherMixAreForgotten(t *testing.T) {
	quick := Epoch{Routes: map[string]RouteTimes{"quick": {N: 100, Sum: 1}}}
	mixed := Epoch{Routes: map[string]RouteTimes{"quick": {N: 90, Sum: 1}, "slow": {N: 10, Sum: 20}}}
	n := net{good: 16, rate: 4000}
	if n.follow(&quick); n.good != 16 {
		t.Error("the first mix is taken for another one")
	}
	if !n.follow(&mixed) || n.good != 0 {
		t.Errorf("4,000 quick answers are still the measure for slow ones: %+v", n)
	}
}

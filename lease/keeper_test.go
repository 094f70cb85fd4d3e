package lease

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"penstock/scheduler"
)

var full = flag.Bool("full", false, "run the long forms")

// hundred is a quota of 100 calls a second.
var hundred = scheduler.Rate{Limit: 100, Burst: 10}

// within fails the test if any window of 10 s in a span had fewer or more calls.
func (w *world) within(t *testing.T, from, to time.Duration, fewest, most int) {
	t.Helper()
	a, b := w.windows(from, to, 10*time.Second)
	t.Logf("%v to %v: %d to %d calls in any 10 s", from, to, a, b)
	if a < fewest {
		for x := from; x < to; x += time.Second {
			t.Log(x, w.used(x, x+time.Second), w.used(x, x+10*time.Second))
		}
	}
	if a < fewest || b > most {
		t.Errorf("from %v to %v there were %d to %d calls in windows of 10 s; wanted %d to %d", from, to, a, b, fewest, most)
	}
}

func (w *world) now() time.Duration { return time.Since(w.start) }

// TestDemandThatMovesBetweenThreeNodesUsesTheQuotaInEveryWindow is the mark: of a quota of 100 calls a second that three
// nodes share, any 10 s use 95 % to 102 %, wherever the demand is.
func TestDemandThatMovesBetweenThreeNodesUsesTheQuotaInEveryWindow(t *testing.T) {
	rates := []scheduler.Rate{hundred, {Limit: 100}, {Limit: 6000, Per: time.Minute, Burst: 20}}
	if !*full {
		rates = rates[:1]
	}
	for seed, rate := range rates {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, uint64(seed), rate, Options{}, 3)
			w.demand(120, 0, 0)
			time.Sleep(10 * time.Second)
			for range 2 { // from one node to the next, at once
				w.demand(0, 120, 0)
				time.Sleep(6 * time.Second)
				w.demand(0, 0, 120)
				time.Sleep(12 * time.Second)
				w.demand(120, 0, 0)
				time.Sleep(6 * time.Second)
			}
			for i := range 100 { // and slowly
				w.demand(120-1.2*float64(i), 1.2*float64(i), 0)
				time.Sleep(200 * time.Millisecond)
			}
			w.demand(40, 40, 40)
			time.Sleep(10 * time.Second)
			moved := w.now()
			w.demand(100, 20, 10) // little by chance here and there is the hardest
			time.Sleep(15 * time.Second)
			w.within(t, 3*time.Second, moved, 950, 1020)
			w.within(t, moved, w.now(), 920, 1020)
			for _, n := range w.nodes {
				if s := n.k.Status("u"); !s.OK || float64(s.Writes) > 15*w.now().Seconds() {
					t.Errorf("node %d: %+v", n.id, s)
				}
			}
		})
	}
}

func TestADeadNodesPartReturnsAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, hundred, Options{Forget: time.Minute}, 3)
		w.demand(120, 120, 0)
		time.Sleep(12 * time.Second)
		died := w.now()
		w.nodes[0].kill()
		time.Sleep(40 * time.Second)
		w.within(t, 0, w.now(), 450, 1020)
		w.within(t, died+DefaultLease+DefaultLease/10+time.Second, w.now(), 950, 1020)
		if s := w.nodes[1].k.Status("u"); s.Nodes != 3 || s.Gone != 1 {
			t.Errorf("one of three has vanished: %+v", s)
		}
		w.demand(0, 0, 0)
		time.Sleep(time.Minute)
		if s := w.nodes[1].k.Status("u"); s.Nodes != 2 || s.Gone != 0 {
			t.Errorf("who vanished long ago is forgotten: %+v", s)
		}
	})
}

func TestANodeThatLeavesGivesItsPartBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, hundred, Options{}, 2)
		w.demand(120, 120)
		time.Sleep(10 * time.Second)
		w.nodes[0].stop()
		w.nodes[0].asking.Wait()
		w.nodes[0].k.Close(context.Background())
		time.Sleep(time.Second)
		if got := w.nodes[1].share(); got < 0.99 {
			t.Errorf("the node that stayed has %v of the quota", got)
		}
	})
}

func TestANodeThatIsCutOffShrinksToItsFloorAndTheSumHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, hundred, Options{CutOffRatio: 0.3}, 3)
		w.demand(120, 120, 0)
		time.Sleep(20 * time.Second)
		w.nodes[0].line.cut(true)
		time.Sleep(DefaultLease - 4*time.Second)
		if got := w.nodes[0].share(); got < 0.45 {
			t.Errorf("inside its lease the node that is cut off has %v of the quota", got)
		}
		time.Sleep(10 * time.Second)
		if got := w.nodes[0].share(); got < 0.09 || got > 0.11 {
			t.Errorf("after its lease it has %v of the quota: 0.3 of a third was wanted", got)
		}
		time.Sleep(10 * time.Second)
		w.within(t, w.now()-11*time.Second, w.now(), 950, 1020)
		w.nodes[0].line.cut(false)
		time.Sleep(5 * time.Second)
		if got := w.nodes[0].share(); got < 0.45 {
			t.Errorf("back again it has %v of the quota", got)
		}
		w.within(t, time.Second, w.now(), 0, 1020)
	})
}

func TestAnIdleNodeThatIsCutOffRisesToItsFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, hundred, Options{CutOffRatio: 0.6}, 2)
		w.demand(120, 0)
		time.Sleep(20 * time.Second)
		w.nodes[1].line.cut(true)
		w.demand(120, 120)
		time.Sleep(time.Minute)
		if got := w.nodes[1].share(); got < 0.29 || got > 0.31 {
			t.Errorf("it has %v of the quota, where 0.6 of a half is kept for it", got)
		}
		w.within(t, time.Second, w.now(), 0, 1020)
		w.within(t, w.now()-20*time.Second, w.now(), 950, 1020)
	})
}

func TestWithoutTheEngineAllGoOnForALeaseAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, hundred, Options{CutOffRatio: 0.9}, 3)
		w.demand(100, 50, 0)
		time.Sleep(20 * time.Second)
		cut := w.now()
		for _, n := range w.nodes {
			n.line.cut(true)
		}
		time.Sleep(DefaultLease * 4 / 5)
		w.within(t, cut-time.Second, w.now(), 940, 1020)
		time.Sleep(30 * time.Second)
		w.within(t, w.now()-12*time.Second, w.now(), 550, 920) // two of three are asked, and have 0.9 of a third each
		for _, n := range w.nodes {
			n.line.cut(false)
		}
		time.Sleep(4 * time.Second)
		back := w.now()
		time.Sleep(15 * time.Second)
		w.within(t, back, w.now(), 950, 1020)
		w.within(t, time.Second, w.now(), 0, 1020)
	})
}

func TestANodeToldToHoldKeepsItsLastPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, hundred, Options{Hold: true}, 2)
		w.demand(120, 0)
		time.Sleep(10 * time.Second)
		w.nodes[0].line.cut(true)
		time.Sleep(time.Minute)
		if got := w.nodes[0].share(); got < 0.95 {
			t.Errorf("it has %v of the quota", got)
		}
	})
}

// TestANodeThatWasPausedBeyondItsLeaseDoesNotSendWhatOthersHaveByThen: a process that was stopped goes on with
// what it last knew; its scheduler sees that the time is over before it sends.
func TestANodeThatWasPausedBeyondItsLeaseDoesNotSendWhatOthersHaveByThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7, hundred, Options{}, 2)
		w.demand(120, 120)
		time.Sleep(10 * time.Second)
		w.nodes[0].line.cut(true)
		w.nodes[0].pause(true)
		time.Sleep(40 * time.Second)
		w.nodes[0].pause(false)
		time.Sleep(5 * time.Second) // the line is still dead
		w.nodes[0].line.cut(false)
		time.Sleep(20 * time.Second)
		w.within(t, time.Second, w.now(), 450, 1020)
		w.within(t, w.now()-15*time.Second, w.now(), 950, 1020)
	})
}

// TestThePartsInForceNeverAddUpToMoreThanTheWhole cuts lines, kills nodes and adds some at random.
func TestThePartsInForceNeverAddUpToMoreThanTheWhole(t *testing.T) {
	seeds := uint64(1)
	if *full {
		seeds = 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, seed, hundred, Options{Lease: 2 * time.Second, Forget: 5 * time.Second, CutOffRatio: random.Float64()}, 4)
			cut := make(map[*node]bool)
			alive := append([]*node(nil), w.nodes...)
			for range 150 {
				n := alive[random.IntN(len(alive))]
				switch random.IntN(12) {
				case 0, 1:
					cut[n] = !cut[n]
					n.line.cut(cut[n])
				case 2, 3:
					n.mu.Lock()
					n.rate = random.Float64() * 100
					n.mu.Unlock()
				case 4:
					if len(w.nodes) < 12 {
						alive = append(alive, w.join())
					}
				}
				time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
				sum := 0.0
				for _, n := range w.nodes {
					// What a node has that never was in the record, or was forgotten, is not reserved for it.
					if s := n.k.Status("u"); s.Writes > 0 && time.Since(s.Until) < 5*time.Second {
						sum += n.share()
					}
				}
				if sum > 1+1e-6 {
					t.Fatalf("after %v the parts add up to %v", w.now(), sum)
				}
			}
		})
	}
}

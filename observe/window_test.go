package observe

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuantilesAreWithinThreePercent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s sparseHistogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(rng.NormFloat64()*2) * float64(5*time.Millisecond))
		all = append(all, d)
		s.add(d)
	}
	slices.Sort(all)
	h := new(histogram)
	h.merge(&s)
	for _, q := range []float64{.5, .9, .95, .99, .999} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := h.quantile(q); math.Abs(float64(got-want)) > .0325*float64(want)+float64(time.Microsecond) {
			t.Errorf("p%v is %s, want %s", 100*q, got, want)
		}
	}
}

func FuzzEveryDurationHasABucketCloseToIt(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(-5))
	f.Add(int64(math.MaxInt64))
	f.Add(int64(16<<10) - 1)
	f.Fuzz(func(t *testing.T, ns int64) {
		i := bucketOf(time.Duration(ns))
		if i < 0 || i >= buckets {
			t.Fatalf("%d ns fall into bucket %d of %d", ns, i, buckets)
		}
		if ns < 0 || ns > int64(30*time.Minute) {
			return
		}
		v := int64(bucketValue(i))
		if d := math.Abs(float64(v - ns)); d > float64(ns)/32+1024 {
			t.Fatalf("%d ns are told as %d", ns, v)
		}
	})
}

func call(start time.Time, d time.Duration, o Outcome) Call {
	return Call{Upstream: "m", Route: "r", Start: start, Duration: d, Outcome: o, InFlight: 3, Items: 2, Bytes: 10}
}

func TestACallCountsInTheSecondInWhichItStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(WindowOptions{})
		born := time.Now()
		time.Sleep(8 * time.Second)
		w.OnCall(call(born.Add(2*time.Second), 5*time.Second, OutcomeOK))
		time.Sleep(2 * time.Second)
		started := w.Between("m", "", born.Add(2*time.Second), born.Add(3*time.Second)).Calls
		if started.Count != 1 || started.Items != 2 || started.Ended != 0 || started.MeanInFlight != 3 {
			t.Errorf("the second of the start has %+v", started)
		}
		ended := w.Between("m", "r", born.Add(7*time.Second), born.Add(8*time.Second)).Calls
		if ended.Count != 0 || ended.Ended != 1 || ended.Goodput != 2 || ended.Throughput != 2 {
			t.Errorf("the second of the end has %+v", ended)
		}
		if s := w.Between("m", "other", born, born.Add(10*time.Second)); s.Calls.Count != 0 {
			t.Errorf("another route has %+v", s.Calls)
		}
	})
}

func TestBetweenTakesWholeSecondsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(WindowOptions{})
		born := time.Now()
		time.Sleep(10 * time.Second)
		for _, c := range []struct{ from, to, span time.Duration }{
			{0, 5 * time.Second, 5 * time.Second},
			{500 * time.Millisecond, 5500 * time.Millisecond, 4 * time.Second},
			{100 * time.Millisecond, 900 * time.Millisecond, 0},
			{8 * time.Second, time.Hour, 2 * time.Second}, // the future is left out
			{5 * time.Second, 4 * time.Second, 0},
		} {
			if s := w.Between("m", "", born.Add(c.from), born.Add(c.to)); s.Span != c.span {
				t.Errorf("[%s, %s) covers %s, want %s", c.from, c.to, s.Span, c.span)
			}
		}
		if s := w.Between("m", "", born.Add(-time.Hour), born.Add(3*time.Second)); s.Span != 3*time.Second {
			t.Errorf("before the birth: %s", s.Span)
		}
	})
}

func TestOldSecondsLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(WindowOptions{Span: 10 * time.Second})
		w.OnCall(call(time.Now(), time.Millisecond, OutcomeOK))
		if n := w.Signals(time.Hour).Total.Calls.Count; n != 1 {
			t.Fatalf("there are %d calls, want 1", n)
		}
		time.Sleep(9 * time.Second)
		if n := w.Signals(5 * time.Second).Total.Calls.Count; n != 0 {
			t.Errorf("a window of 5 s has %d calls of 9 s ago", n)
		}
		time.Sleep(13 * time.Second)
		if n := w.Signals(time.Hour).Total.Calls.Count; n != 0 {
			t.Errorf("the call is still there after its slot's time")
		}
		// The slot is used again, and a straggler of long ago is not counted into it.
		w.OnCall(call(time.Now(), time.Millisecond, OutcomeOK))
		w.OnCall(call(time.Now().Add(-11*time.Second), time.Millisecond, OutcomeOK))
		if n := w.Signals(time.Second).Total.Calls.Count; n != 1 {
			t.Errorf("there are %d calls, want only the new one", n)
		}
	})
}

func TestAnUpstreamIsTheSumOfItsRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(WindowOptions{})
		time.Sleep(5 * time.Second)
		now := time.Now()
		for i, outcome := range []Outcome{OutcomeOK, OutcomeClient, OutcomeRefused, OutcomeOverload, OutcomeError, OutcomeTimeout, OutcomeDown, OutcomeCanceled, "?"} {
			c := call(now, time.Duration(i+1)*time.Millisecond, outcome)
			c.Route = []string{"a", "b"}[i%2]
			w.OnCall(c)
		}
		s := w.Signals(10 * time.Second)
		if a, b := s.Routes[RouteName{"m", "a"}], s.Routes[RouteName{"m", "b"}]; a.Calls.Count != 5 || b.Calls.Count != 4 {
			t.Errorf("routes have %d and %d calls", a.Calls.Count, b.Calls.Count)
		}
		want := Outcomes{OK: 1, Client: 1, Refused: 1, Overload: 1, Error: 2, Timeout: 1, Down: 1, Canceled: 1}
		if got := s.Upstreams["m"].Calls.Outcomes; got != want || s.Total.Calls.Outcomes != want {
			t.Errorf("the upstream has %+v, want %+v", got, want)
		}
		if got, want := want.FailedRatio(), 5./8; got != want {
			t.Errorf("failed ratio %v, want %v", got, want)
		}
		if s.Total.Calls.Rate != 9./5 {
			t.Errorf("rate is %v over the 5 s of its life, want 1.8", s.Total.Calls.Rate)
		}
		w.Forget("m")
		if s := w.Signals(10 * time.Second); len(s.Routes) != 0 {
			t.Errorf("a forgotten upstream still has %v", s.Routes)
		}
	})
}

func TestAWindowMayBeReadWhileItIsWritten(t *testing.T) {
	w := NewWindow(WindowOptions{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 500 {
				c := call(time.Now(), time.Millisecond, OutcomeOK)
				c.Route = []string{"a", "b"}[i%2]
				w.OnCall(c)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			w.Signals(5 * time.Second)
		}
	})
	wg.Wait()
	if n := w.Signals(time.Minute).Upstreams["m"].Calls.Count; n != 2000 {
		t.Errorf("%d calls were counted of 2000", n)
	}
}

func BenchmarkSignalsOfTenBusyRoutes(b *testing.B) {
	w := NewWindow(WindowOptions{})
	w.born = w.born.Add(-30 * time.Second)
	for i := range 100_000 {
		c := call(w.born.Add(time.Duration(i)*300*time.Microsecond), time.Duration(1+i%100)*time.Millisecond, OutcomeOK)
		c.Route = string(rune('a' + i%10))
		w.OnCall(c)
	}
	for b.Loop() {
		w.Signals(10 * time.Second)
	}
}

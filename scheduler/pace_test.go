package scheduler

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// paced runs callers who always want more for a second at each of the rates, and returns how many
// calls each second had.
func paced(t *testing.T, o Options, rates ...float64) (calls []int64, s *Scheduler) {
	t.Helper()
	var n atomic.Int64
	f := &fake{do: func(context.Context, *request.Request) (*request.Response, error) {
		n.Add(1)
		time.Sleep(time.Millisecond)
		return answer("x"), nil
	}}
	registry := knob.NewRegistry()
	pace, err := registry.Float(knob.Spec{Name: "pace", Max: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	o.PaceRate = pace
	s = New(o, f)
	registry.Subscribe(func(knob.Change) { s.Kick() })
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.Do(ctx, ask("a", 3))
			}
		})
	}
	for _, r := range rates {
		if err := pace.Tune(r, "test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // what was let go before the change has begun
		before := n.Load()
		time.Sleep(time.Second)
		calls = append(calls, n.Load()-before)
	}
	t.Cleanup(func() { stop(); wg.Wait(); s.Close() })
	return calls, s
}

func near(got int64, want float64) bool {
	return float64(got) >= .97*want-2 && float64(got) <= 1.03*want+2
}

func TestPaceRateFollowsItsKnob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, s := paced(t, Options{Workers: knob.FixedInt(10)}, 0, 50, 200, .5, 1000, 0)
		for i, want := range []float64{10_000, 50, 200, .5, 1000, 10_000} {
			if !near(calls[i], want) {
				t.Errorf("second %d had %d calls, not %v", i, calls[i], want)
			}
		}
		if st := s.Stats(); st.Binding != "permits" || st.Pace != 0 || len(st.Rates) != 0 {
			t.Errorf("without a pace: %+v", st)
		}
	})
}

func TestPaceRateAndRateWindowsHoldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workers: knob.FixedInt(10), Rates: []Rate{{Limit: 100, Burst: 1}}}
		calls, s := paced(t, o, 0, 300, 40)
		for i, want := range []float64{100, 100, 40} {
			if !near(calls[i], want) {
				t.Errorf("second %d had %d calls, not %v", i, calls[i], want)
			}
		}
		st := s.Stats()
		if st.Binding != "pace" || st.Pace != 40 || len(st.Rates) != 1 || st.BindingShares["pace"] <= 0 {
			t.Errorf("the pace binds, yet: %+v", st)
		}
		o.PaceRate = s.opts.PaceRate
		o.Rates = []Rate{{Limit: 20, Burst: 1}, {Limit: 1e6, Per: time.Minute}}
		s.Apply(o)
		time.Sleep(time.Second)
		if st := s.Stats(); st.Binding != "rate 0" || st.Pace != 40 {
			t.Errorf("the first window binds after Apply, yet: %+v", st)
		}
	})
}

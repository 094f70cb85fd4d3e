package scheduler

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// slow answers after d, or when the call is cancelled.
func slow(d time.Duration) func(context.Context, *request.Request) (*request.Response, error) {
	return func(ctx context.Context, r *request.Request) (*request.Response, error) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return answer("ok"), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func TestNoMoreCallsThanPermitsAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Upstream: "movies", Workers: knob.FixedInt(3), Priorities: true}, &fake{do: slow(time.Second)})
		defer s.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for range 9 {
			wg.Go(func() {
				if _, err := s.Do(t.Context(), ask("a", 3)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if st := s.Stats(); st.InFlight != 3 || st.Queued != 6 || st.Binding != "permits" {
			t.Errorf("stats %+v, want 3 in flight, 6 queued, bound by permits", st)
		}
		wg.Wait()
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("9 calls of 1 s on 3 permits took %v, want 3s", d)
		}
	})
}

package scheduler

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// lagging is a context that has ended while those that wait for it were not woken yet.
type lagging struct {
	context.Context
	ended chan struct{} // closed: it has ended
}

func (c lagging) Done() <-chan struct{} { return nil }

func (c lagging) Err() error {
	select {
	case <-c.ended:
		return context.Canceled
	default:
		return nil
	}
}

func TestRequestThatEndsAtTheMomentOfItsTurnIsNotSent(t *testing.T) {
	for _, r := range []*request.Request{ask("a", 3), join("a", 3)} {
		synctest.Test(t, func(t *testing.T) {
			b := newBatcher(4, 200*time.Millisecond, 0)
			s := lingering(t, b, 4)
			defer s.Close()
			ctx := lagging{context.Background(), make(chan struct{})}
			var others []*asked
			want := ""
			if r.Route == batchRoute { // it waits in a batch that lingers
				others = append(others, begin(t, s, "x", ask("b", 3)))
				want = "x"
			} else { // it waits for a permit
				for range 4 {
					others = append(others, begin(t, s, "x", ask("b", 3)))
				}
				want = "x | x | x | x"
			}
			done := make(chan error)
			go func() {
				_, err := s.Do(ctx, r)
				done <- err
			}()
			synctest.Wait()
			if st := s.Stats(); st.Queued != 1 {
				t.Fatalf("stats %+v, want it queued", st)
			}
			close(ctx.ended)
			problem(t, <-done, request.ProblemClientClosed)
			for _, a := range others {
				if _, err := a.wait(); err != nil {
					t.Error(err)
				}
			}
			expectSent(t, b, want)
			synctest.Wait()
			expectInFlight(t, s, 0, "at the end")
		})
	}
}

func TestFailedStreamIsNoMeasurement(t *testing.T) {
	s := New(options(1), &fake{do: func(context.Context, *request.Request) (*request.Response, error) {
		return &request.Response{Status: 503, Body: &stream{Reader: strings.NewReader("busy")}}, nil
	}})
	defer s.Close()
	resp, err := s.Do(t.Context(), ask("a", 3))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(resp.Body)
	if s.Stats().ServiceTime != 0 {
		t.Error("a 503 was taken as a measurement")
	}
}

func TestStreamThatIsCancelledHalfWayHoldsItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), streaming(&stream{Reader: strings.NewReader("long")}))
		defer s.Close()
		s.mu.Lock()
		s.estimateOf(testRoute).add(time.Second, 1)
		s.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := s.Do(ctx, ask("a", 3))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		if st := s.Stats(); st.Held != 1 {
			t.Errorf("stats %+v, want the permit held", st)
		}
		<-time.After(time.Second)
		synctest.Wait()
		expectInFlight(t, s, 0, "after the usual time")
	})
}

func TestMembersOfABatchShareItsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(4, 400*time.Millisecond, 0)
		s := New(options(1), b)
		defer s.Close()
		begin(t, s, "x", ask("x", 3))
		for range 4 {
			begin(t, s, "m", join("a", 3))
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectSent(t, b, "x | m,m,m,m")
		if f := s.q.classes[3].flows["a"]; f == nil || math.Abs(f.start-0.4) > 1e-9 {
			t.Errorf("the tenant's tag is %+v, want it to have paid 0.4 s once", f)
		}
	})
}

func TestBatchDoesNotLingerWhenNobodyIsExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, 200*time.Millisecond, 0)
		s := lingering(t, b, 4)
		defer s.Close()
		<-time.After(time.Minute)
		begin(t, s, "1", join("a", 3))
		begin(t, s, "2", join("a", 3))
		expectSent(t, b, "1 | 2")
	})
}

// promoting is a context that promotes the request while it is queued, before its hook is set.
type promoting struct {
	context.Context
	r *request.Request
}

func (c promoting) Deadline() (time.Time, bool) {
	c.r.Promote(0)
	return time.Time{}, false
}

func TestPromotionOnTheWayIntoTheQueueIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), newGate())
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		r := ask("a", 6)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := s.Do(promoting{ctx, r}, r)
			done <- err
		}()
		synctest.Wait()
		if st := s.Stats(); st.QueuedByUrgency[0] != 1 {
			t.Errorf("queued %v, want it at urgency 0", st.QueuedByUrgency)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestMetricsAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registry()
		o := options(1)
		o.Scope = reg.Upstream("movies")
		waits := 0
		o.OnWait = func(u request.Urgency, d time.Duration) { waits++ }
		s := New(o, newGate())
		begin(t, s, "1", ask("a", 3))
		begin(t, s, "2", ask("a", 5))
		var text strings.Builder
		reg.WritePrometheus(&text)
		for _, line := range []string{
			`penstock_queue_length{upstream="movies",urgency="5"} 1`, `penstock_queue_length{upstream="movies",urgency="3"} 0`,
			`penstock_permits{upstream="movies"} 1`, `penstock_in_flight{upstream="movies"} 1`, `penstock_permits_held{upstream="movies"} 0`,
			`penstock_queue_wait_seconds_count{upstream="movies",urgency="3"} 1`, `penstock_binding_ratio{upstream="movies",limit="permits"} `,
			`penstock_binding_ratio{upstream="movies",limit="rate"} `, `penstock_queue_refused_total{upstream="movies",reason="full"} 0`,
		} {
			if !strings.Contains(text.String(), line) {
				t.Errorf("no %s in\n%s", line, text.String())
			}
		}
		if waits != 1 {
			t.Errorf("OnWait was told of %d dispatches, want 1", waits)
		}
		s.Close()
	})
}

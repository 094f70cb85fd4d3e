package upstream

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

var testBreaker = Breaker{FailureRatio: 0.5, MinCalls: 4, Window: 10 * time.Second, OpenFor: 5 * time.Second, HalfOpenProbes: 2}

// breakerClient answers with the status that *status has, 0 for a hang.
func breakerClient(t *testing.T, status *int) (*Client, *atomic.Int64) {
	calls := new(atomic.Int64)
	c, _ := newClient(t, Options{
		Breaker: testBreaker, Retry: once, Timeouts: Timeouts{Total: 30 * time.Second},
		RoundTripper: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			calls.Add(1)
			if *status == 0 {
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}
			return answer(*status, "x"), nil
		}),
	})
	return c, calls
}

func ask(t *testing.T, c *Client) error {
	t.Helper()
	resp, err := c.Do(context.Background(), get("/"))
	if err == nil {
		resp.Body.Read(make([]byte, 10))
		resp.Body.Close()
	}
	return err
}

func TestBreakerOpensRestsAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		c, calls := breakerClient(t, &status)
		ask(t, c)
		ask(t, c)
		status = 500
		ask(t, c)
		if s := c.State().Breaker; s != BreakerClosed {
			t.Fatalf("%s with fewer calls than min_calls", s)
		}
		ask(t, c)
		opened := time.Now()
		if s := c.State(); s.Breaker != BreakerOpen || !s.BreakerSince.Equal(opened) || s.BreakerRetryAfter != 5*time.Second {
			t.Fatalf("at half failures: %+v", s)
		}
		pass(2 * time.Second)
		before := calls.Load()
		e := wantProblem(t, ask(t, c), request.ProblemBreakerOpen, "destination_unavailable")
		if e.RetryAfter != 3*time.Second || calls.Load() != before || e.Upstream != "movies" {
			t.Errorf("refused with %+v after %d calls", e, calls.Load()-before)
		}
		pass(3*time.Second + 1)
		if s := c.State().Breaker; s != BreakerHalfOpen {
			t.Fatalf("after open_for: %s", s)
		}
		ask(t, c)
		if s := c.State(); s.Breaker != BreakerOpen || s.BreakerRetryAfter != 5*time.Second {
			t.Fatalf("after a failed probe: %+v", s)
		}
		pass(5*time.Second + 1)
		status = 200
		ask(t, c)
		ask(t, c)
		if s := c.State().Breaker; s != BreakerClosed {
			t.Errorf("after two good probes: %s", s)
		}
	})
}

func TestHalfOpenBreakerLetsOnlyItsProbesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 500
		c, calls := breakerClient(t, &status)
		for range 4 {
			ask(t, c)
		}
		pass(5*time.Second + 1)
		status = 0
		before := calls.Load()
		ctx, cancel := context.WithCancel(context.Background())
		for range 2 {
			go c.Do(ctx, get("/"))
		}
		synctest.Wait()
		e := wantProblem(t, ask(t, c), request.ProblemBreakerOpen, "destination_unavailable")
		if calls.Load()-before != 2 || e.RetryAfter <= 0 || e.RetryAfter > time.Second {
			t.Errorf("%d calls, %+v", calls.Load()-before, e)
		}
		// Probes that were given up say nothing, and make room for others.
		cancel()
		synctest.Wait()
		status = 200
		ask(t, c)
		ask(t, c)
		if s := c.State().Breaker; s != BreakerClosed {
			t.Errorf("after two good probes: %s", s)
		}
	})
}

// Each call ends long after the window in which it began.
func TestBreakerOpensOnAnUpstreamThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 0
		c, _ := breakerClient(t, &status)
		for range 4 {
			go c.Do(context.Background(), get("/"))
		}
		pass(30*time.Second + 1)
		if s := c.State().Breaker; s != BreakerOpen {
			t.Errorf("after four timeouts: %s", s)
		}
	})
}

func TestOldFailuresLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 500
		c, _ := breakerClient(t, &status)
		for range 20 {
			ask(t, c)
			pass(4 * time.Second)
		}
		if s := c.State().Breaker; s != BreakerClosed {
			t.Errorf("three failures in any window, but %s", s)
		}
	})
}

func TestWhatCountsAsAFailure(t *testing.T) {
	for status, want := range map[int]BreakerState{
		200: BreakerClosed, 304: BreakerClosed, 400: BreakerClosed, 404: BreakerClosed, 408: BreakerClosed, 429: BreakerClosed, 501: BreakerClosed,
		500: BreakerOpen, 502: BreakerOpen, 503: BreakerOpen, 504: BreakerOpen, 529: BreakerOpen,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := breakerClient(t, &status)
				for range 4 {
					ask(t, c)
				}
				if s := c.State().Breaker; s != want {
					t.Errorf("%s, want %s", s, want)
				}
			})
		})
	}
}

func TestOpenBreakerEndsTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, times := script("503")
		b := testBreaker
		b.MinCalls = 2
		c, _ := newClient(t, Options{RoundTripper: rt, Breaker: b, Retry: Retry{MaxAttempts: 10}})
		resp, _ := do(t, c, get("/"))
		if resp.Status != 503 || len(*times) > 3 {
			t.Errorf("%d after %d calls", resp.Status, len(*times))
		}
	})
}

func TestBreakerSurvivesAReloadOfOtherSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 500
		c, _ := breakerClient(t, &status)
		for range 4 {
			ask(t, c)
		}
		reload := func(change func(*Options)) BreakerState {
			o := c.settings.Load().opts
			change(&o)
			commit, err := c.Prepare(o)
			if err != nil {
				t.Fatal(err)
			}
			commit()
			return c.State().Breaker
		}
		if s := reload(func(o *Options) { o.Timeouts.Total = time.Minute }); s != BreakerOpen {
			t.Errorf("another timeout: %s", s)
		}
		if s := reload(func(o *Options) { o.Breaker.OpenFor++ }); s != BreakerClosed {
			t.Errorf("another breaker: %s", s)
		}
		if s := reload(func(o *Options) { o.Breaker.Disabled = true }); s != BreakerDisabled {
			t.Errorf("no breaker: %s", s)
		}
	})
}

package cache

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// flaky answers well until it is told to fail.
type flaky struct {
	origin
	fail func() (*request.Response, error)
}

func newFlaky(header ...string) *flaky {
	f := &flaky{}
	f.do = func(ctx context.Context, _ *request.Request) (*request.Response, error) {
		if f.fail != nil {
			return f.fail()
		}
		return reply(200, itoa(int(f.calls.Load())), header...), nil
	}
	return f
}

func TestStaleIsServedWhileRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFlaky("Cache-Control", "max-age=10, stale-while-revalidate=20")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(15 * time.Second)
		asked := get(httpRoute(), "k")
		asked.SetUrgency(2)
		a := do(t, c, asked)
		if !a.Cache.Hit || a.body != "1" || a.Cache.TTL != -5*time.Second || a.Cache.Age != 15*time.Second ||
			a.Cache.Detail != "served-stale-while-revalidating" {
			t.Errorf("stale: %q %+v", a.body, a.Cache)
		}
		synctest.Wait()
		o.wantCalls(t, 2)
		if u := o.last().Urgency(); u != 3 {
			t.Errorf("refreshed at urgency %v, want 3", u)
		}
		if a := do(t, c, get(httpRoute(), "k")); a.body != "2" || a.Cache.TTL != 10*time.Second {
			t.Errorf("after the refresh: %q %+v", a.body, a.Cache)
		}
		time.Sleep(31 * time.Second)
		if a := do(t, c, get(httpRoute(), "k")); a.Cache.Hit || a.body != "3" {
			t.Errorf("past the window: %q %+v", a.body, a.Cache)
		}
		if s := c.Stats(); s.StaleHits != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestOneRefreshAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := slow(func(*request.Request) *request.Response {
			return reply(200, "x", "Cache-Control", "max-age=10, stale-while-revalidate=20")
		})
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(15 * time.Second)
		start := time.Now()
		crowd(t, c, 100, func(int) *request.Request { return get(httpRoute(), "k") })
		if took := time.Since(start); took != 0 {
			t.Errorf("clients waited %v for the refresh", took)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		o.wantCalls(t, 2)
	})
}

func TestStaleOnError(t *testing.T) {
	problem := func(p request.Problem) func() (*request.Response, error) {
		return func() (*request.Response, error) { return nil, request.Errorf(p, "no") }
	}
	status := func(n int) func() (*request.Response, error) {
		return func() (*request.Response, error) { return reply(n, "broken"), nil }
	}
	const allows = "max-age=10, stale-if-error=60"
	for name, tc := range map[string]struct {
		control string
		fail    func() (*request.Response, error)
		sleep   time.Duration
		off     bool
		want    bool
	}{
		"503":                     {allows, status(503), 30 * time.Second, false, true},
		"500":                     {allows, status(500), 30 * time.Second, false, true},
		"404 is an answer":        {allows, status(404), 30 * time.Second, false, false},
		"dead":                    {allows, problem(request.ProblemUpstreamDown), 30 * time.Second, false, true},
		"timeout":                 {allows, problem(request.ProblemUpstreamTimeout), 30 * time.Second, false, true},
		"breaker open":            {allows, problem(request.ProblemBreakerOpen), 30 * time.Second, false, true},
		"queue full":              {allows, problem(request.ProblemReducedCapacity), 30 * time.Second, false, true},
		"too large":               {allows, problem(request.ProblemAnswerTooLarge), 30 * time.Second, false, true},
		"the client's fault":      {allows, problem(request.ProblemBadRequest), 30 * time.Second, false, false},
		"past the window":         {allows, status(503), 71 * time.Second, false, false},
		"end of the window":       {allows, status(503), 69 * time.Second, false, true},
		"no directive":            {"max-age=10", status(503), 30 * time.Second, false, false},
		"must-revalidate":         {allows + ", must-revalidate", status(503), 30 * time.Second, false, false},
		"proxy-revalidate":        {allows + ", proxy-revalidate", status(503), 30 * time.Second, false, false},
		"s-maxage with a window":  {"s-maxage=10, stale-if-error=60", status(503), 30 * time.Second, false, true},
		"error recovery disabled": {allows, status(503), 30 * time.Second, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newFlaky("Cache-Control", tc.control)
				opts := testOptions()
				opts.ErrorRecovery = !tc.off
				c := newCache(t, opts, o)
				do(t, c, get(httpRoute(), "k"))
				synctest.Wait()
				time.Sleep(tc.sleep)
				o.fail = tc.fail
				resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
				if err == nil {
					readBody(t, resp)
				}
				served := err == nil && resp.Cache.Detail == "stale-if-error"
				if served != tc.want {
					t.Fatalf("stale served: %v, want %v (%v %v)", served, tc.want, resp, err)
				}
				if served && (resp.Cache.Hit || resp.Cache.Fwd != "stale" || resp.Cache.FwdStatus < 500 ||
					resp.Cache.TTL != 10*time.Second-tc.sleep || !resp.Cache.HasAge || resp.Cache.Age != tc.sleep) {
					t.Errorf("status: %+v", resp.Cache)
				}
			})
		})
	}
}

func TestRouteWindowsApplyButNotAgainstMustRevalidate(t *testing.T) {
	for control, want := range map[string]bool{"": true, "no-cache": true, "must-revalidate": false, "proxy-revalidate": false} {
		synctest.Test(t, func(t *testing.T) {
			o := newFlaky("Cache-Control", control)
			c := newCache(t, testOptions(), o)
			route := ttlRoute(10 * time.Second)
			route.Cache.StaleIfError = time.Minute
			do(t, c, get(route, "k"))
			synctest.Wait()
			time.Sleep(20 * time.Second)
			o.fail = func() (*request.Response, error) { return reply(503, "x"), nil }
			if a := do(t, c, get(route, "k")); (a.Status == 200) != want {
				t.Errorf("%q: status %d", control, a.Status)
			}
		})
	}
}

func TestHangingUpstreamGivesTheStaleCopyAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFlaky("Cache-Control", "max-age=10, stale-if-error=60")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(20 * time.Second)
		o.fail = func() (*request.Response, error) {
			time.Sleep(time.Minute)
			return nil, request.Errorf(request.ProblemUpstreamTimeout, "no")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := c.Do(ctx, get(httpRoute(), "k"))
		if err != nil || resp.Cache.Detail != "stale-if-error" || readBody(t, resp) != "1" {
			t.Errorf("%+v %v", resp, err)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestPurgedCopyIsNotServedOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFlaky("Cache-Control", "max-age=10, stale-if-error=60")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(20 * time.Second)
		o.fail = func() (*request.Response, error) {
			c.Purge(PurgeRequest{Key: "k"})
			return reply(503, "x"), nil
		}
		if a := do(t, c, get(httpRoute(), "k")); a.Status != 503 {
			t.Errorf("status %d", a.Status)
		}
	})
}

func TestStoredFailureDoesNotPushOutTheCopyThatStandsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFlaky("Cache-Control", "max-age=10, stale-if-error=60")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(20 * time.Second)
		o.fail = func() (*request.Response, error) { return reply(503, "x", "Cache-Control", "max-age=5"), nil }
		for range 2 {
			if a := do(t, c, get(httpRoute(), "k")); a.body != "1" || a.Cache.Detail != "stale-if-error" {
				t.Errorf("%d %q %+v", a.Status, a.body, a.Cache)
			}
			synctest.Wait()
		}
	})
}

func TestRenewalThatForbidsStoringForgetsTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFlaky("Cache-Control", "max-age=10", "Etag", `"1"`)
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(20 * time.Second)
		o.fail = func() (*request.Response, error) { return reply(304, "", "Cache-Control", "private"), nil }
		if a := do(t, c, get(httpRoute(), "k")); a.Status != 200 || a.body != "1" {
			t.Errorf("%d %q", a.Status, a.body)
		}
		synctest.Wait()
		if c.Stats().Entries != 0 {
			t.Error("still stored")
		}
	})
}

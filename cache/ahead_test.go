package cache

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func aheadOptions() Options {
	o := testOptions()
	o.RefreshAhead = 0.1
	return o
}

// TestAHotKeyNeverExpires asks each second for a copy that is fresh for a hundred.
func TestAHotKeyNeverExpires(t *testing.T) {
	for name, header := range map[string][]string{
		"plain":           {"Cache-Control", "max-age=100"},
		"must-revalidate": {"Cache-Control", "max-age=100, must-revalidate", "Etag", `"1"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := slow(func(*request.Request) *request.Response { return reply(200, "x", header...) })
				c := newCache(t, aheadOptions(), o)
				do(t, c, get(httpRoute(), "k"))
				for range 1000 {
					time.Sleep(time.Second)
					if resp := do(t, c, get(httpRoute(), "k")); !resp.Cache.Hit || resp.Cache.TTL <= 0 {
						t.Fatalf("not fresh: %+v", resp.Cache)
					}
				}
				if !o.last().Background {
					t.Error("the refresh was not background work")
				}
				if n := o.calls.Load(); n > 13 {
					t.Errorf("%d calls in ten lifetimes", n)
				}
			})
		})
	}
}

func TestAColdKeyIsNotRefreshedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=100")
		c := newCache(t, aheadOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		time.Sleep(99 * time.Second)
		do(t, c, get(httpRoute(), "k"))
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		o.wantCalls(t, 1)
	})
}

func TestWhatWasStoredTogetherIsNotRefreshedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		perSecond := map[int64]int{}
		start := time.Now()
		o := &origin{}
		o.do = func(context.Context, *request.Request) (*request.Response, error) {
			return reply(200, "x", "Cache-Control", "max-age=1000"), nil
		}
		c := newCache(t, aheadOptions(), o)
		for range 940 {
			before := o.calls.Load()
			for i := range 50 {
				do(t, c, get(httpRoute(), fmt.Sprint(i)))
			}
			synctest.Wait()
			perSecond[int64(time.Since(start).Seconds())] += int(o.calls.Load() - before)
			time.Sleep(time.Second)
		}
		refreshed := 0
		for s, n := range perSecond {
			if s > 0 {
				refreshed += n
				if n > 10 {
					t.Errorf("%d of 50 were refreshed in second %d", n, s)
				}
			}
		}
		if refreshed == 0 {
			t.Error("nothing was refreshed")
		}
	})
}

func TestAKeyThatFailsAgainAndAgainIsGivenLongerAndLongerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(503, "no")
		options := testOptions()
		options.ErrorBackoff, options.ErrorBackoffMax = time.Second, 16*time.Second
		c := newCache(t, options, o)
		ask := func() (asked bool) {
			before := o.calls.Load()
			resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
			if o.calls.Load() > before {
				if err != nil || resp.Status != 503 {
					t.Fatalf("%+v %v", resp, err)
				}
				return true
			}
			wantProblem(t, err, request.ProblemBreakerOpen)
			return false
		}
		for range failuresBefore {
			if !ask() {
				t.Fatal("a rest came too early")
			}
		}
		last, rests := time.Now(), []time.Duration(nil)
		for time.Since(last) < time.Minute && len(rests) < 7 {
			if ask() {
				rests = append(rests, time.Since(last))
				last = time.Now()
			}
			time.Sleep(50 * time.Millisecond)
		}
		for i, base := range []time.Duration{1, 2, 4, 8, 16, 16, 16} {
			if i >= len(rests) || rests[i] < base*time.Second*3/4 || rests[i] > base*time.Second*5/4+100*time.Millisecond {
				t.Fatalf("the rests were %v", rests)
			}
		}
		// Others are not concerned, and one success ends it.
		other := get(httpRoute(), "k")
		other.Tenant = "b"
		if resp, err := c.Do(t.Context(), other); err != nil || resp.Status != 503 {
			t.Errorf("another tenant: %v %v", resp, err)
		}
		time.Sleep(time.Minute)
		o.do = always(200, "x", "Cache-Control", "no-store").do
		for range 5 {
			if !ask200(t, c) {
				t.Error("a success did not end the rests")
			}
		}
	})
}

func ask200(t *testing.T, c *Cache) bool {
	t.Helper()
	resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
	return err == nil && resp.Status == 200
}

func TestAStaleCopyStandsInWhileAKeyRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=1, stale-if-error=600")
		options := testOptions()
		options.ErrorBackoff, options.ErrorBackoffMax = time.Second, time.Minute
		c := newCache(t, options, o)
		do(t, c, get(httpRoute(), "k"))
		o.do = always(500, "no").do
		for range 100 {
			time.Sleep(3 * time.Second)
			if resp := do(t, c, get(httpRoute(), "k")); resp.body != "x" {
				t.Fatalf("got %d %q", resp.Status, resp.body)
			}
		}
		if n := o.calls.Load(); n > 20 {
			t.Errorf("%d calls although the key rests", n)
		}
	})
}

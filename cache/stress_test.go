package cache

import (
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestColdKeyMakesOneCallHoweverFastTheAnswer(t *testing.T) {
	for range 20 {
		o := always(200, "x", "Cache-Control", "max-age=60")
		c := newCache(t, testOptions(), o)
		bodies := crowd(t, c, 200, func(int) *request.Request { return get(httpRoute(), "k") })
		if bodies["200 x"] != 200 {
			t.Errorf("answers: %v", bodies)
		}
		o.wantCalls(t, 1)
	}
}

// TestNobodyGetsAnothersAnswer lets users with credentials ask for few keys while answers change
// between all that matters for sharing, clients leave, and purges come.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	controls := []string{"max-age=60", "private", "no-store", "no-cache", "", "max-age=0", "max-age=1, stale-while-revalidate=5"}
	var n atomic.Uint64
	o := &origin{do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
		i := n.Add(1)
		if i%5 == 0 {
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		if i%31 == 0 {
			return nil, request.Errorf(request.ProblemUpstreamDown, "no")
		}
		who := r.Header.Get("Authorization") + "|" + r.Header.Get("Cookie")
		resp := reply(200, who+strings.Repeat(".", int(i%5)*20_000), "Cache-Control", controls[i%uint64(len(controls))])
		if r.Header.Get("Cookie") != "" {
			resp.Header.Set("Vary", "Cookie")
		}
		return resp, nil
	}}
	opts := testOptions()
	opts.MaxBytes, opts.CompressMinBytes = 1<<20, 1024
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, opts, o)
		ttl := ttlRoute(50 * time.Millisecond)
		ttl.Cache.StaleWhileRevalidate = 20 * time.Millisecond
		routes := []*request.Route{httpRoute(), ttl}
		var wg sync.WaitGroup
		for worker := range uint64(16) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(worker, 7))
				for range 150 {
					who := []string{"", ""}
					var h []string
					switch rng.IntN(3) {
					case 0:
						who[0] = "user" + itoa(rng.IntN(3))
						h = []string{"Authorization", who[0]}
					case 1:
						who[1] = "user" + itoa(rng.IntN(3))
						h = []string{"Cookie", who[1]}
					}
					route := rng.IntN(2)
					key := itoa(route) + "/" + itoa(rng.IntN(4))
					if who[0] == "" && route == 0 && who[1] == "" {
						// Anonymous requests have keys of their own: an answer to one may go to
						// users too, where the upstream does not say Vary.
						key += "anonymous"
					}
					if who[1] != "" {
						key += "cookie"
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(8))*time.Millisecond)
					resp, err := c.Do(ctx, get(routes[route], key, h...))
					if err == nil {
						b, err := io.ReadAll(resp.Body)
						if err == nil && strings.TrimRight(string(b), ".") != who[0]+"|"+who[1] {
							t.Errorf("%q got the answer of %.20q (%+v)", who, b, resp.Cache)
						}
						_ = resp.Body.Close()
					}
					cancel()
					switch rng.IntN(40) {
					case 0:
						c.Purge(PurgeRequest{Key: key})
					case 1:
						c.Purge(PurgeRequest{Prefix: "0/"})
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if s := c.Stats(); s.InFlight != 0 || s.Bytes > 1<<20 {
			t.Errorf("left behind: %+v", s)
		}
		for i := range c.flights.shards {
			if n := len(c.flights.shards[i].m); n != 0 {
				t.Errorf("%d flights are still listed", n)
			}
		}
	})
}

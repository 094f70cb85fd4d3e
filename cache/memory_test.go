package cache

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/request"
)

func routeCalled(name string) *request.Route {
	r := ttlRoute(time.Hour)
	r.Name = name
	return r
}

// ceilings makes options of 1 MiB in which the routes named have a ceiling each, and all is measured.
func ceilings(of map[string]float64) Options {
	o := testOptions()
	o.MaxBytes, o.SampleKeys = 1<<20, 1
	o.RouteShare = func(_, route string) float64 {
		if s, ok := of[route]; ok {
			return s
		}
		return 1
	}
	return o
}

// wantMemory holds the routes' accounts against what is stored.
func (c *Cache) wantMemory(t testing.TB) {
	t.Helper()
	settle(c)
	want := make(map[string]int64)
	for _, rec := range c.store.all() {
		want[rec.route] += rec.charge
	}
	for _, r := range c.Memory().Routes {
		if r.Bytes != want[r.Route] {
			t.Errorf("%s has %d bytes on its account, stored are %d", r.Route, r.Bytes, want[r.Route])
		}
	}
}

func (c *Cache) bytesOf(t testing.TB, route string) int64 {
	t.Helper()
	for _, r := range c.Memory().Routes {
		if r.Route == route {
			return r.Bytes
		}
	}
	t.Fatalf("no route %s in %+v", route, c.Memory())
	return 0
}

func TestARouteOverItsCeilingGivesUpItsOwnAnswers(t *testing.T) {
	o := always(200, strings.Repeat("x", 5000), "Cache-Control", "max-age=60")
	opts := ceilings(map[string]float64{"capped": 0.2})
	c := newCache(t, opts, o)
	capped, other := routeCalled("capped"), routeCalled("other")
	for i := range 60 {
		do(t, c, get(other, "o"+itoa(i)))
	}
	for i := range 200 {
		a := do(t, c, get(capped, "c"+itoa(i)))
		if len(a.body) != 5000 {
			t.Fatalf("answer %d has %d bytes", i, len(a.body))
		}
		if a := do(t, c, get(capped, "c0")); !a.Cache.Hit { // asked for all the time
			t.Fatalf("after %d others the hot answer is gone", i)
		}
	}
	c.wantMemory(t)
	limit := opts.MaxBytes / 5
	if n := c.bytesOf(t, "capped"); n > limit || n < limit-6000 {
		t.Errorf("the route has %d bytes, its ceiling is %d", n, limit)
	}
	if a := do(t, c, get(capped, "c199")); !a.Cache.Hit {
		t.Error("the newest answer is not stored: a ceiling must not starve new keys")
	}
	for i := range 60 {
		if a := do(t, c, get(other, "o"+itoa(i))); !a.Cache.Hit {
			t.Errorf("answer %d of the other route is gone", i)
		}
	}
	if n := c.Stats().Evictions; n == 0 {
		t.Error("no eviction was counted")
	}
}

func TestALowerCeilingHoldsForWhatIsStoredAndAHigherOneGivesRoom(t *testing.T) {
	o := always(200, strings.Repeat("x", 5000), "Cache-Control", "max-age=60")
	share := map[string]float64{"r": 1}
	opts := ceilings(share)
	c := newCache(t, opts, o)
	r := routeCalled("r")
	for i := range 100 {
		do(t, c, get(r, "k"+itoa(i)))
	}
	share["r"] = 0.1
	c.confineAll()
	c.wantMemory(t)
	if n := c.bytesOf(t, "r"); n == 0 || n > opts.MaxBytes/10 {
		t.Errorf("%d bytes under a ceiling of %d", n, opts.MaxBytes/10)
	}
	c.Purge(PurgeRequest{Prefix: "k"})
	c.wantMemory(t)
	m := &c.counters.of("up", "r").memory
	if n := len(m.queue.Load().places); n != 0 {
		t.Errorf("%d places are left of what was purged", n)
	}
	share["r"] = 1
	for i := range 100 {
		do(t, c, get(r, "k"+itoa(i)))
	}
	if n := c.bytesOf(t, "r"); n < 500_000 || m.queue.Load() != nil {
		t.Errorf("%d bytes without a ceiling, queue %v", n, m.queue.Load())
	}
}

func TestAnAnswerLargerThanTheCeilingPushesNothingOut(t *testing.T) {
	body := "small"
	o := always(200, "", "Cache-Control", "max-age=60")
	o.do = func(context.Context, *request.Request) (*request.Response, error) {
		return reply(200, body, "Cache-Control", "max-age=60"), nil
	}
	c := newCache(t, ceilings(map[string]float64{"r": 0.01}), o)
	r := routeCalled("r")
	do(t, c, get(r, "a"))
	body = strings.Repeat("x", 50_000)
	do(t, c, get(r, "b"))
	if a := do(t, c, get(r, "a")); !a.Cache.Hit {
		t.Error("what fitted was pushed out")
	}
	if a := do(t, c, get(r, "b")); a.Cache.Hit {
		t.Error("an answer over the ceiling was stored")
	}
	c.wantMemory(t)
}

func TestAccountsOfRoutesHoldUnderConcurrentUse(t *testing.T) {
	o := always(200, strings.Repeat("x", 2000), "Cache-Control", "max-age=60")
	c := newCache(t, ceilings(map[string]float64{"a": 0.1, "b": 0.3}), o)
	var tasks sync.WaitGroup
	for w := range uint64(4) {
		tasks.Go(func() {
			random := rand.New(rand.NewPCG(w, 1))
			for range 500 {
				name := string(rune('a' + random.IntN(3)))
				key := name + itoa(random.IntN(300))
				if random.IntN(20) == 0 {
					c.Purge(PurgeRequest{Key: key})
					continue
				}
				resp, err := c.Do(t.Context(), get(routeCalled(name), key))
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	tasks.Wait()
	c.wantMemory(t)
	c.confineAll()
	for name, share := range map[string]float64{"a": .1, "b": .3} {
		if n := c.bytesOf(t, name); float64(n) > share*(1<<20) {
			t.Errorf("%s has %d bytes, its ceiling is %.0f", name, n, share*(1<<20))
		}
	}
}

func TestGhostsTellWhatMemoryIsWorth(t *testing.T) {
	g := newGhosts(1)
	const far = int64(1) << 60
	// A loop over 100 answers of 10 bytes: each comes back after 1000 bytes.
	for range 10 {
		for k := range uint64(100) {
			g.missed(k, 0, 950, 100)
			g.stored(k, 10, far, 1e6)
		}
	}
	if g.gained != 900 || g.lost != 0 {
		t.Errorf("gained %v, lost %v, want all 900 that came back: 100 bytes more would keep the loop", g.gained, g.lost)
	}
	g = newGhosts(1)
	for range 10 {
		for k := range uint64(100) {
			g.missed(k, 0, 500, 100)
			g.stored(k, 10, far, 1e6)
		}
	}
	if g.gained != 0 {
		t.Errorf("gained %v, want 0: 100 bytes more are not enough for the loop", g.gained)
	}
	g = newGhosts(1)
	for k := range uint64(100) {
		g.stored(k, 10, far, 1e6)
	}
	for range 10 {
		for k := range uint64(100) {
			g.hit(k, 1050, 100)
		}
	}
	if g.lost != 1000 {
		t.Errorf("lost %v, want 1000: 100 bytes less would break the loop", g.lost)
	}
	g.missed(5, far+1, 1050, 100)
	if g.gained != 0 {
		t.Error("a miss of what is no longer fresh counts as one of memory")
	}
}

func TestGhostsStayBoundedAndGoOnWithFewerKeys(t *testing.T) {
	g := newGhosts(1)
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		if h := random.Uint64(); g.samples(h) {
			g.stored(h, 1000, 0, 50e6)
		}
	}
	if n := len(g.byHash); n > ghostKeys {
		t.Errorf("%d keys are remembered, want at most %d", n, ghostKeys)
	}
	if reach := float64(g.bytes) * float64(g.one.Load()); reach < 30e6 {
		t.Errorf("the ghosts stand for %.0f bytes, want 50 MB", reach)
	}
	n := int64(0)
	for p := g.last; p != nil; p = p.prior {
		n += p.bytes
	}
	if n != g.bytes {
		t.Errorf("%d bytes counted, %d listed", g.bytes, n)
	}
}

func TestHitsCostNoAllocationForBeingMeasured(t *testing.T) {
	o := always(200, "x", "Cache-Control", "max-age=60")
	allocations := func(keys int) float64 {
		opts := testOptions()
		opts.SampleKeys = keys
		c := newCache(t, opts, o)
		route := httpRoute()
		r := get(route, "k")
		do(t, c, r)
		do(t, c, get(route, "l"))
		return testing.AllocsPerRun(200, func() {
			resp, _ := c.Do(t.Context(), r)
			_ = resp.Body.Close()
		})
	}
	if with, without := allocations(1), allocations(0); with > without {
		t.Errorf("%v allocations a hit when measured, %v when not", with, without)
	}
}

package cache

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// shares makes options of 1 MiB in which the tenants named have a share each, the others all.
func shares(of map[string]float64) Options {
	o := testOptions()
	o.MaxBytes = 1 << 20
	o.TenantShare = func(tenant string) float64 {
		if s, ok := of[tenant]; ok {
			return s
		}
		return 1
	}
	return o
}

func getAs(tenant, key string, header ...string) *request.Request {
	r := get(httpRoute(), key, header...)
	r.Tenant = tenant
	return r
}

// wantBooks holds the books against what is stored.
func (c *Cache) wantBooks(t testing.TB) {
	t.Helper()
	settle(c)
	want := make(map[string]int64)
	for _, rec := range c.store.all() {
		for _, b := range rec.bill(nil, 1) {
			want[b.tenant] += b.bytes
		}
	}
	c.store.books.mu.Lock()
	defer c.store.books.mu.Unlock()
	for tenant, n := range want {
		if got := c.store.books.used[tenant]; got != n {
			t.Errorf("the books have %d bytes of %q, stored are %d", got, tenant, n)
		}
	}
	for tenant, n := range c.store.books.used {
		if want[tenant] == 0 {
			t.Errorf("the books have %d bytes of %q, nothing is stored for it", n, tenant)
		}
	}
}

func TestATenantStoresNoMoreThanItsShare(t *testing.T) {
	o := always(200, strings.Repeat("x", 10_000), "Cache-Control", "max-age=60")
	opts := shares(map[string]float64{"small": 0.1})
	c := newCache(t, opts, o)
	for i := range 30 {
		if a := do(t, c, getAs("small", "small"+itoa(i))); a.Status != 200 || len(a.body) != 10_000 {
			t.Fatalf("answer %d: %d with %d bytes", i, a.Status, len(a.body))
		}
	}
	for i := range 30 {
		do(t, c, getAs("big", "big"+itoa(i)))
	}
	c.wantBooks(t)
	limit := opts.MaxBytes / 10
	used := c.store.books.of("small")
	if used > limit || used < limit-11_000 {
		t.Errorf("small has %d bytes stored, its share is %d", used, limit)
	}
	if used := c.store.books.of("big"); used < 300_000 {
		t.Errorf("big has %d bytes stored, want all of it", used)
	}
	stored := c.Stats().Stored
	if n := c.Stats().ShareExceeded; n == 0 || n+stored != 60 {
		t.Errorf("%d answers over the share, %d stored, want 60 in all", n, stored)
	}

	c.Purge(PurgeRequest{Prefix: "small"})
	c.wantBooks(t)
	if used := c.store.books.of("small"); used != 0 {
		t.Errorf("after the purge small still has %d bytes", used)
	}
	do(t, c, getAs("small", "small99"))
	if a := do(t, c, getAs("small", "small99")); !a.Cache.Hit {
		t.Error("what was purged was not given back: nothing is stored any more")
	}
}

func TestATenantWithoutAShareStoresNothingButIsServed(t *testing.T) {
	o := always(200, "x", "Cache-Control", "max-age=60")
	c := newCache(t, shares(map[string]float64{"none": 0}), o)
	for range 2 {
		if a := do(t, c, getAs("none", "k")); a.body != "x" || a.Cache.Stored || a.Cache.Hit {
			t.Errorf("%q %+v", a.body, a.Cache)
		}
	}
	o.wantCalls(t, 2)
	do(t, c, getAs("other", "k"))
	if a := do(t, c, getAs("none", "k")); !a.Cache.Hit {
		t.Error("what another tenant stored is not served")
	}
	if n := c.Stats().ShareExceeded; n != 2 {
		t.Errorf("%d over the share, want 2", n)
	}
	c.wantBooks(t)
}

func TestARefreshByATenantWithoutRoomStaysOnTheOldAccount(t *testing.T) {
	body := "x"
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		return reply(200, body, "Cache-Control", "max-age=60"), nil
	}}
	share := map[string]float64{"none": 0}
	c := newCache(t, shares(share), o)
	do(t, c, getAs("owner", "k"))
	body = "y"
	do(t, c, getAs("none", "k", "Cache-Control", "no-cache"))
	if a := do(t, c, getAs("owner", "k")); !a.Cache.Hit || a.body != "y" {
		t.Errorf("%q %+v, want the refreshed copy", a.body, a.Cache)
	}
	c.wantBooks(t)
	if c.store.books.of("owner") == 0 || c.store.books.of("none") != 0 {
		t.Error("the copy has changed its account")
	}
	body = strings.Repeat("z", 200_000)
	share["owner"] = 0.1
	do(t, c, getAs("none", "k", "Cache-Control", "no-cache"))
	body = "new"
	if a := do(t, c, getAs("owner", "k")); a.Cache.Hit || a.body != "new" {
		t.Errorf("%.10q %+v: an outdated copy was kept since its successor has no room", a.body, a.Cache)
	}
	c.wantBooks(t)
}

func TestEachTenantPaysForItsVariants(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		return reply(200, strings.Repeat("x", 5_000), "Cache-Control", "max-age=60", "Vary", "A"), nil
	}}
	opts := shares(nil)
	opts.MaxEntries = 50 // each key counts for 20 KiB
	c := newCache(t, opts, o)
	do(t, c, getAs("a", "k", "A", "1"))
	settle(c)
	if got := c.store.books.of("a"); got != opts.MaxBytes/50 {
		t.Errorf("a pays %d for a key, want the least that it counts for", got)
	}
	do(t, c, getAs("b", "k", "A", "2"))
	c.wantBooks(t)
	a, b := c.store.books.of("a"), c.store.books.of("b")
	if a < 5_000 || a > 6_000 || a+b != opts.MaxBytes/50 {
		t.Errorf("a pays %d and b %d for one key of two variants", a, b)
	}
	opts.MaxEntries = 0
	if err := c.Apply(opts); err != nil {
		t.Fatal(err)
	}
	c.wantBooks(t)
	if a, b := c.store.books.of("a"), c.store.books.of("b"); a+b > 12_000 {
		t.Errorf("a pays %d and b %d after the least weight was dropped", a, b)
	}
}

func TestTheBooksOutliveARestart(t *testing.T) {
	opts := shares(map[string]float64{"a": 0.5})
	opts.PersistPath = filepath.Join(t.TempDir(), "cache")
	o := always(200, strings.Repeat("x", 1000), "Cache-Control", "max-age=60")
	c, err := New(opts, o)
	if err != nil {
		t.Fatal(err)
	}
	c.awaitLoad()
	for i := range 10 {
		do(t, c, getAs("a", "k"+itoa(i)))
	}
	used := c.store.books.of("a")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := newCache(t, opts, o)
	again.awaitLoad()
	again.wantBooks(t)
	if got := again.store.books.of("a"); got < used || got > used+used/10 { // bodies may lie in larger blocks
		t.Errorf("a pays %d after the restart, %d before", got, used)
	}
	_ = again.Close()
	opts.TenantShare = func(string) float64 { return 0.003 }
	less := newCache(t, opts, o)
	less.awaitLoad()
	less.wantBooks(t)
	if got := less.store.books.of("a"); got == 0 || got > 3145 {
		t.Errorf("a pays %d, its share is 3145 now", got)
	}
}

func TestTheBooksAreExactWhateverComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := map[string]float64{"t0": 0.05, "t1": 0.2, "t2": 0.5, "t3": 0}
		opts := shares(limits)
		opts.MaxBytes = 200_000
		o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
			n := len(r.Key) * int(r.ID[0]) % 97
			time.Sleep(time.Duration(n) * time.Microsecond)
			return reply(200, strings.Repeat("x", n*100), "Cache-Control", "max-age="+itoa(n%3), "Vary", "A", "Etag", `"`+itoa(n%2)+`"`), nil
		}}
		c := newCache(t, opts, o)
		var wg sync.WaitGroup
		for worker := range uint64(8) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(worker, 1))
				for range 200 {
					tenant := "t" + itoa(rng.IntN(5))
					r := getAs(tenant, "k"+itoa(rng.IntN(40)), "A", itoa(rng.IntN(3)))
					r.ID = string(rune('a' + rng.IntN(26)))
					do(t, c, r)
					if share, ok := limits[tenant]; ok {
						// The key itself may change hands when another variant is dropped.
						if used := c.store.books.of(tenant); float64(used) > share*float64(opts.MaxBytes)+3*maxVariants {
							t.Errorf("%s has %d bytes stored, its share is %v", tenant, used, share*float64(opts.MaxBytes))
						}
					}
					switch rng.IntN(30) {
					case 0:
						c.Purge(PurgeRequest{Key: r.Key})
					case 1:
						time.Sleep(time.Second)
					}
				}
			})
		}
		wg.Wait()
		c.wantBooks(t)
		time.Sleep(24 * time.Hour)
		c.store.otter.CleanUp()
		c.wantBooks(t)
		c.store.books.mu.Lock()
		defer c.store.books.mu.Unlock()
		if len(c.store.books.used) > 0 {
			t.Errorf("when all has expired the books still have %v", c.store.books.used)
		}
	})
}

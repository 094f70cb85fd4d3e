package cache

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"penstock/request"
)

func BenchmarkHit(b *testing.B) {
	for name, r := range map[string]*request.Request{
		"http": get(httpRoute(), "k"),
		"ttl":  get(ttlRoute(1<<40), "k"),
	} {
		b.Run(name, func(b *testing.B) {
			c := newCache(b, testOptions(), always(200, strings.Repeat("x", 1024), "Cache-Control", "max-age=3600"))
			do(b, c, r)
			settle(c)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Do(ctx, r)
				if err != nil || !resp.Cache.Hit {
					b.Fatal("no hit")
				}
				_ = resp.Body.Close()
			}
		})
	}
}

// BenchmarkRevalidatedHit validates what is stored at each request, and is told that it is still right.
func BenchmarkRevalidatedHit(b *testing.B) {
	o := &origin{}
	first := true
	o.do = func(context.Context, *request.Request) (*request.Response, error) {
		o.mu.Lock()
		o.seen = o.seen[:0]
		o.mu.Unlock()
		if first {
			first = false
			return reply(200, strings.Repeat("x", 1024), "Cache-Control", "no-cache", "Etag", `"1"`), nil
		}
		return reply(304, "", "Cache-Control", "no-cache", "Etag", `"1"`), nil
	}
	c := newCache(b, testOptions(), o)
	r := get(httpRoute(), "k")
	do(b, c, r)
	settle(c)
	b.ReportAllocs()
	for b.Loop() {
		if resp := do(b, c, r); resp.Status != 200 || resp.Cache.FwdStatus != 304 {
			b.Fatalf("%d %+v", resp.Status, resp.Cache)
		}
	}
}

func BenchmarkMissAndStore(b *testing.B) {
	c := newCache(b, testOptions(), always(200, strings.Repeat("x", 1024), "Cache-Control", "max-age=3600"))
	route := httpRoute()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		do(b, c, get(route, itoa(i)))
	}
}

func TestHitAllocatesLittle(t *testing.T) {
	c := newCache(t, testOptions(), always(200, strings.Repeat("x", 1024), "Cache-Control", "max-age=3600"))
	r := get(httpRoute(), "k")
	do(t, c, r)
	settle(c)
	n := testing.AllocsPerRun(200, func() {
		resp, err := c.Do(context.Background(), r)
		if err != nil || !resp.Cache.Hit {
			t.Fatal("no hit")
		}
	})
	if n > 3 {
		t.Errorf("%v allocations for a hit, want at most 3", n)
	}
}

// TestWeightIsHonest compares what the store counts with what the heap grows by.
func TestWeightIsHonest(t *testing.T) {
	for _, size := range []int{100, 1 << 10, 10 << 10} {
		opts := testOptions()
		opts.MaxBytes = 256 << 20
		c := newCache(t, opts, nil)
		body := strings.Repeat("x", size)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&before)
		const n = 3000
		for i := range n {
			h := reply(200, "", "Cache-Control", "max-age=3600", "Content-Type", "application/json", "Date", date, "Etag", `"`+itoa(i)+`"`).Header
			e := newEntry(200, h, []byte(body), verdict{lifetime: 1 << 50}, now.AddDate(100, 0, 0))
			r := get(httpRoute(), "https://api.example.org/v1/things?page="+itoa(i))
			c.store.update(r.Key, func(old *record) *record { return old.with(r.Key, r, e, now) })
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap := float64(after.HeapAlloc) - float64(before.HeapAlloc)
		counted := float64(c.store.bytes.Load())
		t.Logf("bodies of %d: %.0f bytes each on the heap, %.0f counted", size, heap/n, counted/n)
		if ratio := counted / heap; ratio < 0.87 || ratio > 1.15 {
			t.Errorf("bodies of %d: counted %.2f of the heap's growth", size, ratio)
		}
	}
}

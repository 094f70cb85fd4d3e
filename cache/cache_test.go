package cache

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestFreshAnswerIsServedWithoutACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "hello", "Cache-Control", "max-age=60", "X-A", "1")
		c := newCache(t, testOptions(), o)
		first := do(t, c, get(httpRoute(), "k"))
		if first.Cache.Hit || first.Cache.Fwd != "miss" || !first.Cache.Stored || first.body != "hello" {
			t.Errorf("first: %+v %q", first.Cache, first.body)
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		second := do(t, c, get(httpRoute(), "k"))
		if !second.Cache.Hit || second.body != "hello" || second.Header.Get("X-A") != "1" || second.ContentLength != 5 {
			t.Errorf("second: %+v %q", second.Cache, second.body)
		}
		if second.Cache.Age != 10*time.Second || second.Cache.TTL != 50*time.Second {
			t.Errorf("age %v, ttl %v; want 10s, 50s", second.Cache.Age, second.Cache.TTL)
		}
		o.wantCalls(t, 1)
		time.Sleep(51 * time.Second)
		do(t, c, get(httpRoute(), "k"))
		o.wantCalls(t, 2)
		synctest.Wait()
		s := c.Stats()
		if s.Hits != 1 || s.Misses != 2 || s.Stored != 2 || len(s.Routes) != 1 || s.Routes[0].Hits != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestTTLRouteKeepsWhatHeadersForbidAndNegativeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			return reply(status, "x", "Cache-Control", "no-store"), nil
		}}
		c := newCache(t, testOptions(), o)
		route := ttlRoute(time.Minute)
		route.Cache.NegativeTTL = 5 * time.Second
		do(t, c, get(route, "k"))
		synctest.Wait()
		if a := do(t, c, get(route, "k")); !a.Cache.Hit {
			t.Error("not stored for its TTL")
		}
		status = 404
		do(t, c, get(route, "gone"))
		synctest.Wait()
		if a := do(t, c, get(route, "gone")); !a.Cache.Hit || a.Status != 404 {
			t.Error("404 not kept for the negative TTL")
		}
		time.Sleep(6 * time.Second)
		if a := do(t, c, get(route, "gone")); a.Cache.Hit {
			t.Error("404 kept longer than the negative TTL")
		}
		status = 500
		do(t, c, get(route, "err"))
		synctest.Wait()
		if a := do(t, c, get(route, "err")); a.Cache.Hit {
			t.Error("a 500 was stored")
		}
	})
}

func TestTTLRouteKeepsCredentialsApart(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		return reply(200, r.Header.Get("Authorization")+r.Header.Get("Cookie")), nil
	}}
	c := newCache(t, testOptions(), o)
	route := ttlRoute(time.Minute)
	for range 2 {
		for _, h := range [][]string{{}, {"Authorization", "a"}, {"Authorization", "b"}, {"Cookie", "a"}} {
			want := ""
			if len(h) > 0 {
				want = h[1]
			}
			if got := do(t, c, get(route, "k", h...)).body; got != want {
				t.Errorf("%v got the answer of %q", h, got)
			}
		}
	}
	if n := c.Purge(PurgeRequest{Key: "k"}); n != 4 {
		t.Errorf("purge of the key removed %d entries, want those of all credentials: 4", n)
	}
}

func TestRequestDirectives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=100")
		c := newCache(t, testOptions(), o)
		route := httpRoute()
		do(t, c, get(route, "k"))
		synctest.Wait()
		ask := func(directive string, wantHit bool, sleep time.Duration) {
			t.Helper()
			time.Sleep(sleep)
			if a := do(t, c, get(route, "k", "Cache-Control", directive)); a.Cache.Hit != wantHit {
				t.Errorf("%s: hit %v, want %v", directive, a.Cache.Hit, wantHit)
			}
			synctest.Wait()
		}
		ask("max-age=50", true, 10*time.Second)
		ask("min-fresh=80", true, 0)
		ask("no-store", false, 0)
		ask("max-age=5", false, 0) // stores anew
		ask("min-fresh=91", false, 10*time.Second)
		ask("no-cache", false, 0)
		ask("max-stale=20", true, 110*time.Second)
		ask("max-stale", true, 0)
		ask("max-stale=5", false, 0)
		if a := do(t, c, get(route, "k", "Pragma", "no-cache")); a.Cache.Hit {
			t.Error("Pragma: no-cache was served from the store")
		}
		_, err := c.Do(t.Context(), get(route, "other", "Cache-Control", "only-if-cached"))
		wantProblem(t, err, request.ProblemOnlyIfCached)
	})
}

func TestVaryKeepsVariantsApart(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		return reply(200, r.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "accept-language"), nil
	}}
	c := newCache(t, testOptions(), o)
	route := httpRoute()
	for range 2 {
		for _, lang := range []string{"de", "en", "fr"} {
			if got := do(t, c, get(route, "k", "Accept-Language", lang)).body; got != lang {
				t.Errorf("%s got %q", lang, got)
			}
			settle(c)
		}
	}
	o.wantCalls(t, 3)
	if a := do(t, c, get(route, "k", "Accept-Language", " DE ")); !a.Cache.Hit {
		t.Error("the same language written otherwise is another variant")
	}
	if s := c.Stats(); s.Entries != 1 || s.Variants != 3 {
		t.Errorf("%d entries, %d variants; want 1, 3", s.Entries, s.Variants)
	}
}

// settle waits until no flight is under way.
func settle(c *Cache) {
	for c.flights.count.Load() > 0 {
		waitTick()
	}
}

func TestVariantsAreBounded(t *testing.T) {
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		return reply(200, "x", "Cache-Control", "max-age=60", "Vary", "X-Random"), nil
	}}
	c := newCache(t, testOptions(), o)
	for i := range 3 * maxVariants {
		do(t, c, get(httpRoute(), "k", "X-Random", itoa(i)))
		settle(c)
	}
	if n := c.Stats().Variants; n != maxVariants {
		t.Errorf("%d variants, want %d", n, maxVariants)
	}
}

func TestConditionalRequestIsAnsweredFromTheStore(t *testing.T) {
	o := always(200, "body", "Cache-Control", "max-age=60", "Etag", `W/"v,1"`, "Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT", "Content-Type", "text/plain")
	c := newCache(t, testOptions(), o)
	route := httpRoute()
	ask := func(want int, header ...string) {
		t.Helper()
		a := do(t, c, get(route, "k", header...))
		if a.Status != want || (want == 304) != (a.body == "") {
			t.Errorf("%v: %d %q, want %d", header, a.Status, a.body, want)
		}
		if want == 304 && (a.Header.Get("Etag") == "" || a.Header.Get("Content-Type") != "") {
			t.Errorf("%v: header of the 304: %v", header, a.Header)
		}
		settle(c)
	}
	ask(304, "If-None-Match", `"v,1"`) // on a miss: the call itself is not conditional
	if o.last().Header.Get("If-None-Match") != "" {
		t.Error("the client's condition went upstream on a shared call")
	}
	ask(304, "If-None-Match", `"x", W/"v,1"`)
	ask(200, "If-None-Match", `"x", "v"`)
	ask(304, "If-None-Match", "*")
	ask(304, "If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")
	ask(200, "If-Modified-Since", "Sun, 31 Dec 2023 00:00:00 GMT")
	ask(200, "If-None-Match", `"x"`, "If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")
	o.wantCalls(t, 1)
}

func TestStaleEntryIsRenewedByA304(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{}
		o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
			if r.Header.Get("If-None-Match") == `"1"` {
				return reply(304, "", "Cache-Control", "max-age=30", "X-New", "yes", "Etag", `"1"`), nil
			}
			return reply(200, "body", "Cache-Control", "max-age=10", "Etag", `"1"`, "X-Old", "kept"), nil
		}
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		time.Sleep(11 * time.Second)
		a := do(t, c, get(httpRoute(), "k"))
		if a.Status != 200 || a.body != "body" || a.Cache.Fwd != "stale" || a.Cache.FwdStatus != 304 {
			t.Errorf("renewed: %d %q %+v", a.Status, a.body, a.Cache)
		}
		if a.Header.Get("X-New") != "yes" || a.Header.Get("X-Old") != "kept" {
			t.Errorf("the 304 did not update the stored headers: %v", a.Header)
		}
		synctest.Wait()
		time.Sleep(25 * time.Second)
		if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit || a.body != "body" {
			t.Error("the 304 did not renew the freshness")
		}
		o.wantCalls(t, 2)
		if c.Stats().Revalidated != 1 {
			t.Error("revalidation not counted")
		}
	})
}

func TestHeadIsAnsweredFromAStoredGet(t *testing.T) {
	o := always(200, "body", "Cache-Control", "max-age=60")
	c := newCache(t, testOptions(), o)
	do(t, c, get(httpRoute(), "k"))
	settle(c)
	head := get(httpRoute(), "k")
	head.Method = "HEAD"
	if a := do(t, c, head); !a.Cache.Hit || a.body != "" || a.ContentLength != 4 {
		t.Errorf("HEAD: %+v body %q length %d", a.Cache, a.body, a.ContentLength)
	}
	o.wantCalls(t, 1)
}

func TestHeadIsNotStoredAsGet(t *testing.T) {
	o := always(200, "", "Cache-Control", "max-age=60")
	c := newCache(t, testOptions(), o)
	head := get(httpRoute(), "k")
	head.Method = "HEAD"
	do(t, c, head)
	settle(c)
	if a := do(t, c, get(httpRoute(), "k")); a.Cache.Hit {
		t.Error("GET was answered from a HEAD")
	}
}

func TestRangeRequestsPassByTheStore(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Header.Get("Range") != "" {
			return reply(206, "ell", "Cache-Control", "max-age=60", "Content-Range", "bytes 1-3/5"), nil
		}
		return reply(200, "hello", "Cache-Control", "max-age=60"), nil
	}}
	c := newCache(t, testOptions(), o)
	for range 2 {
		if a := do(t, c, get(httpRoute(), "k", "Range", "bytes=1-3")); a.Status != 206 || a.body != "ell" {
			t.Errorf("range: %d %q", a.Status, a.body)
		}
		settle(c)
		if a := do(t, c, get(httpRoute(), "k")); a.Status != 200 || a.body != "hello" {
			t.Errorf("whole: %d %q", a.Status, a.body)
		}
		settle(c)
	}
}

func TestUnsafeMethodInvalidatesItsKey(t *testing.T) {
	status := 500
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Method == "PUT" {
			return reply(status, ""), nil
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}}
	c := newCache(t, testOptions(), o)
	put := func() {
		r := get(httpRoute(), "k")
		r.Method = "PUT"
		if a := do(t, c, r); a.Cache.Fwd != "method" {
			t.Errorf("PUT: %+v", a.Cache)
		}
	}
	do(t, c, get(httpRoute(), "k"))
	settle(c)
	put()
	if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit {
		t.Error("a failed PUT invalidated")
	}
	status = 204
	put()
	if a := do(t, c, get(httpRoute(), "k")); a.Cache.Hit {
		t.Error("a successful PUT did not invalidate")
	}
}

func TestDisabledOrOffStoresNothing(t *testing.T) {
	o := always(200, "x", "Cache-Control", "max-age=60")
	c := newCache(t, testOptions(), o)
	off := httpRoute()
	off.Cache.Mode = request.CacheOff
	for range 2 {
		if a := do(t, c, get(off, "k")); a.Cache.Hit {
			t.Error("hit under CacheOff")
		}
		settle(c)
	}
	opts := testOptions()
	opts.Enabled = false
	if err := c.Apply(opts); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if a := do(t, c, get(httpRoute(), "k")); a.Cache.Hit {
			t.Error("hit while disabled")
		}
		settle(c)
	}
	opts.Enabled = true
	if err := c.Apply(opts); err != nil {
		t.Fatal(err)
	}
	do(t, c, get(httpRoute(), "k"))
	settle(c)
	if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit {
		t.Error("no hit after it was enabled again")
	}
}

func TestBodiesAreStoredCompressedWhenThatPays(t *testing.T) {
	body := strings.Repeat("a line of text that repeats itself\n", 200)
	o := always(200, body, "Cache-Control", "max-age=60")
	opts := testOptions()
	opts.CompressMinBytes = 1024
	c := newCache(t, opts, o)
	do(t, c, get(httpRoute(), "k"))
	settle(c)
	s := c.Stats()
	if s.RawBytes != int64(len(body)) || s.StoredBytes >= s.RawBytes/4 || s.CompressionRatio >= 0.25 {
		t.Errorf("raw %d, stored %d, ratio %v", s.RawBytes, s.StoredBytes, s.CompressionRatio)
	}
	if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit || a.body != body {
		t.Errorf("hit %v, %d bytes", a.Cache.Hit, len(a.body))
	}
}

func TestTooLongAndOversizeBodiesPassUnstored(t *testing.T) {
	body := strings.Repeat("x", 3<<20)
	for name, length := range map[string]int64{"announced": int64(len(body)), "unannounced": -1} {
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			r := reply(200, body, "Cache-Control", "max-age=60")
			r.ContentLength = length
			return r, nil
		}}
		opts := testOptions()
		opts.MaxObjectBytes = 1 << 20
		c := newCache(t, opts, o)
		if a := do(t, c, get(httpRoute(), "k")); a.body != body {
			t.Errorf("%s: %d bytes", name, len(a.body))
		}
		settle(c)
		if s := c.Stats(); s.Entries != 0 {
			t.Errorf("%s: stored", name)
		}
	}
}

func TestApplyShrinksAndRefusesFaults(t *testing.T) {
	o := always(200, strings.Repeat("x", 10_000), "Cache-Control", "max-age=60")
	c := newCache(t, testOptions(), o)
	for i := range 50 {
		do(t, c, get(httpRoute(), itoa(i)))
	}
	settle(c)
	if n := c.Stats().Entries; n != 50 {
		t.Fatalf("%d entries", n)
	}
	opts := testOptions()
	opts.MaxBytes = 200_000
	if err := c.Apply(opts); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Bytes > 200_000 || s.Entries == 0 || s.Evictions == 0 {
		t.Errorf("after shrinking: %+v", s)
	}
	opts.MaxBytes, opts.MaxEntries = 0, 5
	if err := c.Apply(opts); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Entries > 5 || s.Entries == 0 {
		t.Errorf("%d entries, want at most 5", s.Entries)
	}
	opts.MaxObjectBytes = -1
	if _, err := c.Prepare(opts); err == nil || !strings.Contains(err.Error(), "cache.max_object_bytes") {
		t.Errorf("fault: %v", err)
	}
}

func TestOnAccessHearsOfHitsAndMisses(t *testing.T) {
	var heard []Access
	opts := testOptions()
	opts.OnAccess = func(a Access) { heard = append(heard, a) }
	c := newCache(t, opts, always(200, "body", "Cache-Control", "max-age=60"))
	r := get(httpRoute(), "k")
	r.Tenant, r.Background = "t", true
	do(t, c, r)
	settle(c)
	do(t, c, get(httpRoute(), "k"))
	if len(heard) != 2 || heard[0].Hit || !heard[0].Prefetch || heard[0].Tenant != "t" || !heard[1].Hit ||
		heard[1].Bytes != 4 || heard[1].ExpiresAt.IsZero() || heard[1].Key != "k" || heard[1].Upstream != "up" {
		t.Errorf("heard %+v", heard)
	}
}

func TestPostOfADeclaredTTLRouteIsCached(t *testing.T) {
	o := always(200, "x")
	c := newCache(t, testOptions(), o)
	route := ttlRoute(time.Minute)
	for range 2 {
		r := get(route, "k")
		r.Method, r.Data = http.MethodPost, []byte("{}")
		do(t, c, r)
		settle(c)
	}
	o.wantCalls(t, 1)
	proxy := httpRoute()
	proxy.Cache = route.Cache
	for range 2 {
		r := get(proxy, "p")
		r.Method = http.MethodPost
		do(t, c, r)
	}
	o.wantCalls(t, 3)
}

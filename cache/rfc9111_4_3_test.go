package cache

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// validating answers 304 to who knows the tag, and else the body with it.
func validating(tag, body string, header ...string) *origin {
	return &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		header := append([]string{"Etag", tag}, header...)
		if r.Header.Get("If-None-Match") == tag {
			return reply(304, "", header...), nil
		}
		return reply(200, body, header...), nil
	}}
}

// RFC 9111, section 5.2.2.4: an answer with no-cache is stored, and validated at each use.
func TestRFC9111Section5_2_2_4NoCacheIsValidatedAtEachUse(t *testing.T) {
	for _, control := range []string{"no-cache", "no-cache, max-age=60", "max-age=0"} {
		o := validating(`"a"`, "hello", "Cache-Control", control)
		c := newCache(t, testOptions(), o)
		if first := do(t, c, get(httpRoute(), "k")); !first.Cache.Stored {
			t.Errorf("%s: %+v", control, first.Cache)
		}
		for i := range 3 {
			a := do(t, c, get(httpRoute(), "k", "Cache-Control", "max-stale"))
			if control == "max-age=0" { // which a client may have stale
				continue
			}
			if a.Status != 200 || a.body != "hello" || a.Cache.FwdStatus != 304 || a.Cache.Hit {
				t.Errorf("%s: %d %q %+v", control, a.Status, a.body, a.Cache)
			}
			o.wantCalls(t, int64(i+2))
		}
	}
}

func TestRFC9111Section5_2_2_4NoCacheIsNeverServedOnError(t *testing.T) {
	down := false
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		if down {
			return reply(503, "down"), nil
		}
		return reply(200, "hello", "Etag", `"a"`, "Cache-Control", "no-cache, stale-if-error=600, stale-while-revalidate=600"), nil
	}}
	c := newCache(t, testOptions(), o)
	do(t, c, get(httpRoute(), "k"))
	down = true
	if a := do(t, c, get(httpRoute(), "k")); a.Status != 503 {
		t.Errorf("%d %+v", a.Status, a.Cache)
	}
}

// All who wait for an answer that can't be shared ask for themselves, and at once.
func TestRFC9111Section5_2_2_4WaitersValidateInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := validating(`"a"`, "hello", "Cache-Control", "no-cache")
		inner := o.do
		o.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
			time.Sleep(time.Second)
			return inner(ctx, r)
		}
		c := newCache(t, testOptions(), o)
		began := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a := do(t, c, get(httpRoute(), "k")); a.body != "hello" {
					t.Errorf("%d %q", a.Status, a.body)
				}
			})
		}
		wg.Wait()
		o.wantCalls(t, 50)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want the leader's call and one more", took)
		}
		// Now it is known.
		began = time.Now()
		for range 50 {
			wg.Go(func() { do(t, c, get(httpRoute(), "k")) })
		}
		wg.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want one call", took)
		}
	})
}

// RFC 9111, sections 5.2.2.4 and 5.2.2.7: fields that no-cache or private name are not reused.
func TestRFC9111Section5_2_2_7NamedFieldsAreWithheld(t *testing.T) {
	for _, control := range []string{`private="set-cookie, x-user"`, `no-cache="Set-Cookie,X-User"`} {
		o := always(200, "hello", "Cache-Control", control+", max-age=60", "Set-Cookie", "a=b", "X-User", "1", "X-Other", "2")
		c := newCache(t, testOptions(), o)
		if first := do(t, c, get(httpRoute(), "k")); first.Header.Get("Set-Cookie") != "a=b" || first.Header.Get("X-User") != "1" {
			t.Errorf("%s: the client who asked got %v", control, first.Header)
		}
		a := do(t, c, get(httpRoute(), "k"))
		if !a.Cache.Hit || a.Header.Get("X-Other") != "2" || len(a.Header["Set-Cookie"])+len(a.Header["X-User"]) != 0 {
			t.Errorf("%s: %+v %v", control, a.Cache, a.Header)
		}
	}
}

// A call that nobody may join passes on what its client asked for.
func TestRFC9111Section4_3_1ConditionsPassWhenNothingIsStored(t *testing.T) {
	o := validating(`"a"`, "mine", "Cache-Control", "private")
	c := newCache(t, testOptions(), o)
	do(t, c, get(httpRoute(), "k"))
	a := do(t, c, get(httpRoute(), "k", "If-None-Match", `"a"`))
	if a.Status != http.StatusNotModified || a.body != "" {
		t.Errorf("%d %q", a.Status, a.body)
	}
	if b := do(t, c, get(httpRoute(), "k")); b.Status != 200 || b.body != "mine" {
		t.Errorf("%d %q", b.Status, b.body)
	}
}

// What turns out to be shareable again is shared again.
func TestSharingIsLearnedAnew(t *testing.T) {
	control := "private"
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		return reply(200, "hello", "Cache-Control", control), nil
	}}
	c := newCache(t, testOptions(), o)
	do(t, c, get(httpRoute(), "k"))
	control = "max-age=60"
	do(t, c, get(httpRoute(), "k"))
	if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit {
		t.Errorf("%+v", a.Cache)
	}
	if c.memos.forbidden("k") {
		t.Error("the key is still known as one that can't be shared")
	}
}

// RFC 9111, section 4.3.2: without Last-Modified, the Date of what is stored counts.
func TestRFC9111Section4_3_2IfModifiedSinceByDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "hello", "Cache-Control", "max-age=60")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		stored := time.Now().UTC()
		for since, want := range map[time.Time]int{stored: 304, stored.Add(time.Hour): 304, stored.Add(-time.Hour): 200} {
			if a := do(t, c, get(httpRoute(), "k", "If-Modified-Since", since.Format(http.TimeFormat))); a.Status != want {
				t.Errorf("%v: %d, want %d", since, a.Status, want)
			}
		}
	})
}

// RFC 9111, section 4.3.5: a HEAD that validates what is stored renews it for GET.
func TestRFC9111Section4_3_5HeadRenewsWhatItValidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := validating(`"a"`, "hello", "Cache-Control", "max-age=60")
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		time.Sleep(2 * time.Minute)
		head := get(httpRoute(), "k")
		head.Method = "HEAD"
		if a := do(t, c, head); a.Status != 200 || a.body != "" {
			t.Errorf("%d %q", a.Status, a.body)
		}
		if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit || a.body != "hello" {
			t.Errorf("%+v %q", a.Cache, a.body)
		}
		o.wantCalls(t, 2)
	})
}

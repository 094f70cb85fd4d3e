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

// watcher gathers looks.
type watcher struct {
	mu    sync.Mutex
	looks []Look
}

func (w *watcher) look(l Look) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, l)
}

func (w *watcher) last(t *testing.T, want int) Look {
	t.Helper()
	synctest.Wait() // a look is told beside the answer
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.looks) != want {
		t.Fatalf("%d looks, want %d: %+v", len(w.looks), want, w.looks)
	}
	return w.looks[want-1]
}

// freshness is a KeyedFreshness of one value.
type freshness struct {
	ttl, window time.Duration
	early       float64
	asked       map[uint64]int
}

func (f *freshness) Freshness(key uint64) (ttl, window time.Duration, ok bool) {
	if f.asked != nil {
		f.asked[key]++
	}
	return f.ttl, f.window, f.ttl > 0
}

func (f *freshness) EarlyRatio() float64 { return f.early }

// watched is a cache whose looks are gathered, in front of an origin whose answer can be set.
func watched(t *testing.T) (*Cache, *watcher, *origin, func(resp func() *request.Response)) {
	var mu sync.Mutex
	var answer func() *request.Response
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		return answer(), nil
	}}
	w := &watcher{}
	options := testOptions()
	options.OnLook = w.look
	return newCache(t, options, o), w, o, func(resp func() *request.Response) {
		mu.Lock()
		defer mu.Unlock()
		answer = resp
	}
}

func TestAFetchTellsWhetherTheContentChangedSinceTheLast(t *testing.T) {
	for name, c := range map[string]struct {
		first, second []string // body, header name, value ...
		changed       bool
	}{
		"same body":                    {[]string{"a"}, []string{"a"}, false},
		"other body":                   {[]string{"a"}, []string{"b"}, true},
		"same body, other header":      {[]string{"a", "X-Request-Id", "1"}, []string{"a", "X-Request-Id", "2"}, false},
		"same tag, other body":         {[]string{"a", "Etag", `"1"`}, []string{"a ", "Etag", `W/"1"`}, false},
		"other tag, same body":         {[]string{"a", "Etag", `"1"`}, []string{"a", "Etag", `"2"`}, false},
		"other tag, other body":        {[]string{"a", "Etag", `"1"`}, []string{"b", "Etag", `"2"`}, true},
		"no tag any more, other body":  {[]string{"a", "Etag", `"1"`}, []string{"b"}, true},
		"an empty body for a full one": {[]string{"a"}, []string{""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, w, _, set := watched(t)
				for i, a := range [][]string{c.first, c.second} {
					set(func() *request.Response { return reply(200, a[0], a[1:]...) })
					do(t, cache, get(ttlRoute(time.Minute), "k"))
					if l := w.last(t, i+1); l.First != (i == 0) {
						t.Fatalf("fetch %d: first is %v", i, l.First)
					}
					do(t, cache, get(ttlRoute(time.Minute), "k")) // a hit
					time.Sleep(90 * time.Second)
				}
				l := w.last(t, 2)
				if l.Changed != c.changed || l.Since != 90*time.Second || l.Kept != time.Minute || l.Uses != 1 || l.Early {
					t.Errorf("%+v", l)
				}
				if l.Route != "movie" || l.Upstream != "up" || l.Key == 0 {
					t.Errorf("%+v names the wrong thing", l)
				}
			})
		})
	}
}

func TestARenewalIsALookThatFoundNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, _, set := watched(t)
		set(func() *request.Response { return reply(200, "a", "Etag", `"1"`) })
		do(t, cache, get(ttlRoute(time.Minute), "k"))
		time.Sleep(2 * time.Minute)
		set(func() *request.Response { return reply(304, "", "Etag", `"1"`) })
		do(t, cache, get(ttlRoute(time.Minute), "k"))
		if l := w.last(t, 2); l.First || l.Changed || l.Since != 2*time.Minute {
			t.Errorf("%+v", l)
		}
		time.Sleep(2 * time.Minute)
		set(func() *request.Response { return reply(200, "b", "Etag", `"2"`) })
		do(t, cache, get(ttlRoute(time.Minute), "k"))
		if l := w.last(t, 3); !l.Changed || l.Since != 2*time.Minute {
			t.Errorf("after a renewal: %+v", l)
		}
	})
}

func TestALookIsPossibleAfterTheCopyHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, _, set := watched(t)
		set(func() *request.Response { return reply(200, "a") })
		do(t, cache, get(ttlRoute(time.Second), "k"))
		time.Sleep(time.Hour)
		do(t, cache, get(ttlRoute(time.Second), "k"))
		if l := w.last(t, 2); l.First || l.Changed || l.Since != time.Hour || l.Kept != time.Second {
			t.Errorf("%+v", l)
		}
	})
}

func TestLastModifiedTellsWhenTheContentChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, _, set := watched(t)
		changed := time.Now().Add(-10 * time.Second)
		set(func() *request.Response {
			return reply(200, "a", "Last-Modified", changed.UTC().Format(http.TimeFormat), "Date", time.Now().UTC().Format(http.TimeFormat))
		})
		do(t, cache, get(ttlRoute(time.Minute), "k"))
		if l := w.last(t, 1); l.Age != 10500*time.Millisecond {
			t.Errorf("age %v", l.Age)
		}
		changed = time.Now()
		do(t, cache, get(ttlRoute(time.Minute), "other"))
		if l := w.last(t, 2); l.Age != 0 {
			t.Errorf("an answer made a moment ago has the age %v, which says nothing", l.Age)
		}
	})
}

func TestOnlyWhatTheUpstreamLeavesToUsIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, _, set := watched(t)
		for i, header := range [][]string{
			{"Cache-Control", "max-age=60"},
			{"Cache-Control", "no-store"},
			{"Cache-Control", "no-cache", "Etag", `"1"`},
			{"Expires", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)},
			{}, // neither explicit nor heuristic freshness
		} {
			set(func() *request.Response { return reply(200, "a", header...) })
			do(t, cache, get(httpRoute(), itoa(i)))
		}
		w.mu.Lock()
		if len(w.looks) != 0 {
			t.Errorf("observed %+v", w.looks)
		}
		w.mu.Unlock()
		set(func() *request.Response {
			return reply(200, "a", "Last-Modified", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		})
		do(t, cache, get(httpRoute(), "heuristic"))
		w.last(t, 1)
	})
}

func TestAShareOfFreshCopiesIsLookedAtEarlyBehindTheClientsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, o, set := watched(t)
		route := ttlRoute(time.Minute)
		route.Cache.Keyed = &freshness{early: 1}
		set(func() *request.Response { return reply(200, "a") })
		do(t, cache, get(route, "k"))
		time.Sleep(time.Minute - 1) // some moment of its time has surely come
		set(func() *request.Response { return reply(200, "b") })
		if a := do(t, cache, get(route, "k")); a.body != "a" || !a.Cache.Hit {
			t.Errorf("the client got %q, %+v", a.body, a.Cache)
		}
		synctest.Wait()
		if l := w.last(t, 2); !l.Early || !l.Changed || l.Uses != 1 {
			t.Errorf("%+v", l)
		}
		if r := o.last(); !r.Background || r.Urgency() != request.LeastUrgent {
			t.Errorf("the look was sent as urgency %d, background %v", r.Urgency(), r.Background)
		}
		if a := do(t, cache, get(route, "k")); a.body != "b" {
			t.Errorf("after the look clients get %q", a.body)
		}
	})
}

func TestWithoutAShareNothingIsLookedAtEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, _, o, set := watched(t)
		set(func() *request.Response { return reply(200, "a") })
		route := ttlRoute(time.Minute)
		route.Cache.Keyed = &freshness{}
		for range 1000 {
			do(t, cache, get(route, "k"))
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		o.wantCalls(t, 1)
	})
}

func TestAKeyHasAFreshnessOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w, o, set := watched(t)
		set(func() *request.Response { return reply(200, "a") })
		route := ttlRoute(time.Hour)
		f := &freshness{ttl: time.Second, window: time.Second, asked: make(map[uint64]int)}
		route.Cache.Keyed = f
		do(t, cache, get(route, "k"))
		if f.asked[w.last(t, 1).Key] != 1 || len(f.asked) != 1 {
			t.Errorf("asked for %v, the look says %d", f.asked, w.looks[0].Key)
		}
		time.Sleep(1500 * time.Millisecond)
		do(t, cache, get(route, "k"))
		o.wantCalls(t, 2) // the route has no window, so the key has none either
		f.ttl = 0         // nothing known: the route's
		time.Sleep(2 * time.Second)
		do(t, cache, get(route, "k"))
		time.Sleep(30 * time.Minute)
		do(t, cache, get(route, "k"))
		o.wantCalls(t, 3)
	})
}

func TestObservingCostsNoAllocationOnAHit(t *testing.T) {
	allocations := func(look func(Look)) float64 {
		options := testOptions()
		options.OnLook = look
		c := newCache(t, options, always(200, "a"))
		r := get(ttlRoute(time.Hour), "k")
		do(t, c, r)
		return testing.AllocsPerRun(200, func() {
			resp, err := c.Do(context.Background(), r)
			if err != nil || !resp.Cache.Hit {
				t.Fatal("no hit")
			}
			_ = resp.Body.Close()
		})
	}
	if without, with := allocations(nil), allocations(func(Look) {}); with > without {
		t.Errorf("%.0f allocations a hit, %.0f unobserved", with, without)
	}
}

func TestVariantsAreComparedWithTheirLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{}
		options := testOptions()
		options.OnLook = w.look
		c := newCache(t, options, &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
			return reply(200, r.Header.Get("Accept-Language"), "Vary", "Accept-Language"), nil
		}})
		for range 2 {
			for _, lang := range []string{"de", "en"} {
				do(t, c, get(ttlRoute(time.Minute), "k", "Accept-Language", lang))
			}
			time.Sleep(2 * time.Minute)
		}
		for i := range 4 {
			l := w.looks[i]
			if l.First != (i < 2) || l.Changed || l.Key != w.looks[0].Key {
				t.Errorf("look %d: %+v", i, l)
			}
		}
	})
}

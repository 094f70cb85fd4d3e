package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/knob"
	"penstock/tuner"
)

// ttlDecisions asks for decisions until there is one by that rule, making n requests each time.
func (h *house) ttlDecision(rule, knob string, ask func(n int)) tuner.Decision {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		ask(40)
		var page struct {
			Decisions []tuner.Decision `json:"decisions"`
		}
		resp, err := h.client.Get("http://" + h.AdminAddr() + "/admin/v1/decisions?knob=" + knob)
		if err != nil {
			h.t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, d := range page.Decisions {
			if d.Rule == rule {
				return d
			}
		}
	}
	h.t.Fatalf("no decision %q about %s", rule, knob)
	return tuner.Decision{}
}

func (h *house) fetch(path string) {
	h.t.Helper()
	resp, err := h.client.Get("http://" + h.DataAddr() + path)
	if err != nil {
		h.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

func TestTheTTLOfARouteWhoseContentChangesIsShortenedAndTheLedgerSaysWhy(t *testing.T) {
	var version atomic.Int64
	h := open(t, `
upstreams:
  movies:
    base_url: UPSTREAM
    cache: {mode: ttl, ttl: 1s}
tuning: {interval: 200ms}
`, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "version %d", version.Add(1))
	}))
	d := h.ttlDecision("shorten", "cache.ttl.movies.proxy", func(n int) {
		for i := range n {
			h.fetch(fmt.Sprintf("/proxy/movies/%d", i))
		}
	})
	if d.From != 1 || d.To >= 1 || d.Route != "proxy" || d.Upstream != "movies" {
		t.Errorf("%+v", d)
	}
	for _, want := range []string{"looks found a change", "of the answers from the cache are stale", "1 % may be"} {
		if !strings.Contains(d.Reason, want) {
			t.Errorf("the reason lacks %q: %s", want, d.Reason)
		}
	}
	if d.Signals["looks"] < 30 || d.Signals["changed"] < 25 {
		t.Errorf("signals %v", d.Signals)
	}
}

func TestTheTTLOfARouteWhoseContentStandsStillGrows(t *testing.T) {
	h := open(t, `
upstreams:
  movies: {base_url: UPSTREAM}
routes:
  movie: {upstream: movies, path: "/{id}", cache: {ttl: 300ms}}
tuning: {interval: 200ms}
`, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "always the same") }))
	d := h.ttlDecision("lengthen", "cache.ttl.movie", func(n int) {
		for i := range n {
			resp, err := h.client.Post("http://"+h.DataAddr()+"/v1/requests", "application/json",
				strings.NewReader(fmt.Sprintf(`{"route":"movie","params":{"id":"%d"}}`, i)))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	if d.From != .3 || d.To <= .3 || d.To > .3*1.5+1e-9 || d.Route != "movie" {
		t.Errorf("%+v", d)
	}
	k, _ := h.knobs.Lookup("cache.ttl.movie")
	if k.Value() < d.To {
		t.Errorf("the knob stands at %g", k.Value())
	}
}

// keyedOf finds the freshness of a route's keys.
func (h *house) keyedOf(t *testing.T, upstream string) *keyedTTL {
	t.Helper()
	r, ok := h.Proxy(upstream)
	if !ok {
		t.Fatalf("no upstream %s", upstream)
	}
	k, ok := r.Cache.Keyed.(*keyedTTL)
	if !ok {
		t.Fatalf("the keys of %s have no freshness of their own", upstream)
	}
	return k
}

func TestAPinHoldsForAllKeysOfARoute(t *testing.T) {
	h := open(t, "upstreams:\n  movies: {base_url: UPSTREAM}\n", http.NotFoundHandler())
	k := h.keyedOf(t, "movies")
	if _, _, ok := k.Freshness(1); ok {
		t.Error("the knob of heuristic freshness stands at a day, and yet decides")
	}
	if err := k.knob.Pin(knob.Pin{Value: 30}); err != nil {
		t.Fatal(err)
	}
	if ttl, _, ok := k.Freshness(1); !ok || ttl != 30*time.Second {
		t.Errorf("pinned to 30 s a key has %v, %v", ttl, ok)
	}
}

func TestWhatIsKnownOfARouteLivesOverAReload(t *testing.T) {
	h := open(t, "upstreams:\n  movies: {base_url: UPSTREAM, cache: {ttl: 1m}}\n  books: {base_url: UPSTREAM}\n", http.NotFoundHandler())
	table, gone := h.keyedOf(t, "movies").table, routeID{"books", "proxy"}
	if _, ok := h.ttls.routes.Load(gone); !ok {
		t.Fatal("nothing is kept of a heuristic route")
	}
	h.write("upstreams:\n  movies: {base_url: \"http://127.0.0.1:1\", cache: {ttl: 2m}}\n")
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if h.keyedOf(t, "movies").table != table {
		t.Error("the reload forgot what was learned")
	}
	if _, ok := h.ttls.routes.Load(gone); ok {
		t.Error("a route that is gone is still remembered")
	}
	h.write("upstreams:\n  movies: {base_url: \"http://127.0.0.1:1\", cache: {mode: \"off\"}}\n")
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if r, _ := h.Proxy("movies"); r.Cache.Keyed != nil {
		t.Error("a route that keeps nothing has keys of its own")
	}
}

func TestHeuristicFreshnessIsFoundByMeasurement(t *testing.T) {
	var version atomic.Int64
	h := open(t, `
upstreams:
  movies: {base_url: UPSTREAM}
tuning: {interval: 200ms, probe_ratio: 0.5}
`, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		w.Header().Set("Last-Modified", now.Add(-12*time.Second).UTC().Format(http.TimeFormat))
		_, _ = fmt.Fprintf(w, "version %d", version.Add(1))
	}))
	d := h.ttlDecision("shorten", "cache.ttl.movies.proxy", func(n int) {
		for i := range n {
			h.fetch(fmt.Sprintf("/proxy/movies/%d", i))
		}
	})
	if d.From != heuristicDay.Seconds() || d.To > 60 {
		t.Errorf("%+v", d)
	}
}

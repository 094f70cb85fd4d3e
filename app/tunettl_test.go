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

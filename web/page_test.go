package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestPageShowsWhatItIsGivenAndEscapesIt(t *testing.T) {
	h := Handler(func() Page {
		return Page{
			Version: "v1", Status: "ready", Warning: "reload failed: <script>",
			Totals:    Totals{Rate: 12.34, HitRatio: .875, P95: 123 * time.Millisecond, MemoryBytes: 5 << 20},
			Upstreams: []Upstream{{Name: "movies", Binding: "permits", Breaker: "closed", Permits: 16}},
			Knobs:     []Knob{{Name: "workers.movies", Value: "16", Source: "default"}},
			Decisions: []Decision{{Knob: "workers.movies", From: "16", To: "17", Why: "one more slot raised throughput"}},
		}
	})
	w := get(t, h, "/")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	for _, want := range []string{"12.3/s", "87.5 %", "123 ms", "5.0 MiB", "movies", "permits", "one more slot", "reload failed: &lt;script&gt;"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestPageAllowsNothingFromOutside(t *testing.T) {
	h := Handler(func() Page { return Page{} })
	for _, path := range []string{"/", "/page.css"} {
		w := get(t, h, path)
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for _, bad := range []string{"http://", "https://", "<script", "style=", "onclick"} {
			if strings.Contains(w.Body.String(), bad) {
				t.Errorf("%s contains %q", path, bad)
			}
		}
	}
	if w := get(t, h, "/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("status %d for a path that is not there", w.Code)
	}
}

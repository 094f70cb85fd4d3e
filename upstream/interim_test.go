package upstream

import (
	"net/http"
	"sync"
	"testing"

	"penstock/request"
)

// interims gathers interim answers.
type interims struct {
	mu  sync.Mutex
	all []http.Header
}

func (i *interims) WriteInterim(status int, h http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	h = h.Clone()
	h["Status"] = []string{http.StatusText(status)}
	i.all = append(i.all, h)
}

func TestInterimAnswersAreHeard(t *testing.T) {
	c, _ := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.WriteHeader(http.StatusOK)
	})
	got := new(interims)
	r := get("/")
	r.Interim = got
	if resp, _ := do(t, c, r); resp.Status != 200 || resp.Header.Get("Link") != "" {
		t.Errorf("%d %v", resp.Status, resp.Header)
	}
	if len(got.all) != 2 || got.all[0].Get("Status") != "Processing" || got.all[1].Get("Link") == "" || got.all[1].Get("Keep-Alive") != "" {
		t.Errorf("heard %v", got.all)
	}
	do(t, c, get("/")) // nobody listens
}

func TestFailuresThatWereWrittenDownAreNotRetried(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header []string
		want   bool
	}{
		{"nothing", nil, false},
		{"no-store", []string{"Cache-Control", "no-store"}, false},
		{"freshness", []string{"Cache-Control", "public, Max-Age=60"}, true},
		{"shared freshness", []string{"Cache-Control", "s-maxage=60"}, true},
		{"expiry", []string{"Expires", "Thu, 01 Jan 1970 00:00:00 GMT"}, true},
		{"a page with a date", []string{"Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"}, true},
		{"an invitation", []string{"Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT", "Retry-After", "0"}, false},
	} {
		h := make(http.Header)
		for i := 0; i < len(tc.header); i += 2 {
			h.Set(tc.header[i], tc.header[i+1])
		}
		calls := 0
		rt := roundTripFunc(func(*http.Request) (*http.Response, error) {
			calls++
			a := answer(503, "down")
			for name, v := range h {
				a.Header[name] = v
			}
			return a, nil
		})
		c, _ := newClient(t, Options{RoundTripper: rt, Retry: Retry{MaxAttempts: 2, BaseDelay: 1, MaxDelay: 2e9}})
		do(t, c, get("/"))
		if retried := calls == 2; retried == tc.want {
			t.Errorf("%s: %d calls", tc.name, calls)
		}
	}
}

var _ request.InterimWriter = (*interims)(nil)

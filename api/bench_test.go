package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/request"
)

// nowhere is a ResponseWriter that costs nothing but its header map, as net/http's own does.
type nowhere struct{ h http.Header }

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w *nowhere) WriteHeader(int)             {}

// hits answers as the cache does on a fresh hit: a shared header, a body of its own.
func hits() request.DoerFunc {
	header := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"max-age=60"}, "Etag": {`"1"`},
		"Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Content-Length": {"1024"}}
	body := []byte(strings.Repeat("x", 1024))
	return func(context.Context, *request.Request) (*request.Response, error) {
		return &request.Response{Status: 200, Header: header, Body: request.NewBody(body), ContentLength: 1024,
			Cache: request.CacheStatus{Hit: true, HasTTL: true, TTL: 42 * time.Second, HasAge: true, Age: 18 * time.Second}}, nil
	}
}

func incoming(header http.Header) *http.Request {
	r := httptest.NewRequest("GET", "/proxy/movies/movies/m1?lang=en", nil)
	r.Header = header
	return r
}

func browserHeader() http.Header {
	return http.Header{"User-Agent": {"bench"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip"}, "X-Tenant": {"acme"}, "Priority": {"u=1, i"}}
}

// BenchmarkProxyHit is the cost of everything in this package on a hit; what the fake Doer
// allocates (3) and the loop's own map and header (about 3) are in it.
func BenchmarkProxyHit(b *testing.B) {
	h := newDataHandler(b, hits())
	base := incoming(nil)
	b.ReportAllocs()
	for b.Loop() {
		base.Header = browserHeader()
		h.ServeHTTP(&nowhere{make(http.Header)}, base)
	}
}

// BenchmarkProxyHitFloor is the loop of BenchmarkProxyHit around a handler that writes the same
// headers and body by hand: the difference is what this package adds.
func BenchmarkProxyHitFloor(b *testing.B) {
	do := hits()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, _ := do(r.Context(), nil)
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.Status)
		_, _ = resp.Body.(*request.Body).WriteTo(w)
	})
	base := incoming(nil)
	b.ReportAllocs()
	for b.Loop() {
		base.Header = browserHeader()
		h.ServeHTTP(&nowhere{make(http.Header)}, base)
	}
}

// TestAProxiedHitAddsFewAllocations holds the budget: at most 12 above writing by hand.
func TestAProxiedHitAddsFewAllocations(t *testing.T) {
	h := newDataHandler(t, hits())
	do := hits()
	r := incoming(nil)
	ours := testing.AllocsPerRun(200, func() {
		r.Header = browserHeader()
		h.ServeHTTP(&nowhere{make(http.Header)}, r)
	})
	floor := testing.AllocsPerRun(200, func() {
		r.Header = browserHeader()
		w := &nowhere{make(http.Header)}
		resp, _ := do(r.Context(), nil)
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		_, _ = resp.Body.(*request.Body).WriteTo(w)
	})
	if ours-floor > 12 {
		t.Errorf("%v allocations, %v by hand: %v added", ours, floor, ours-floor)
	}
}

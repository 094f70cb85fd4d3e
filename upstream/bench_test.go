package upstream

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"penstock/request"
)

var page = make([]byte, 1<<10)

// BenchmarkDo is what the stage itself costs: the transport is a stub.
func BenchmarkDo(b *testing.B) {
	h := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"max-age=60"}}
	c, err := New(Options{Name: "movies", BaseURL: "http://movies.test/api", RoundTripper: roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: h, ContentLength: 0, Body: http.NoBody}, nil
	})}, Metrics{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoopback compares a call through the Client with one by a bare http.Transport.
func BenchmarkLoopback(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(page) }))
	defer srv.Close()
	b.Run("client", func(b *testing.B) {
		c, err := New(Options{Name: "movies", BaseURL: srv.URL}, Metrics{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		r := benchRequest()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := c.Do(context.Background(), r)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.Run("bare", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true}
		defer tr.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(context.Background(), "GET", srv.URL+"/movies/1?a=1", nil)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}

func benchRequest() *request.Request {
	r := get("/movies/1")
	r.RawQuery = "a=1"
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}}
	return r
}

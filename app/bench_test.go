package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"penstock/configs"
)

// nobody is a ResponseWriter that costs nothing itself.
type nobody struct {
	header http.Header
	status int
}

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n *nobody) WriteHeader(status int)      { n.status = status }
func (n *nobody) reset()                      { clear(n.header); n.status = 0 }

func benchApp(b *testing.B, upstream http.Handler) (*App, string) {
	b.Helper()
	s := httptest.NewServer(upstream)
	b.Cleanup(s.Close)
	path := filepath.Join(b.TempDir(), "penstock.yaml")
	config := "upstreams:\n  movies:\n    base_url: " + s.URL + "\nroutes:\n  movie: {upstream: movies, path: \"/{id}\", cache: {ttl: 1h}}\n"
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	a, err := New(Options{Config: configs.LoadOptions{Path: path, Flags: map[string]string{
		"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "server.drain_delay": "0s", "preload.enabled": "false",
	}}, LogOutput: io.Discard, PollInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	a.Start()
	b.Cleanup(func() { _ = a.Stop(context.Background()) })
	return a, s.URL
}

func kilobyte(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(make([]byte, 1000)) // below cache.compress_min_bytes
}

// BenchmarkHit is a fresh hit through the whole HTTP path, in process: the handler of the data plane with
// all that it does, without the network.
func BenchmarkHit(b *testing.B) {
	a, _ := benchApp(b, http.HandlerFunc(kilobyte))
	h := a.data.http.Handler
	b.Run("proxy", func(b *testing.B) { benchHandler(b, h, "/proxy/movies/x") })
}

func benchHandler(b *testing.B, h http.Handler, path string) {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = "127.0.0.1:50000" // without keys the data plane is open to loopback
	w := &nobody{header: make(http.Header)}
	ask := func() {
		w.reset()
		clear(r.Header) // the data plane makes it the upstream's header
		h.ServeHTTP(w, r)
	}
	for range 3 { // the first ones fill the cache
		ask()
	}
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
	if w.status != http.StatusOK || w.header.Get("Age") == "" {
		b.Fatalf("no hit: %d %v", w.status, w.header)
	}
}

// BenchmarkMiss compares a call that is not cached, through Penstock and direct, over loopback.
func BenchmarkMiss(b *testing.B) {
	a, direct := benchApp(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(make([]byte, 1000))
	}))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	b.Cleanup(client.CloseIdleConnections)
	for name, url := range map[string]string{"direct": direct + "/x", "penstock": "http://" + a.DataAddr() + "/proxy/movies/x"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get(url)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"penstock/configs"
)

// BenchmarkTenViewersPerSample is what one sample costs with ten viewers of the first page: taking and keeping
// it, one event to each, and the page that each then fetches. At the default interval of 1 s, 20 ms
// are 2 % of a core.
func BenchmarkTenViewersPerSample(b *testing.B) {
	dir := b.TempDir()
	path := dir + "/penstock.yaml"
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(smallest, "UPSTREAM", "http://127.0.0.1:9")), 0o600); err != nil {
		b.Fatal(err)
	}
	a, err := New(Options{Config: configs.LoadOptions{Path: path, Flags: map[string]string{
		"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "server.drain_delay": "0s", "monitoring.sampling_interval": "1m",
	}}, PollInterval: -1})
	if err != nil {
		b.Fatal(err)
	}
	a.Start()
	defer func() { _ = a.Stop(context.Background()) }()
	for range 900 { // a full quarter of an hour
		a.sampler.Take()
	}
	get := func(path string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Live", "1")
		w := httptest.NewRecorder()
		a.admin.http.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
	for b.Loop() {
		a.sampler.Take()
		for range 10 {
			get("/admin/v1/now")
			get("/")
		}
	}
}

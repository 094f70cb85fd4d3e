package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/configs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a running App in front of an upstream of the test.
type house struct {
	*App
	t      *testing.T
	config string
	log    *syncBuffer
	client *http.Client
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// open starts an App; UPSTREAM in the configuration stands for the handler's address.
func open(t *testing.T, config string, upstream http.Handler) *house {
	t.Helper()
	if upstream != nil {
		s := httptest.NewServer(upstream)
		t.Cleanup(s.Close)
		config = strings.ReplaceAll(config, "UPSTREAM", s.URL)
	}
	h := &house{t: t, config: filepath.Join(t.TempDir(), "penstock.yaml"), log: new(syncBuffer)}
	h.write(config)
	a, err := New(Options{
		Config: configs.LoadOptions{Path: h.config, Flags: map[string]string{
			"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "server.drain_delay": "0s",
		}},
		LogOutput: h.log, Version: "test", PollInterval: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.App, h.client = a, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	a.Start()
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if err := a.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return h
}

func (h *house) write(config string) {
	h.t.Helper()
	if err := os.WriteFile(h.config, []byte(config), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (h *house) do(method, url, body string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (h *house) dataURL(path string) string  { return "http://" + h.DataAddr() + path }
func (h *house) adminURL(path string) string { return "http://" + h.AdminAddr() + path }

func (h *house) get(path string) answer { h.t.Helper(); return h.do("GET", h.dataURL(path), "") }

func (a answer) expect(t *testing.T, status int, parts ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("the answer lacks %q: %s", p, a.body)
		}
	}
	return a
}

const smallest = "upstreams:\n  movies:\n    base_url: UPSTREAM\n"

// counted answers every request with its path, cacheable for a minute, and counts.
type counted struct {
	mu    sync.Mutex
	calls map[string]int
	hold  chan struct{} // if set, an answer waits for it
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if c.calls == nil {
		c.calls = make(map[string]int)
	}
	c.calls[r.URL.Path]++
	c.mu.Unlock()
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Cache-Control", "max-age=60")
	fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
}

func (c *counted) of(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[path]
}

func TestTheSmallestConfigurationServesTheProxyPathFromCache(t *testing.T) {
	up := new(counted)
	h := open(t, smallest, up)
	first := h.get("/proxy/movies/films/1?lang=de").expect(t, 200, "GET /films/1?lang=de")
	second := h.get("/proxy/movies/films/1?lang=de").expect(t, 200, "GET /films/1?lang=de")
	if got := first.header.Get("Cache-Status"); !strings.Contains(got, "fwd=") || !strings.Contains(got, "stored") {
		t.Errorf("first Cache-Status %q", got)
	}
	if got := second.header.Get("Cache-Status"); !strings.HasPrefix(got, "penstock; hit; ttl=") {
		t.Errorf("second Cache-Status %q", got)
	}
	if n := up.of("/films/1"); n != 1 {
		t.Errorf("%d upstream calls, want 1", n)
	}
	if second.header.Get("Server-Timing") == "" {
		t.Error("no Server-Timing")
	}
}

func TestTwoHundredClientsOfOneColdKeyMakeOneCall(t *testing.T) {
	up := &counted{hold: make(chan struct{})}
	h := open(t, smallest, up)
	var wg sync.WaitGroup
	var mu sync.Mutex
	bodies := make(map[string]int)
	for range 200 {
		wg.Go(func() {
			a := h.get("/proxy/movies/cold")
			mu.Lock()
			bodies[a.body]++
			mu.Unlock()
		})
	}
	h.eventually("200 clients wait", func() bool { return h.window.Signals(signalsSpan).Total.Requests.InFlight == 200 })
	close(up.hold)
	wg.Wait()
	if n := up.of("/cold"); n != 1 || bodies["GET /cold"] != 200 {
		t.Errorf("%d upstream calls, answers %v", n, bodies)
	}
}

// eventually yields until a condition that other goroutines bring about holds.
func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			h.t.Fatalf("it never happened that %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestEveryMetricIsExplained(t *testing.T) {
	h := open(t, smallest, new(counted))
	h.get("/proxy/movies/x").expect(t, 200)
	text := h.do("GET", h.adminURL("/metrics"), "").expect(t, 200).body
	for line := range strings.Lines(text) {
		if family, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(family, " ")
			if !strings.Contains(text, "# HELP "+name+" ") {
				t.Errorf("no HELP for %s", name)
			}
		}
	}
}

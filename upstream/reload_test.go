package upstream

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/observe"
)

func TestReloadKeepsCallsInFlightAndClosesTheirConnectionsAfter(t *testing.T) {
	goOn := make(chan struct{})
	closed := make(chan struct{}, 10)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/slow" {
			<-goOn
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	o := Options{Name: "movies", BaseURL: srv.URL}
	c, _ := newClient(t, o)
	resp, err := c.Do(context.Background(), get("/slow"))
	if err != nil {
		t.Fatal(err)
	}
	kept := c.settings.Load().transport
	for _, change := range []struct {
		name string
		set  func(*Options)
		same bool
	}{
		{"headers", func(o *Options) { o.Headers = map[string]string{"X": "1"} }, true},
		{"total", func(o *Options) { o.Timeouts.Total = time.Hour }, true},
		{"pool", func(o *Options) { o.Pool.MaxIdle = 3 }, false},
	} {
		change.set(&o)
		commit, err := c.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		commit()
		if same := c.settings.Load().transport == kept; same != change.same {
			t.Errorf("%s: same transport %v", change.name, same)
		}
	}
	do(t, c, get("/"))
	if n := c.State().Connections; n != 2 {
		t.Errorf("%d connections, want the old and the new one", n)
	}
	close(goOn)
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "first" {
		t.Errorf("the call in flight gave %q, %v", b, err)
	}
	resp.Body.Close()
	<-closed // the old one, by itself
	if n := c.State().Connections; n != 1 {
		t.Errorf("%d connections, want the new one alone", n)
	}
}

func TestFaultyReloadChangesNothing(t *testing.T) {
	c, _ := newClient(t, Options{})
	before := c.settings.Load()
	for name, change := range map[string]func(*Options){
		"base_url":                      func(o *Options) { o.BaseURL = "ftp://x" },
		"tls.ca_file":                   func(o *Options) { o.TLS.CAFile = "/nonexistent/ca.pem" },
		"tls":                           func(o *Options) { o.TLS.CertFile = "x" },
		"renamed":                       func(o *Options) { o.Name = "other" },
		"upstreams.movies.proxy":        func(o *Options) { o.Proxy = "ftp://u:s3cret@x" },
		"upstreams.movies.headers.Host": func(o *Options) { o.Headers = map[string]string{"Host": "x"} },
	} {
		o := Options{Name: "movies", BaseURL: "http://movies.test"}
		change(&o)
		_, err := c.Prepare(o)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c.settings.Load() != before {
		t.Error("a failed Prepare changed the settings")
	}
}

func TestClosedClientRefuses(t *testing.T) {
	c, _ := newClient(t, Options{})
	c.Close()
	c.Close()
	_, err := c.Do(context.Background(), get("/"))
	wantProblem(t, err, "shutting-down", "")
}

func TestValidateTellsAllFaultsAtOnce(t *testing.T) {
	o := Options{
		Name: "m", Proxy: "nonsense", Timeouts: Timeouts{Connect: -1, ResponseHeader: time.Hour, Total: time.Second},
		Pool: Pool{MaxIdle: -1, MaxPerHost: -1, IdleTimeout: -1}, TLS: TLS{KeyFile: "k"},
		Credentials: []Credential{{}, {Header: "Transfer-Encoding", Query: "q", Env: "E"}, {Query: "q", Env: "E"}, {Query: "q", Env: "F"}},
		Headers:     map[string]string{"Connection": "x", "a b": "x", "X": "\n", "x": "1"},
		Retry:       Retry{MaxAttempts: 99, BaseDelay: -1, MaxDelay: -2, OnStatus: []int{200}},
		Breaker:     Breaker{FailureRatio: 2, MinCalls: -1, Window: 1, OpenFor: -1, HalfOpenProbes: -1}, MaxResponseBytes: -2,
	}
	o.EnsureDefaults()
	err := o.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	for _, key := range []string{
		"base_url", "proxy", "timeouts.connect", "timeouts.response_header", "pool.max_idle", "pool.max_per_host", "pool.idle_timeout", "tls",
		"credentials[0]", "credentials[1]", "credentials[1].header", "credentials[3]", "headers.Connection", "headers.a b", "headers.X", "headers.x", "retry.max_attempts", "retry.base_delay",
		"retry.max_delay", "retry.on_status", "breaker.failure_ratio", "breaker.min_calls", "breaker.window", "breaker.open_for", "breaker.half_open_probes",
		"max_response_bytes",
	} {
		if !strings.Contains(err.Error(), "upstreams.m."+key+": ") {
			t.Errorf("%s is not told in:\n%v", key, err)
		}
	}
	good := Options{Name: "m", BaseURL: "http://a"}
	good.EnsureDefaults()
	if err := good.Validate(); err != nil {
		t.Errorf("the defaults are faulty: %v", err)
	}
}

func TestMetricsAreExposed(t *testing.T) {
	reg := observe.NewRegistry()
	rt, _ := script("503", "200")
	c, err := New(Options{Name: "movies", BaseURL: "http://movies.test", RoundTripper: rt}, Metrics{Scope: reg.Upstream("movies")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := get("/")
	r.Method, r.Data = "PUT", []byte("12345")
	do(t, c, r)
	var out bytes.Buffer
	reg.WritePrometheus(&out)
	for _, want := range []string{
		`penstock_upstream_requests_total{upstream="movies",route="movie",outcome="ok"} 1`,
		`penstock_upstream_requests_total{upstream="movies",route="movie",outcome="overload"} 1`,
		`penstock_upstream_request_duration_seconds_count{upstream="movies",route="movie"} 2`,
		`penstock_upstream_retries_total{upstream="movies"} 1`,
		`penstock_upstream_retry_budget_exhausted_total{upstream="movies"} 0`,
		`penstock_upstream_in_flight{upstream="movies"} 0`,
		`penstock_upstream_connections{upstream="movies"} 0`,
		`penstock_upstream_breaker_state{upstream="movies"} 0`,
		`penstock_upstream_sent_bytes_total{upstream="movies"} 10`,
		`penstock_upstream_received_bytes_total{upstream="movies"} 22`,
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("missing %s in\n%s", want, out.String())
		}
	}
}

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/client"
	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers by h and tells what was asked.
func serve(t *testing.T, h http.HandlerFunc) (url string, hc *http.Client, asked *string) {
	t.Helper()
	asked = new(string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(b))
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, srv.Client(), asked
}

func newClient(t *testing.T, h http.HandlerFunc, o client.Options) (*client.Client, *string) {
	t.Helper()
	url, hc, asked := serve(t, h)
	o.HTTPClient = hc
	c, err := client.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func problem(w http.ResponseWriter, status int, doc string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "7")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, doc)
}

func TestSendReturnsTheUpstreamsAnswerWhateverItsStatus(t *testing.T) {
	c, asked := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Team") != "a" {
			t.Errorf("headers %v", r.Header)
		}
		w.Header().Set("Cache-Status", `cdn; fwd=miss, penstock; hit; ttl=30`)
		w.Header().Set("X-Request-Id", "r1")
		w.WriteHeader(404)
		_, _ = io.WriteString(w, "none")
	}, client.Options{Tenant: "a", TenantHeader: "X-Team"})
	urgency := request.Urgency(0)
	a, err := c.Send(t.Context(), client.Item{Route: "movie", Params: map[string]any{"id": 42}, Urgency: &urgency, DeadlineMS: 800, Cache: "no-cache"})
	if err != nil {
		t.Fatal(err)
	}
	if *asked != `POST /v1/requests {"route":"movie","params":{"id":42},"urgency":0,"deadline_ms":800,"cache":"no-cache"}` {
		t.Errorf("asked %s", *asked)
	}
	if a.Status != 404 || string(a.Body) != "none" || !a.CacheStatus().Hit || a.RequestID() != "r1" {
		t.Errorf("answer %+v", a)
	}
}

func TestSendReturnsProblemsOfPenstockAsErrors(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 400, `{"type":"urn:penstock:problem:invalid-params","title":"T","status":400,"detail":"the id is wrong","request_id":"r2","errors":[{"pointer":"/params/id","detail":"no number"}]}`)
	}, client.Options{})
	_, err := c.Send(t.Context(), client.Item{Route: "movie"})
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	if p.Kind() != request.ProblemInvalidParams || p.Status != 400 || p.RetryAfter != 7*time.Second || len(p.Errors) != 1 {
		t.Errorf("problem %+v", p)
	}
	want := "the id is wrong (400 invalid-params, retry after 7s, request r2)\n  /params/id: no number"
	if p.Error() != want {
		t.Errorf("text %q, want %q", p.Error(), want)
	}
}

func TestSendTakesAnUpstreamsOwnProblemAsAnAnswer(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 409, `{"type":"https://api.example/conflict","title":"Conflict"}`)
	}, client.Options{})
	a, err := c.Send(t.Context(), client.Item{Route: "movie"})
	if err != nil || a.Status != 409 {
		t.Errorf("answer %+v, error %v", a, err)
	}
}

func TestBatchGivesEachLineAndTheSummary(t *testing.T) {
	c, asked := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"id":"x","index":1,"status":200,"headers":{"cache-status":"penstock; hit"},"body":{"n":1},"encoding":"json"}`)
		fmt.Fprintln(w, `{"index":2,"status":200,"body":"aGk=","encoding":"base64"}`)
		fmt.Fprintln(w, `{"index":3,"status":200,"body":"hi","encoding":"text"}`)
		fmt.Fprintln(w, `{"index":0,"status":404,"error":{"type":"urn:penstock:problem:unknown-route","status":404,"detail":"no"}}`)
		fmt.Fprintln(w, `{"summary":{"items":4,"ok":3,"failed":1,"hits":1,"duration_ms":5}}`)
	}, client.Options{})
	var bodies []string
	var failed *client.Problem
	sum, err := c.Batch(t.Context(), []client.Item{{Route: "a"}, {ID: "x", Route: "b"}}, func(l client.Line) error {
		b, err := l.Body()
		bodies = append(bodies, fmt.Sprintf("%s%d=%s", l.ID, l.Index, b))
		if l.Problem != nil {
			failed = l.Problem
		}
		return err
	})
	if err != nil || sum.Items != 4 || sum.Hits != 1 {
		t.Errorf("summary %+v, %v", sum, err)
	}
	if got := strings.Join(bodies, " "); got != `x1={"n":1} 2=hi 3=hi 0=` {
		t.Errorf("bodies %s", got)
	}
	if failed == nil || failed.Kind() != request.ProblemUnknownRoute {
		t.Errorf("problem %+v", failed)
	}
	if *asked != `POST /v1/batch [{"route":"a"},{"id":"x","route":"b"}]` {
		t.Errorf("asked %s", *asked)
	}
}

func TestBatchWithoutItsSummaryIsIncomplete(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"index":0,"status":200}`)
	}, client.Options{})
	if _, err := c.Batch(t.Context(), nil, func(client.Line) error { return nil }); !errors.Is(err, client.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	stop := errors.New("enough")
	if _, err := c.Batch(t.Context(), nil, func(client.Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want the caller's own", err)
	}
}

func TestBatchRefusedIsAProblem(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 503, `{"type":"urn:penstock:problem:shutting-down","title":"T"}`)
	}, client.Options{})
	_, err := c.Batch(t.Context(), nil, nil)
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != 503 || p.Kind() != request.ProblemShuttingDown {
		t.Errorf("error %v", err)
	}
}

func TestRoutesAndStats(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/stats" {
			_, _ = io.WriteString(w, `{"x":1}`)
			return
		}
		_, _ = io.WriteString(w, `{"routes":[{"name":"movie","upstream":"m","method":"GET","path":"/m/{id}","params":{"id":{"required":true}},"cache":"http"}]}`)
	}, client.Options{})
	routes, err := c.Routes(t.Context())
	if err != nil || len(routes) != 1 || !routes[0].Params["id"].Required {
		t.Errorf("routes %+v, %v", routes, err)
	}
	stats, err := c.Stats(t.Context())
	if err != nil || string(stats) != `{"x":1}` {
		t.Errorf("stats %s, %v", stats, err)
	}
}

func TestAdminCallsSayWhatTheyMean(t *testing.T) {
	answer := `{}`
	url, hc, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, answer)
	})
	a, err := client.NewAdmin(url, "secret", hc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, c := range []struct {
		want, answer string
		call         func() (any, error)
		got          string
	}{
		{"POST /admin/v1/config/reload", `{"changes":[{"key":"k","from":1,"to":2}],"restart_needed":["k"]}`, func() (any, error) { return a.Reload(ctx) }, `{"changes":[{"key":"k","from":1,"to":2,"restart_needed":false}],"restart_needed":["k"]}`},
		{"GET /admin/v1/config", `{"entries":[{"key":"k","value":1,"source":"file","file":"f","line":3}],"last_reload":null}`, func() (any, error) { return a.Config(ctx) }, `{"entries":[{"key":"k","value":1,"source":"file","file":"f","line":3}],"last_reload":null}`},
		{"PUT /admin/v1/knobs/workers.a%2Fb/pin {\"value\":\"12\",\"for\":\"10m0s\",\"note\":\"n\"}", `{"name":"w"}`, func() (any, error) {
			k, err := a.Pin(ctx, "workers.a/b", "12", 10*time.Minute, "n")
			return k.Name, err
		}, `"w"`},
		{"PUT /admin/v1/knobs/w/pin {\"value\":\"1\"}", `{"name":"w"}`, func() (any, error) { k, err := a.Pin(ctx, "w", "1", 0, ""); return k.Name, err }, `"w"`},
		{"DELETE /admin/v1/knobs/w/pin", `{"name":"w"}`, func() (any, error) { k, err := a.Unpin(ctx, "w"); return k.Name, err }, `"w"`},
		{"POST /admin/v1/cache/purge {\"route\":\"r\"}", `{"purged":3}`, func() (any, error) { return a.Purge(ctx, client.Purge{Route: "r"}) }, `3`},
		{"GET /admin/v1/decisions?knob=w&limit=5", `{"decisions":[{"id":"1","reason":"why"}]}`, func() (any, error) {
			d, err := a.Decisions(ctx, client.DecisionQuery{Knob: "w", Limit: 5})
			return d[0].Reason, err
		}, `"why"`},
		{"GET /admin/v1/decisions/a%2Fb", `{"id":"a/b","verdict":"worse"}`, func() (any, error) { d, err := a.Decision(ctx, "a/b"); return d.Verdict, err }, `"worse"`},
		{"GET /admin/v1/limits", `{"a":1}`, func() (any, error) { return a.Limits(ctx) }, `{"a":1}`},
		{"GET /healthz", `{}`, func() (any, error) { return nil, a.Healthz(ctx) }, `null`},
		{"GET /readyz", `{}`, func() (any, error) { return nil, a.Readyz(ctx) }, `null`},
	} {
		answer = c.answer
		v, err := c.call()
		got, _ := json.Marshal(v)
		if err != nil || *asked != c.want || string(got) != c.got {
			t.Errorf("asked %s, got %s, %v; want %s, %s", *asked, got, err, c.want, c.got)
		}
	}
}

func TestAnAnswerOfSomethingElseIsSaidPlainly(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/stats" {
			w.WriteHeader(404)
		}
		_, _ = io.WriteString(w, "<html>\nlong page")
	}, client.Options{})
	_, err := c.Stats(t.Context())
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Detail != "<html>" {
		t.Errorf("404: %v", err)
	}
	if _, err = c.Routes(t.Context()); err == nil || !strings.Contains(err.Error(), "is") {
		t.Errorf("HTML: %v", err)
	}
}

func TestNoServiceGivesAConnError(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Stats(t.Context())
	ce, ok := errors.AsType[*client.ConnError](err)
	if !ok || !strings.Contains(ce.Error(), "does it run") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Stats(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFaultyAddressesAreRefused(t *testing.T) {
	for _, u := range []string{"", "localhost:8080", "/x", "ftp://h", "http://", "http://h?x=1", "http://h/%zz"} {
		if _, err := client.New(u, client.Options{}); err == nil {
			t.Errorf("%q: no error", u)
		}
		if _, err := client.NewAdmin(u, "", nil); err == nil {
			t.Errorf("admin %q: no error", u)
		}
	}
}

func FuzzCacheStatus(f *testing.F) {
	f.Add(`penstock; hit; ttl=30`)
	f.Add(`a; detail="x, penstock; hit", penstock; fwd=uri-miss; collapsed=?1; stored`)
	f.Add(`"penstock"; hit=?0`)
	f.Add(`penstock; detail="\`)
	f.Fuzz(func(t *testing.T, s string) {
		got := client.ParseCacheStatus(http.Header{"Cache-Status": {s}})
		if !got.Present && got != (client.CacheStatus{}) {
			t.Fatalf("%q: %+v", s, got)
		}
		// A part in front never changes what is read.
		if again := client.ParseCacheStatus(http.Header{"Cache-Status": {"cdn; hit", s}}); again != got {
			t.Fatalf("%q: %+v alone, %+v behind another", s, got, again)
		}
	})
}

func TestCacheStatusReadsPenstocksPartOnly(t *testing.T) {
	for field, want := range map[string]client.CacheStatus{
		``:                      {},
		`other; hit`:            {},
		`penstock; hit; ttl=-3`: {Present: true, Hit: true},
		`a; detail="x, penstock; hit", penstock; fwd=uri-miss; collapsed; stored`: {Present: true, Fwd: "uri-miss", Collapsed: true, Stored: true},
		`"Penstock"; hit=?0; fwd=stale`:                                           {Present: true, Fwd: "stale"},
	} {
		if got := client.ParseCacheStatus(http.Header{"Cache-Status": {field}}); got != want {
			t.Errorf("%q: %+v, want %+v", field, got, want)
		}
	}
}

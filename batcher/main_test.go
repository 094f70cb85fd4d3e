package batcher

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a next Doer that keeps what it was asked.
type recorder struct {
	mu     sync.Mutex
	calls  []*request.Request
	answer func(*request.Request) (*request.Response, error)
}

func (d *recorder) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	d.mu.Lock()
	d.calls = append(d.calls, r)
	d.mu.Unlock()
	return d.answer(r)
}

func (d *recorder) made() []*request.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*request.Request(nil), d.calls...)
}

// reply makes a response of pairs of header names and values.
func reply(status int, body string, header ...string) *request.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &request.Response{Status: status, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}
}

// answers makes a recorder that gives batch calls (those whose ID begins with "batch-") the one
// answer and lone calls the body "lone PATH?QUERY DATA".
func answers(status int, body string, header ...string) *recorder {
	return &recorder{answer: func(r *request.Request) (*request.Response, error) {
		if isBatch(r) {
			return reply(status, body, header...), nil
		}
		return reply(200, "lone "+r.Path+"?"+r.RawQuery+" "+string(r.Data)), nil
	}}
}

func isBatch(r *request.Request) bool { return r.Items > 0 }

// over is a Doer that calls a handler without a socket.
func over(h http.Handler) *recorder {
	return &recorder{answer: func(r *request.Request) (*request.Response, error) {
		req := httptest.NewRequest(r.Method, "http://films.test/", bytes.NewReader(r.Data))
		req.URL.RawPath, req.URL.RawQuery = r.Path, r.RawQuery
		req.URL.Path = unescaped(r.Path)
		req.Header = r.Header.Clone()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return &request.Response{Status: w.Code, Header: w.Header(), Body: io.NopCloser(w.Body), ContentLength: -1}, nil
	}}
}

// overHTTP is a Doer that calls a server.
func overHTTP(t testing.TB, h http.Handler) *recorder {
	srv := httptest.NewServer(h)
	client := srv.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		srv.Close()
	})
	return &recorder{answer: func(r *request.Request) (*request.Response, error) {
		url := srv.URL + r.Path
		if r.RawQuery != "" {
			url += "?" + r.RawQuery
		}
		req, err := http.NewRequest(r.Method, url, bytes.NewReader(r.Data))
		if err != nil {
			return nil, err
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		return &request.Response{Status: resp.StatusCode, Header: resp.Header, Body: resp.Body, ContentLength: resp.ContentLength}, nil
	}}
}

func newBatcher(t testing.TB, next request.Doer, route *request.Route, r Rule) *Batcher {
	t.Helper()
	if err := r.ValidateFor(route); err != nil {
		t.Fatalf("the rule is faulty: %v", err)
	}
	return New(Options{Enabled: true, Rules: map[string]Rule{route.Name: r}}, next)
}

func compiled(t testing.TB, r request.Route) *request.Route {
	t.Helper()
	r.Name, r.Upstream = "film", "films"
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return &r
}

func filmRoute(t testing.TB) *request.Route {
	return compiled(t, request.Route{Path: "/films/{id}"})
}

func build(t testing.TB, route *request.Route, params ...any) *request.Request {
	t.Helper()
	m := make(map[string]any)
	for i := 0; i+1 < len(params); i += 2 {
		m[params[i].(string)] = params[i+1]
	}
	r, err := route.Build(m)
	if err != nil {
		t.Fatal(err)
	}
	r.ID, r.Arrived = fmt.Sprintf("id-%v", params), time.Unix(1000, 0)
	return r
}

func films(t testing.TB, route *request.Route, ids ...string) []*request.Request {
	members := make([]*request.Request, len(ids))
	for i, id := range ids {
		members[i] = build(t, route, "id", id)
	}
	return members
}

func posts(t testing.TB, route *request.Route, bodies ...string) []*request.Request {
	members := make([]*request.Request, len(bodies))
	for i, b := range bodies {
		members[i] = build(t, route)
		members[i].Data = []byte(b)
		members[i].Header.Set("Content-Type", "application/json")
	}
	return members
}

// text is a result as "STATUS BODY", or "error PROBLEM".
func text(t testing.TB, r request.Result) string {
	t.Helper()
	if (r.Response == nil) == (r.Err == nil) {
		t.Fatalf("a result must be a response or an error: %+v", r)
	}
	if e, ok := r.Err.(*request.Error); ok {
		return "error " + string(e.Problem)
	}
	if r.Err != nil {
		return "error " + r.Err.Error()
	}
	b, err := request.ReadAll(r.Response, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", r.Response.Status, b)
}

func texts(t testing.TB, results []request.Result) []string {
	t.Helper()
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = text(t, r)
	}
	return out
}

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d: %q", len(got), len(want), got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("result %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

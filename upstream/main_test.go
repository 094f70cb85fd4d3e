package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/observe"
	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder gathers observe.Calls.
type recorder struct {
	mu    sync.Mutex
	calls []observe.Call
}

func (r *recorder) add(c observe.Call) {
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
}

func (r *recorder) all() []observe.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]observe.Call(nil), r.calls...)
}

func (r *recorder) outcomes() string {
	var all []string
	for _, c := range r.all() {
		all = append(all, string(c.Outcome))
	}
	return strings.Join(all, " ")
}

func newClient(t *testing.T, o Options) (*Client, *recorder) {
	t.Helper()
	rec := new(recorder)
	if o.Name == "" {
		o.Name = "movies"
	}
	if o.BaseURL == "" {
		o.BaseURL = "http://movies.test"
	}
	c, err := New(o, Metrics{OnCall: rec.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, rec
}

// serve starts a real server and a client of it. The client goes first.
func serve(t *testing.T, o Options, h http.HandlerFunc) (*Client, *recorder) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	o.BaseURL = srv.URL + o.BaseURL
	return newClient(t, o)
}

func get(path string) *request.Request {
	return &request.Request{
		Method: http.MethodGet, Path: path, Header: http.Header{},
		Route: &request.Route{Name: "movie", Upstream: "movies"},
	}
}

// do makes a call that must be answered, and reads all of it.
func do(t *testing.T, c *Client, r *request.Request) (*request.Response, string) {
	t.Helper()
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return resp, string(b)
}

// wantProblem checks that err is a request.Error of the problem, with the token and the upstream's
// name, that names nothing secret.
func wantProblem(t *testing.T, err error, p request.Problem, token string) *request.Error {
	t.Helper()
	e := (*request.Error)(nil)
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is not a *request.Error", err, err)
	}
	if e.Problem != p || e.ProxyStatus != token {
		t.Fatalf("got %s %q (%v), want %s %q", e.Problem, e.ProxyStatus, e.Err, p, token)
	}
	for _, leak := range []string{"127.0.0.1", "localhost", ".test", "s3cret"} {
		if strings.Contains(e.Error(), leak) {
			t.Errorf("the error shows %q: %s", leak, e.Error())
		}
	}
	return e
}

// pass lets virtual time pass; for synctest bubbles only.
func pass(d time.Duration) { <-time.After(d) }

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

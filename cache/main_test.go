package cache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is a fake next stage that counts calls.
type origin struct {
	calls atomic.Int64
	do    func(ctx context.Context, r *request.Request) (*request.Response, error)

	mu   sync.Mutex
	seen []*request.Request
}

func (o *origin) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	o.calls.Add(1)
	o.mu.Lock()
	o.seen = append(o.seen, r)
	o.mu.Unlock()
	r.MarkStarted()
	return o.do(ctx, r)
}

func (o *origin) last() *request.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[len(o.seen)-1]
}

// reply makes an answer held in memory: header name, value, name, value ...
func reply(status int, body string, header ...string) *request.Response {
	h := make(http.Header)
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &request.Response{Status: status, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}
}

func always(status int, body string, header ...string) *origin {
	return &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		return reply(status, body, header...), nil
	}}
}

func testOptions() Options {
	return Options{Enabled: true, ErrorRecovery: true, Logger: slog.New(slog.DiscardHandler)}
}

func newCache(t testing.TB, o Options, next request.Doer) *Cache {
	t.Helper()
	c, err := New(o, next)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func httpRoute() *request.Route { return request.NewProxyRoute("up", request.CachePolicy{}) }

func ttlRoute(ttl time.Duration) *request.Route {
	return &request.Route{Name: "movie", Upstream: "up", Method: "GET", Cache: request.CachePolicy{
		Mode: request.CacheTTL, TTL: request.FixedDuration(ttl),
	}}
}

// get makes a GET request; header name, value, name, value ...
func get(route *request.Route, key string, header ...string) *request.Request {
	r := &request.Request{Route: route, Method: "GET", Path: "/" + key, Key: key, Header: make(http.Header), ID: "id"}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	r.SetUrgency(request.DefaultUrgency)
	return r
}

// answer is a response read to its end.
type answer struct {
	*request.Response
	body string
}

func do(t testing.TB, c *Cache, r *request.Request) answer {
	t.Helper()
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	return answer{resp, readBody(t, resp)}
}

func readBody(t testing.TB, resp *request.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (o *origin) wantCalls(t testing.TB, n int64) {
	t.Helper()
	if got := o.calls.Load(); got != n {
		t.Fatalf("%d upstream calls, want %d", got, n)
	}
}

func wantProblem(t testing.TB, err error, p request.Problem) {
	t.Helper()
	e, ok := errors.AsType[*request.Error](err)
	if !ok || e.Problem != p {
		t.Fatalf("error %v, want problem %s", err, p)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// waitTick lets other goroutines run.
func waitTick() { runtime.Gosched() }

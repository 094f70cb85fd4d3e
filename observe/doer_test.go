package observe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// stage is a measured fake, with its metrics and window.
type stage struct {
	registry *Registry
	window   *Window
	doer     request.Doer
	route    *request.Route
}

func newStage(next request.DoerFunc) *stage {
	s := &stage{registry: NewRegistry(), window: NewWindow(WindowOptions{}), route: &request.Route{Name: "movie", Upstream: "m"}}
	s.doer = Doer(next, DoerOptions{Registry: s.registry, Window: s.window})
	return s
}

func (s *stage) get() (*request.Response, error) {
	return s.doer.Do(context.Background(), &request.Request{Route: s.route, Method: http.MethodGet})
}

func (s *stage) sample(t *testing.T, name, labels string) float64 {
	t.Helper()
	full := name + `{upstream="m",route="movie"` + labels + `}`
	v, ok := expose(t, s.registry).samples[full]
	if !ok {
		t.Errorf("there is no %s", full)
	}
	return v
}

func memory(status int, text string, c request.CacheStatus) *request.Response {
	return &request.Response{Status: status, Body: request.NewBody([]byte(text)), ContentLength: int64(len(text)), Cache: c}
}

// streamed is a body that is not in memory; read gives what comes.
type streamed struct {
	io.Reader
	closed bool
}

func (s *streamed) Close() error { s.closed = true; return nil }

func stream(r io.Reader, length int64) *request.Response {
	return &request.Response{Status: 200, Body: &streamed{Reader: r}, ContentLength: length}
}

func TestAMemoryBodyIsPassedOnAsItIs(t *testing.T) {
	answer := memory(200, "abc", request.CacheStatus{Hit: true, HasTTL: true, TTL: time.Second})
	body := answer.Body
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) { return answer, nil })
	got, err := s.get()
	if err != nil || got.Body != body {
		t.Fatalf("got %v, %v", got, err)
	}
	if v := s.sample(t, "penstock_requests_total", `,outcome="2xx"`); v != 1 {
		t.Errorf("%v requests were counted before the body was read", v)
	}
	if v := s.sample(t, "penstock_request_cache_total", `,result="hit"`); v != 1 {
		t.Errorf("%v hits", v)
	}
	if v := s.sample(t, "penstock_response_bytes_total", ""); v != 3 {
		t.Errorf("%v bytes", v)
	}
	if r := s.window.Signals(time.Minute).Routes[RouteName{"m", "movie"}].Requests; r.Count != 1 || r.HitRatio != 1 || r.InFlight != 0 {
		t.Errorf("the window has %+v", r)
	}
}

func TestAStreamIsMeasuredToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		s := newStage(func(context.Context, *request.Request) (*request.Response, error) { return stream(reader, -1), nil })
		answer, err := s.get()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(3 * time.Second)
			_, _ = writer.Write([]byte("abcd"))
			writer.Close()
		}()
		if v := s.sample(t, "penstock_requests_in_flight", ""); v != 1 {
			t.Errorf("%v are in flight while the body comes", v)
		}
		if b, err := io.ReadAll(answer.Body); err != nil || string(b) != "abcd" {
			t.Fatalf("read %q, %v", b, err)
		}
		answer.Body.Close()
		r := s.window.Signals(time.Minute).Total.Requests
		if r.Count != 1 || r.Mean != 3*time.Second || r.Bytes != 4 || r.Errors != 0 || r.InFlight != 0 {
			t.Errorf("the window has %+v", r)
		}
		if v := s.sample(t, "penstock_requests_total", `,outcome="2xx"`); v != 1 {
			t.Errorf("%v requests, want 1 although Close came after the end", v)
		}
	})
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestHowAStreamEndsIsItsOutcome(t *testing.T) {
	read := func(b io.ReadCloser) { _, _ = io.ReadAll(b); b.Close() }
	closeOnly := func(b io.ReadCloser) { b.Close() }
	plain := func(r io.Reader, n int64) *request.Response { return stream(struct{ io.Reader }{r}, n) }
	withWriterTo := func(text string) *request.Response {
		return &request.Response{Status: 200, ContentLength: -1, Body: struct {
			*bytes.Reader
			io.Closer
		}{bytes.NewReader([]byte(text)), io.NopCloser(nil)}}
	}
	for name, c := range map[string]struct {
		answer *request.Response
		use    func(io.ReadCloser)
		want   string
	}{
		"to the end":                {plain(strings.NewReader("ab"), -1), read, "2xx"},
		"closed early":              {plain(strings.NewReader("ab"), 2), closeOnly, "client-closed"},
		"all announced bytes read":  {plain(strings.NewReader("ab"), 2), func(b io.ReadCloser) { _, _ = io.ReadFull(b, make([]byte, 2)); b.Close() }, "2xx"},
		"empty and closed":          {plain(strings.NewReader(""), 0), closeOnly, "2xx"},
		"304 in a body of its own":  {&request.Response{Status: 304, Body: &streamed{Reader: strings.NewReader("")}, ContentLength: 10}, closeOnly, "3xx"},
		"304 with a length":         {&request.Response{Status: 304, Body: http.NoBody, ContentLength: 10}, closeOnly, "3xx"},
		"broken by the upstream":    {plain(failingReader{errors.New("reset")}, -1), read, "upstream-invalid"},
		"too large":                 {plain(failingReader{request.AnswerTooLarge(5)}, -1), read, "answer-too-large"},
		"deadline in the body":      {plain(failingReader{context.DeadlineExceeded}, -1), read, "deadline"},
		"written out":               {withWriterTo("abc"), func(b io.ReadCloser) { _, _ = b.(io.WriterTo).WriteTo(io.Discard); b.Close() }, "2xx"},
		"written to a client gone":  {withWriterTo("abc"), func(b io.ReadCloser) { _, _ = b.(io.WriterTo).WriteTo(failingWriter{}); b.Close() }, "client-closed"},
		"closed twice counts alone": {plain(strings.NewReader("ab"), -1), func(b io.ReadCloser) { read(b); b.Close() }, "2xx"},
	} {
		s := newStage(func(context.Context, *request.Request) (*request.Response, error) { return c.answer, nil })
		answer, err := s.get()
		if err != nil {
			t.Fatal(err)
		}
		c.use(answer.Body)
		if v := s.sample(t, "penstock_requests_total", `,outcome="`+c.want+`"`); v != 1 {
			t.Errorf("%s: %v requests of outcome %s", name, v, c.want)
		}
		if v := s.sample(t, "penstock_requests_in_flight", ""); v != 0 {
			t.Errorf("%s: %v in flight", name, v)
		}
	}
}

func TestAnErrorIsCountedByItsProblem(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx    context.Context
		err    error
		want   string
		failed uint64
	}{
		{context.Background(), request.Errorf(request.ProblemUpstreamDown, "down"), "upstream-down", 1},
		{context.Background(), request.Errorf(request.ProblemReducedCapacity, "full"), "temporary-reduced-capacity", 1},
		{context.Background(), request.Errorf(request.ProblemInvalidParams, "no"), "invalid-params", 0},
		{context.Background(), request.Errorf(request.ProblemOnlyIfCached, "no"), "only-if-cached", 0},
		{cancelled, context.Canceled, "client-closed", 0},
		{context.Background(), context.DeadlineExceeded, "deadline", 1},
		{context.Background(), errors.New("a bug"), "internal", 1},
	} {
		s := newStage(func(context.Context, *request.Request) (*request.Response, error) { return nil, c.err })
		if _, err := s.doer.Do(c.ctx, &request.Request{Route: s.route}); err != c.err {
			t.Errorf("the error became %v", err)
		}
		if v := s.sample(t, "penstock_requests_total", `,outcome="`+c.want+`"`); v != 1 {
			t.Errorf("%v requests of %s", v, c.want)
		}
		if r := s.window.Signals(time.Minute).Total.Requests; r.Errors != c.failed {
			t.Errorf("%s: %d errors, want %d", c.want, r.Errors, c.failed)
		}
	}
}

func TestBackgroundRequestsAreNotMeasured(t *testing.T) {
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) {
		return memory(200, "x", request.CacheStatus{}), nil
	})
	if _, err := s.doer.Do(context.Background(), &request.Request{Route: s.route, Background: true}); err != nil {
		t.Fatal(err)
	}
	if p := expose(t, s.registry); len(p.samples) != 0 || len(s.window.Signals(time.Minute).Routes) != 0 {
		t.Errorf("a prefetch was measured: %v", p.samples)
	}
}

func TestAPanicBehindLeavesNothingInFlight(t *testing.T) {
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) { panic("a bug") })
	func() {
		defer func() { _ = recover() }()
		_, _ = s.get()
	}()
	if v := s.sample(t, "penstock_requests_in_flight", ""); v != 0 {
		t.Errorf("%v in flight", v)
	}
	if v := s.sample(t, "penstock_requests_total", `,outcome="internal"`); v != 1 {
		t.Errorf("%v internal errors", v)
	}
}

func TestWhatTheCacheDid(t *testing.T) {
	for want, status := range map[cacheResult]request.CacheStatus{
		cacheNone:      {},
		cacheHit:       {Hit: true, HasTTL: true, TTL: 5},
		cacheStale:     {Hit: true, HasTTL: true, TTL: -5},
		cacheCoalesced: {Fwd: "miss", Collapsed: true},
		cacheMiss:      {Fwd: "uri-miss", Stored: true},
	} {
		if got := cacheResultOf(&status); got != want {
			t.Errorf("%+v is %s, want %s", status, got, want)
		}
	}
	if got := cacheResultOf(&request.CacheStatus{Fwd: "stale", FwdStatus: 503, HasTTL: true, TTL: -5, Detail: "stale-if-error"}); got != cacheStale {
		t.Errorf("stale-if-error is %s", got)
	}
	if got := cacheResultOf(&request.CacheStatus{Fwd: "stale", FwdStatus: 304, HasTTL: true, TTL: 60}); got != cacheMiss {
		t.Errorf("a revalidated answer is %s", got)
	}
	if got := cacheResultOf(&request.CacheStatus{Fwd: "method"}); got != cacheNone {
		t.Errorf("an unsafe method is %s", got)
	}
}

func TestAfterADropTheUpstreamIsCountedAnew(t *testing.T) {
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) {
		return memory(200, "x", request.CacheStatus{}), nil
	})
	_, _ = s.get()
	s.registry.DropUpstream("m")
	s.window.Forget("m")
	_, _ = s.get()
	if v := s.sample(t, "penstock_requests_total", `,outcome="2xx"`); v != 1 {
		t.Errorf("%v requests, want the one since the drop", v)
	}
	if n := s.window.Signals(time.Minute).Total.Requests.Count; n != 1 {
		t.Errorf("the window has %d requests, want 1", n)
	}
}

func TestNewRoutesForEverDoNotFillTheMemory(t *testing.T) {
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) {
		return memory(200, "x", request.CacheStatus{}), nil
	})
	for range 2*maxMeters + 100 {
		s.route = &request.Route{Name: "movie", Upstream: "m"}
		_, _ = s.get()
	}
	n := 0
	s.doer.(*measure).meters.Range(func(any, any) bool { n++; return true })
	if n > maxMeters {
		t.Errorf("%d meters are kept, want at most %d", n, maxMeters)
	}
	if v := s.sample(t, "penstock_requests_total", `,outcome="2xx"`); v != 2*maxMeters+100 {
		t.Errorf("%v requests were counted", v)
	}
}

func TestManyAtOnceAreAllCounted(t *testing.T) {
	s := newStage(func(_ context.Context, r *request.Request) (*request.Response, error) {
		return memory(200, "x", request.CacheStatus{Hit: true}), nil
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				_, _ = s.get()
			}
		})
	}
	wg.Wait()
	if v := s.sample(t, "penstock_request_duration_seconds_count", ""); v != 1600 {
		t.Errorf("%v of 1600 were counted", v)
	}
	if n := s.window.Signals(time.Minute).Total.Requests.Hits; n != 1600 {
		t.Errorf("%d of 1600 hits are in the window", n)
	}
}

func BenchmarkDoerAddsToAHit(b *testing.B) {
	answer := memory(200, "x", request.CacheStatus{Hit: true, HasTTL: true, TTL: 1})
	s := newStage(func(context.Context, *request.Request) (*request.Response, error) { return answer, nil })
	r := &request.Request{Route: s.route, Method: http.MethodGet}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.doer.Do(context.Background(), r)
	}
}

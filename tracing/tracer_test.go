package tracing

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/observe"
	"penstock/request"
)

var route = &request.Route{Upstream: "movies", Name: "movie"}

// held answers from memory.
type held struct{ answer request.Response }

func (h *held) Do(context.Context, *request.Request) (*request.Response, error) {
	return &h.answer, nil
}
func (h *held) Recall(*request.Request, time.Time) *request.Response { return &h.answer }

func newHeld() *held {
	return &held{request.Response{Status: 200, Header: http.Header{}, Body: request.NewBody(nil)}}
}

func newTracer() *Tracer { return New(observe.Discard(), slog.New(slog.DiscardHandler)) }

func (t *Tracer) on(tb testing.TB, o Options) {
	tb.Helper()
	o.Enabled, o.ServiceName = true, "test"
	commit, err := t.Prepare(o)
	if err != nil {
		tb.Fatal(err)
	}
	commit()
	tb.Cleanup(t.Close)
}

// stages are all stages in a row, over next.
func (t *Tracer) stages(next *held) request.Doer {
	calls := t.Calls("movies", next)
	return t.Requests(request.DoerFunc(func(ctx context.Context, r *request.Request) (*request.Response, error) {
		return t.Queue(ctx, r, calls)
	}))
}

func TestWhatIsNotTracedCostsNoAllocation(t *testing.T) {
	tracer := newTracer()
	s, r, now := tracer.stages(newHeld()), &request.Request{Route: route, Header: http.Header{}}, time.Now()
	recall := tracer.Requests(newHeld()).(request.Recaller)
	check := func(what string) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Do(t.Context(), r); recall.Recall(r, now) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	check("off")
	tracer.on(t, Options{Endpoint: "http://127.0.0.1:1/v1/traces", Timeout: time.Second, QueueSize: 16})
	check("not sampled")
	if r.Span != nil {
		t.Error("it has a span")
	}
}

func BenchmarkStagesThatAreOff(b *testing.B) {
	s, r := newTracer().stages(newHeld()), &request.Request{Route: route, Header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Do(b.Context(), r)
	}
}

func TestAnExportIsTriedAgainWhileThatMayHelp(t *testing.T) {
	for status, wantTries := range map[int]int32{503: 3, 400: 1, 307: 1} {
		var tries atomic.Int32
		c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tries.Add(1) < 3 {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			}
		}))
		tracer := newTracer()
		tracer.on(t, Options{Endpoint: c.URL + "/v1/traces", Timeout: 30 * time.Second, QueueSize: 16, SampleRatio: 1})
		if _, err := tracer.stages(newHeld()).Do(t.Context(), &request.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
		tracer.Close()
		sent, lost := tracer.Counts()
		if wantSent := wantTries == 3; tries.Load() != wantTries || sent+lost != 3 || (sent == 3) != wantSent {
			t.Errorf("%d: %d tries, %d sent, %d lost", status, tries.Load(), sent, lost)
		}
		c.Close()
	}
}

func TestAnAbsentCollectorIsCountedAndHoldsNobodyUp(t *testing.T) {
	tracer := newTracer()
	tracer.on(t, Options{Endpoint: "http://127.0.0.1:1/v1/traces", Timeout: 100 * time.Millisecond, QueueSize: 16, SampleRatio: 1})
	s := tracer.stages(newHeld())
	for range 1000 {
		if _, err := s.Do(t.Context(), &request.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
	}
	tracer.Close()
	if sent, lost := tracer.Counts(); sent != 0 || lost != 3000 {
		t.Errorf("%d sent, %d lost", sent, lost)
	}
}

func TestAWrongEndpointIsRefused(t *testing.T) {
	for _, endpoint := range []string{"", "collector:4318", "ftp://x/", "http://", ":"} {
		if _, err := newTracer().Prepare(Options{Enabled: true, Endpoint: endpoint}); err == nil || !strings.Contains(err.Error(), "tracing.endpoint") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestAPanicAndAnErrorEndTheirSpans(t *testing.T) {
	var bodies atomic.Int32
	c := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { bodies.Add(1) }))
	defer c.Close()
	tracer := newTracer()
	tracer.on(t, Options{Endpoint: c.URL, Timeout: 30 * time.Second, QueueSize: 16, SampleRatio: 1})
	broken := tracer.Requests(request.DoerFunc(func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Method == "PANIC" {
			panic("on purpose")
		}
		return nil, errors.New("broken")
	}))
	if _, err := broken.Do(t.Context(), &request.Request{Route: route}); err == nil {
		t.Error("no error")
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = broken.Do(t.Context(), &request.Request{Route: route, Method: "PANIC"})
	}()
	tracer.Close()
	if sent, lost := tracer.Counts(); sent != 2 || lost != 0 {
		t.Errorf("%d sent, %d lost", sent, lost)
	}
}

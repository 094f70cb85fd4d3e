package observe

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"penstock/request"
)

// DoerOptions sets up the measuring stage.
type DoerOptions struct {
	// Registry takes the metrics; nil: none are made.
	Registry *Registry
	// Window takes the requests for the signals; nil: none.
	Window *Window
}

// Doer returns the end-to-end measuring stage, which stands in front of the cache. For each route it
// makes the metrics
//
//	penstock_requests_total{upstream,route,outcome}
//	penstock_request_duration_seconds{upstream,route}
//	penstock_request_cache_total{upstream,route,result}
//	penstock_requests_in_flight{upstream,route}
//	penstock_response_bytes_total{upstream,route}
//
// where outcome is the class of the answer's status ("2xx") or the name of the problem, and result is
// "hit", "stale", "coalesced", "miss" or "bypass".
//
// Background requests pass unmeasured: they are Penstock's own, and nobody waits for them.
//
// An answer held in memory ([request.Body]), or none at all ([http.NoBody]), is passed on as it is, so that it can still write itself,
// and counts as done on return. Any other answer's body is wrapped, and the request lasts until
// that body ended or was closed.
func Doer(next request.Doer, o DoerOptions) request.Doer {
	if o.Registry == nil {
		o.Registry = NewRegistry()
	}
	if o.Window == nil {
		o.Window = NewWindow(WindowOptions{Span: 10 * time.Second})
	}
	describeRequests(o.Registry.Process())
	m := &measure{next: next, registry: o.Registry, window: o.Window}
	m.recaller, _ = next.(request.Recaller)
	return m
}

func describeRequests(s *Scope) {
	s.Help("penstock_requests_total", "Requests that ended, by status class or problem.")
	s.Help("penstock_request_duration_seconds", "Time from a request's arrival at the first stage to the end of its answer.")
	s.Help("penstock_request_cache_total", "Requests by what the cache did with them.")
	s.Help("penstock_requests_in_flight", "Requests under way.")
	s.Help("penstock_response_bytes_total", "Bytes of answers' bodies handed to clients.")
}

// maxMeters bounds the look-up table of meters. Reloads make new Routes, whose predecessors' entries
// would pile up; the table is only a shortcut and may be emptied at any time.
const maxMeters = 4096

type measure struct {
	next     request.Doer
	recaller request.Recaller // next, if it is one
	registry *Registry
	window   *Window

	meters sync.Map // *request.Route to *meter
	count  atomic.Int64
}

func (m *measure) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	if r.Background {
		return m.next.Do(ctx, r)
	}
	t := m.meter(r.Route)
	start := time.Now()
	t.inFlight.Add(1)
	t.window.inFlight.Add(1)
	returned := false
	defer func() {
		// A panic is caught further out; it must not leave the request in flight for ever.
		if !returned {
			m.finish(t, start, string(request.ProblemInternal), cacheNone, 0)
		}
	}()
	answer, err := m.next.Do(ctx, r)
	returned = true
	if err != nil {
		m.finish(t, start, outcomeOf(ctx, err), cacheNone, 0)
		return nil, err
	}
	result := cacheResultOf(&answer.Cache)
	switch b := answer.Body.(type) {
	case *request.Body:
		m.finish(t, start, statusClass(answer.Status), result, int64(b.Len()))
		return answer, nil
	default:
		if b == http.NoBody {
			m.finish(t, start, statusClass(answer.Status), result, 0)
			return answer, nil
		}
	}
	answer.Body = newMeasuredBody(answer, bodyLength(r.Method, answer), func(outcome string, bytes int64) {
		m.finish(t, start, outcome, result, bytes)
	})
	return answer, nil
}

// Recall implements [request.Recaller]: what the next stage knows by heart is measured as by Do.
func (m *measure) Recall(r *request.Request, now time.Time) *request.Response {
	if m.recaller == nil || r.Background {
		return nil
	}
	answer := m.recaller.Recall(r, now)
	if answer == nil {
		return nil
	}
	var bytes int64
	if b, ok := answer.Body.(*request.Body); ok {
		bytes = int64(b.Len())
	}
	m.record(m.meter(r.Route), now, time.Since(now), statusClass(answer.Status), cacheResultOf(&answer.Cache), bytes)
	return answer
}

func (m *measure) finish(t *meter, start time.Time, outcome string, result cacheResult, bytes int64) {
	t.inFlight.Add(-1)
	t.window.inFlight.Add(-1)
	m.record(t, start, time.Since(start), outcome, result, bytes)
}

func (m *measure) record(t *meter, start time.Time, d time.Duration, outcome string, result cacheResult, bytes int64) {
	t.outcome(outcome).Inc()
	t.duration.Update(d.Seconds())
	t.results[result].Inc()
	t.bytes.AddInt64(bytes)
	m.window.onRequest(t.window, finished{
		at: start.Add(d), duration: d, bytes: bytes, failed: failedOutcome(outcome), cache: result,
	})
}

// meter is where the requests of one route are counted.
type meter struct {
	registryGeneration, windowGeneration uint64

	scope    *Scope
	outcomes sync.Map // string to *metrics.Counter
	classes  [6]atomic.Pointer[metrics.Counter]
	duration *metrics.PrometheusHistogram
	results  [cacheResults]*metrics.Counter
	inFlight *Level
	bytes    *metrics.Counter
	window   *routeWindow
}

// meter returns the route's meter, made anew when the metrics or the window of its upstream were
// dropped since.
func (m *measure) meter(r *request.Route) *meter {
	rg, wg := m.registry.generation.Load(), m.window.generation.Load()
	if v, ok := m.meters.Load(r); ok {
		if t := v.(*meter); t.registryGeneration == rg && t.windowGeneration == wg {
			return t
		}
	}
	s := m.registry.Upstream(r.Upstream).With("route", r.Name)
	t := &meter{
		registryGeneration: rg, windowGeneration: wg,
		scope:    s,
		duration: s.Histogram("penstock_request_duration_seconds"),
		inFlight: s.Level("penstock_requests_in_flight"),
		bytes:    s.Counter("penstock_response_bytes_total"),
		window:   m.window.route(RouteName{r.Upstream, r.Name}),
	}
	for i := range t.results {
		t.results[i] = s.With("result", cacheResult(i).String()).Counter("penstock_request_cache_total")
	}
	if _, replaced := m.meters.Swap(r, t); !replaced && m.count.Add(1) > maxMeters {
		m.meters.Clear()
		m.count.Store(0)
	}
	return t
}

// outcome returns the counter of an outcome. There are few: five classes and the problems.
func (t *meter) outcome(name string) *metrics.Counter {
	class := -1
	if len(name) == 3 && name[1:] == "xx" {
		class = int(name[0] - '0')
		if c := t.classes[class].Load(); c != nil {
			return c
		}
	} else if c, ok := t.outcomes.Load(name); ok {
		return c.(*metrics.Counter)
	}
	c := t.scope.With("outcome", name).Counter("penstock_requests_total")
	if class >= 0 {
		t.classes[class].Store(c)
	} else {
		t.outcomes.Store(name, c)
	}
	return c
}

var classes = [6]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

func statusClass(status int) string {
	if c := status / 100; c >= 1 && c <= 5 {
		return classes[c]
	}
	return classes[0]
}

// outcomeOf names the outcome of a request that ended without an answer, or whose answer broke off.
func outcomeOf(ctx context.Context, err error) string {
	var e *request.Error
	switch {
	case errors.As(err, &e):
		return string(e.Problem)
	case ctx != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return string(request.ProblemDeadline)
	case errors.Is(err, context.Canceled), ctx != nil && ctx.Err() != nil:
		return string(request.ProblemClientClosed)
	}
	return string(request.ProblemInternal)
}

// failedOutcome reports whether an outcome counts as an error of the service: a 5xx answer, or a
// problem that is neither the client's fault nor its own going away.
func failedOutcome(outcome string) bool {
	if len(outcome) == 3 && outcome[1:] == "xx" {
		return outcome[0] == '5' || outcome[0] == '0'
	}
	p := request.Problem(outcome)
	if p == request.ProblemOnlyIfCached {
		return false
	}
	return p.Status() >= 500
}

// cacheResult is what the cache did, as a metric label.
type cacheResult uint8

const (
	cacheNone cacheResult = iota
	cacheHit
	cacheStale
	cacheCoalesced
	cacheMiss
	cacheResults
)

// String gives the label.
func (c cacheResult) String() string {
	return [...]string{"bypass", "hit", "stale", "coalesced", "miss"}[c]
}

func cacheResultOf(s *request.CacheStatus) cacheResult {
	switch {
	case s.Hit && s.HasTTL && s.TTL < 0:
		return cacheStale
	case s.Hit:
		return cacheHit
	case s.Collapsed:
		return cacheCoalesced
	}
	switch s.Fwd {
	case "":
		return cacheNone
	case "bypass", "method", "request":
		return cacheNone
	case "stale":
		// Answered by the store although it was forwarded (stale-if-error): the upstream's own
		// answer has no negative freshness.
		if s.HasTTL && s.TTL < 0 {
			return cacheStale
		}
	}
	return cacheMiss
}

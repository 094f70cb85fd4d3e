package tracing

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"penstock/observe"
	"penstock/request"
)

// Options say whether and where spans are sent.
type Options struct {
	// Enabled false makes no spans; the rest then counts for nothing.
	Enabled bool
	// Endpoint is the collector's URL with its path, such as http://collector:4318/v1/traces.
	Endpoint string
	// Header goes with each export, such as credentials.
	Header http.Header
	// SampleRatio is the share of requests that are traced, 0 to 1, where no client has decided.
	SampleRatio float64
	// FollowParent lets a client's traceparent decide.
	FollowParent bool
	// ServiceName and Version name this service in the spans.
	ServiceName, Version string
	// Timeout bounds one export with its retries, and the flush at the end.
	Timeout time.Duration
	// QueueSize bounds the spans that wait for export.
	QueueSize int
}

// flushInterval is how long a span waits at most for others to be exported with.
const flushInterval = time.Second

// limits bound what one span can hold. A batch links to its first members only, if there are more.
var limits = sdktrace.SpanLimits{
	AttributeValueLengthLimit: 256, AttributeCountLimit: 32, EventCountLimit: 16, LinkCountLimit: 512,
	AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
}

// Tracer makes the spans. Make it with New, switch it with Prepare, end it with Close.
type Tracer struct {
	live   atomic.Pointer[provider] // nil: off
	counts counts
	log    *slog.Logger

	mu      sync.Mutex // guards options
	options Options
	retired sync.WaitGroup
}

// New returns a Tracer that is off. It makes the metric
//
//	penstock_trace_spans_total{result}
//
// where result is "sent" or "lost".
func New(s *observe.Scope, log *slog.Logger) *Tracer {
	s.Help("penstock_trace_spans_total", "Spans that were sent to the collector, or lost because it was away or too slow.")
	return &Tracer{log: log, counts: counts{
		sent: s.With("result", "sent").Counter("penstock_trace_spans_total"),
		lost: s.With("result", "lost").Counter("penstock_trace_spans_total"),
	}}
}

// Prepare checks o; nothing changes until commit is called, which can't fail. Spans that wait under the options
// before are still sent, in the background.
func (t *Tracer) Prepare(o Options) (commit func(), err error) {
	if !o.Enabled {
		o = Options{}
	} else if err := checkEndpoint(o.Endpoint); err != nil {
		return nil, err
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if reflect.DeepEqual(o, t.options) {
			return
		}
		t.options = o
		var p *provider
		if o.Enabled {
			p = newProvider(o, &t.counts, t.log)
		}
		if old := t.live.Swap(p); old != nil {
			t.retired.Go(old.close)
		}
	}, nil
}

// Close sends what waits, at most for the timeout, and switches the Tracer off.
func (t *Tracer) Close() {
	commit, _ := t.Prepare(Options{})
	commit()
	t.retired.Wait()
}

// provider is the tracing of one set of options.
type provider struct {
	o      Options
	sdk    *sdktrace.TracerProvider
	tracer trace.Tracer
	queue  *queue
	client *client
}

func newProvider(o Options, c *counts, log *slog.Logger) *provider {
	cl := newClient(o)
	q := newQueue(otlptrace.NewUnstarted(cl), o, c, log)
	sdk := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // decide has decided
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.ServiceName), attribute.String("service.version", o.Version))),
		sdktrace.WithSpanProcessor(q),
	)
	return &provider{o: o, sdk: sdk, tracer: sdk.Tracer("penstock"), queue: q, client: cl}
}

func (p *provider) close() {
	ctx, cancel := context.WithTimeout(context.Background(), p.o.Timeout)
	defer cancel()
	_ = p.sdk.Shutdown(ctx) // what is lost by it is counted
	p.queue.abandon()
	p.client.close()
}

// w3c reads and writes traceparent and tracestate.
var w3c propagation.TraceContext

// decide says whether r is traced, and gives a context with its parent, if it has one.
func (p *provider) decide(r *request.Request) (context.Context, bool) {
	ctx := context.Background()
	if len(r.Header["Traceparent"]) > 0 && !r.NewTrace {
		ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
		if parent := trace.SpanContextFromContext(ctx); parent.IsValid() && p.o.FollowParent {
			return ctx, parent.IsSampled()
		}
	}
	return ctx, rand.Float64() < p.o.SampleRatio
}

// Counts are how many spans were sent and lost in all.
func (t *Tracer) Counts() (sent, lost uint64) { return t.counts.sent.Get(), t.counts.lost.Get() }

package tracing

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"penstock/observe"
	"penstock/request"
)

// Requests returns the stage in front of all others: it decides whether a request is traced and makes its span,
// which lasts until the answer's body has ended. Background requests are not traced: nobody waits for them.
func (t *Tracer) Requests(next request.Doer) request.Doer {
	s := &requests{t: t, next: next}
	s.recaller, _ = next.(request.Recaller)
	return s
}

type requests struct {
	t        *Tracer
	next     request.Doer
	recaller request.Recaller // next, if it is one
}

func (s *requests) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	p := s.t.live.Load()
	if p == nil || r.Background {
		return s.next.Do(ctx, r)
	}
	parent, sampled := p.decide(r)
	if !sampled {
		return s.next.Do(ctx, r)
	}
	span := p.request(parent, r, r.Arrived)
	r.Span = span
	return follow(span, func() (*request.Response, error) { return s.next.Do(ctx, r) })
}

// Recall implements [request.Recaller]; the span is made after the fact.
func (s *requests) Recall(r *request.Request, now time.Time) *request.Response {
	if s.recaller == nil {
		return nil
	}
	answer := s.recaller.Recall(r, now)
	p := s.t.live.Load()
	if p == nil || answer == nil || r.Background {
		return answer
	}
	if parent, sampled := p.decide(r); sampled {
		span := p.request(parent, r, now)
		answered(span, answer)
		span.End()
	}
	return answer
}

func (p *provider) request(parent context.Context, r *request.Request, start time.Time) trace.Span {
	if start.IsZero() {
		start = time.Now()
	}
	_, span := p.tracer.Start(parent, "request "+r.Route.Upstream+"/"+r.Route.Name, trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("penstock.request_id", r.ID),
			attribute.String("penstock.upstream", r.Route.Upstream), attribute.String("penstock.route", r.Route.Name),
			attribute.Int("penstock.urgency", int(r.Urgency()))))
	return span
}

// spanOf is the span that r carries, nil if it is not traced.
func spanOf(r *request.Request) trace.Span {
	s, _ := r.Span.(trace.Span)
	return s
}

// under is a context in which s is the parent. It ends with nothing and carries nothing else.
func under(s trace.Span) context.Context { return trace.ContextWithSpan(context.Background(), s) }

// Queue hands r to a scheduler, and makes the span of its wait, after the fact, of what the answer tells of it.
func (t *Tracer) Queue(ctx context.Context, r *request.Request, scheduler request.Doer) (*request.Response, error) {
	p := t.live.Load()
	if p == nil {
		return scheduler.Do(ctx, r)
	}
	parent := spanOf(r)
	if parent == nil {
		return scheduler.Do(ctx, r)
	}
	start := time.Now()
	answer, err := scheduler.Do(ctx, r)
	waited := time.Duration(0)
	var e *request.Error
	switch {
	case err == nil:
		waited = answer.Timing.Queue
	case errors.As(err, &e) && e.Timing.Queue > 0:
		waited = e.Timing.Queue
	case !r.Started(): // refused, or given up while it waited
		waited = time.Since(start)
	}
	_, span := p.tracer.Start(under(parent), "queue "+r.Route.Upstream, trace.WithTimestamp(start))
	if err != nil && !r.Started() {
		failed(span, err)
	}
	span.End(trace.WithTimestamp(start.Add(waited)))
	return answer, err
}

// Batches returns the stage between scheduler and batcher. A batch has a trace of its own, since it has many
// parents: it links to each traced member, and each member to it.
func (t *Tracer) Batches(next request.BatchDoer) request.BatchDoer { return &batches{next, t} }

type batches struct {
	request.BatchDoer
	t *Tracer
}

func (s *batches) DoBatch(ctx context.Context, members []*request.Request) []request.Result {
	p := s.t.live.Load()
	if p == nil {
		return s.BatchDoer.DoBatch(ctx, members)
	}
	var links []trace.Link
	for _, m := range members {
		if span := spanOf(m); span != nil {
			links = append(links, trace.Link{SpanContext: span.SpanContext()})
		}
	}
	if len(links) == 0 {
		return s.BatchDoer.DoBatch(ctx, members)
	}
	route := members[0].Route
	_, span := p.tracer.Start(context.Background(), "batch "+route.Upstream+"/"+route.Name, trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("penstock.upstream", route.Upstream), attribute.String("penstock.route", route.Name),
		attribute.Int("penstock.batch.members", len(members))))
	defer span.End()
	for _, m := range members {
		if member := spanOf(m); member != nil {
			member.AddLink(trace.Link{SpanContext: span.SpanContext()})
		}
	}
	return s.BatchDoer.DoBatch(trace.ContextWithSpan(ctx, span), members)
}

// Calls returns the stage in front of an upstream's client. Its span is that of one call with its retries, until
// the answer's body has ended, and it is the parent that the upstream is told.
func (t *Tracer) Calls(upstream string, next request.Doer) request.Doer {
	return &calls{t, upstream, next}
}

type calls struct {
	t        *Tracer
	upstream string
	next     request.Doer
}

func (s *calls) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	p := s.t.live.Load()
	if p == nil {
		return s.next.Do(ctx, r)
	}
	parent := trace.SpanFromContext(ctx) // of a batch
	if !parent.SpanContext().IsValid() {
		if parent = spanOf(r); parent == nil {
			return s.next.Do(ctx, r)
		}
	}
	_, span := p.tracer.Start(under(parent), "call "+s.upstream, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("penstock.upstream", s.upstream),
		attribute.Int("penstock.items", max(1, r.Items))))
	ctx = observe.WithTrace(ctx, outgoing(span.SpanContext()))
	return follow(span, func() (*request.Response, error) { return s.next.Do(ctx, r) })
}

// outgoing is what tells an upstream its parent.
func outgoing(s trace.SpanContext) observe.Trace {
	return observe.Trace{
		Parent: "00-" + s.TraceID().String() + "-" + s.SpanID().String() + "-" + s.TraceFlags().String(),
		State:  s.TraceState().String(),
	}
}

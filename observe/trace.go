package observe

import "context"

// Trace is what an upstream is told of the trace that a call belongs to (W3C Trace Context): the values of
// traceparent and tracestate.
type Trace struct{ Parent, State string }

type traceKey struct{}

// WithTrace gives a context whose call tells the upstream t, in place of what its client sent. It goes by the
// context, not by the request's header, which a flight's waiters read meanwhile.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is what WithTrace gave; the zero Trace: nothing, and what the client sent is passed on.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

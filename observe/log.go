package observe

import (
	"context"
	"log/slog"
)

type requestIDKey struct{}

// WithRequestID returns a context whose log lines carry the request's id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id that WithRequestID put into ctx, empty if none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// NewLogHandler returns a handler that hands its records to next with request_id added, at the top
// level, when the context of the log call has one.
func NewLogHandler(next slog.Handler) slog.Handler { return &logHandler{root: next, next: next} }

type logHandler struct {
	root slog.Handler // next without the steps
	next slog.Handler // root with all steps done
	// steps are the With calls since the first WithGroup. They are done anew for a record with an id,
	// since an attribute that is added behind a group would land in it.
	steps []func(slog.Handler) slog.Handler
}

// Enabled asks the handler behind.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle adds the id and passes the record on.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	id := RequestID(ctx)
	if id == "" {
		return h.next.Handle(ctx, r)
	}
	attr := slog.String("request_id", id)
	if len(h.steps) == 0 {
		r = r.Clone()
		r.AddAttrs(attr)
		return h.next.Handle(ctx, r)
	}
	next := h.root.WithAttrs([]slog.Attr{attr})
	for _, step := range h.steps {
		next = step(next)
	}
	return next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.steps) == 0 {
		next := h.next.WithAttrs(attrs)
		return &logHandler{root: next, next: next}
	}
	return h.step(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.step(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *logHandler) step(f func(slog.Handler) slog.Handler) slog.Handler {
	steps := append(h.steps[:len(h.steps):len(h.steps)], f)
	return &logHandler{root: h.root, next: f(h.next), steps: steps}
}

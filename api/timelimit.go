package api

import (
	"context"
	"sync"
	"time"

	"penstock/request"
)

// timeLimit is a context that ends at a time, like context.WithDeadline's, but makes the timer and all
// that belongs to it only when somebody waits for its end: a cached hit never does.
type timeLimit struct {
	parent context.Context
	at     time.Time
	length time.Duration // for the message

	mu       sync.Mutex // guards what follows
	ctx      context.Context
	cancel   context.CancelFunc
	released bool
}

var _ context.Context = (*timeLimit)(nil)

// bind ends the exchange at the request's deadline, if it has one. Call release when the exchange is over.
func (x *exchange) bind(req *request.Request) {
	if req.Deadline.IsZero() {
		return
	}
	x.limited.parent, x.limited.at, x.limited.length = x.Context, req.Deadline, req.Deadline.Sub(req.Arrived)
	x.Context = &x.limited
}

// release frees what waiting for the end of the exchange took.
func (x *exchange) release() { x.limited.release() }

func (l *timeLimit) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	if l.cancel != nil {
		l.cancel()
	}
}

// arm makes the real context. The cause at its end is what the client is told.
func (l *timeLimit) arm() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithDeadlineCause(l.parent, l.at, &request.Error{
			Problem: request.ProblemDeadline,
			Detail: "no answer within the " + l.length.String() + " that the request, server.default_deadline or " +
				"workers.request_timeout allows; allow more, or ask with a smaller urgency number",
			Err: context.DeadlineExceeded,
		})
		if l.released {
			l.cancel()
		}
	}
	return l.ctx
}

// armed is the real context if there is need for one, else the parent.
func (l *timeLimit) armed() context.Context {
	l.mu.Lock()
	ctx := l.ctx
	l.mu.Unlock()
	if ctx == nil && !time.Now().Before(l.at) {
		return l.arm()
	}
	if ctx == nil {
		return l.parent
	}
	return ctx
}

// Deadline implements context.Context.
func (l *timeLimit) Deadline() (time.Time, bool) {
	if at, ok := l.parent.Deadline(); ok && at.Before(l.at) {
		return at, true
	}
	return l.at, true
}

// Done implements context.Context.
func (l *timeLimit) Done() <-chan struct{} { return l.arm().Done() }

// Err implements context.Context.
func (l *timeLimit) Err() error { return l.armed().Err() }

// Value implements context.Context. context.Cause asks for the innermost context that can be
// cancelled by it.
func (l *timeLimit) Value(key any) any { return l.armed().Value(key) }

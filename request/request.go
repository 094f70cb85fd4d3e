package request

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Request is one question to an upstream, on its way through the stages.
//
// For a declared route it is made by [Route.Build]; for the proxy path by api. Either way the
// wire form (Method, Path, RawQuery, Header, body) is complete, so stages need not know which.
type Request struct {
	// ID names the request in logs and problem documents (a UUIDv7).
	ID string
	// Route is never nil; for the proxy path it is the upstream's implicit "proxy" route.
	Route *Route
	// Params are the values that Build was given, with defaults filled in; nil on the proxy path.
	Params map[string]any

	// Method, Path and RawQuery are the wire form. Path is escaped, begins with "/" and is
	// relative to the upstream's base URL.
	Method, Path, RawQuery string
	// Header holds the end-to-end headers to send. The Request owns it.
	Header http.Header
	// Data is the whole body when it is held in memory (and may then be sent again).
	Data []byte
	// Stream is a body too large to hold; it can be sent once. At most one of Data and Stream
	// is set.
	Stream io.ReadCloser
	// StreamLength is the length of Stream in bytes, -1 if unknown.
	StreamLength int64

	// Key is the canonical string by which the request is cached and coalesced. Empty: it is
	// neither.
	Key string
	// Tenant is who asks; empty is the one tenant of an installation without tenants.
	Tenant string
	// Client tells the clients of a tenant apart, as far as the connection shows; empty: unknown.
	Client string
	// Arrived is when the request reached Penstock.
	Arrived time.Time
	// Deadline is when the answer stops being wanted; zero: never. The context given to Do ends
	// then too; Deadline is for predictions.
	Deadline time.Time
	// Background marks work that nobody waits for (prefetch, refresh): it runs only on permits
	// that nobody else wants, until a real request joins it (see Join, InBackground).
	Background bool
	// Items is how many requests an upstream call made by the batcher serves; 0 counts as 1.
	Items int
	// Span is the span of the request where it is traced, nil where not; only package tracing knows its type. A
	// call that others wait for has that of the one who began it.
	Span any
	// NewTrace: the traceparent in Header is our own, in place of one that could not be read.
	NewTrace bool
	// Interim, if not nil, takes the interim answers. A stage may leave it out.
	Interim InterimWriter

	urgency atomic.Int32
	started atomic.Bool
	joined  atomic.Bool

	mu        sync.Mutex // guards onPromote
	onPromote func(Urgency)
}

// Urgency returns the present urgency.
func (r *Request) Urgency() Urgency { return Urgency(r.urgency.Load()) }

// SetUrgency sets the urgency before the request is handed to a stage.
func (r *Request) SetUrgency(u Urgency) { r.urgency.Store(int32(min(u, LeastUrgent))) }

// Promote makes the request at least as urgent as u, because a waiter of that urgency joined it.
// The stage that queues the request learns of it through OnPromote. It reports whether anything
// changed. Safe for concurrent use.
func (r *Request) Promote(u Urgency) bool {
	for {
		old := r.urgency.Load()
		if int32(u) >= old {
			return false
		}
		if r.urgency.CompareAndSwap(old, int32(u)) {
			break
		}
	}
	r.mu.Lock()
	f := r.onPromote
	r.mu.Unlock()
	if f != nil {
		f(r.Urgency())
	}
	return true
}

// OnPromote registers the one function that Promote calls, nil to remove it. The function runs
// on the promoter's goroutine with no lock of the Request held. Safe for concurrent use.
func (r *Request) OnPromote(f func(Urgency)) {
	r.mu.Lock()
	r.onPromote = f
	r.mu.Unlock()
}

// MarkStarted records that the upstream call has begun: from here on abandoning the request no
// longer saves the upstream any work. Safe for concurrent use.
func (r *Request) MarkStarted() { r.started.Store(true) }

// Started reports whether the upstream call has begun. Safe for concurrent use.
func (r *Request) Started() bool { return r.started.Load() }

// Safe reports whether the method is safe in the sense of RFC 9110, section 9.2.1.
func (r *Request) Safe() bool { return SafeMethod(r.Method) }

// Replayable reports whether the body can be sent again.
func (r *Request) Replayable() bool { return r.Stream == nil }

// SafeMethod reports whether m is safe (RFC 9110, section 9.2.1).
func SafeMethod(m string) bool {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// IdempotentMethod reports whether m is idempotent (RFC 9110, section 9.2.2).
func IdempotentMethod(m string) bool {
	return SafeMethod(m) || m == http.MethodPut || m == http.MethodDelete
}

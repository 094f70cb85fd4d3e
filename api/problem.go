package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"penstock/request"
)

// problemDoc is an RFC 9457 problem document.
type problemDoc struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Instance  string `json:"instance,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Upstream  string `json:"upstream,omitempty"`
	// RetryAfter is in seconds; only in the lines of a batch, which have no headers for it.
	RetryAfter int64   `json:"retry_after,omitempty"`
	Errors     []Fault `json:"errors,omitempty"`
}

// Fault is one entry of a problem document's errors.
type Fault struct {
	// Pointer is an RFC 6901 JSON pointer into the input, or a header's name.
	Pointer string `json:"pointer,omitempty"`
	Detail  string `json:"detail"`
	// File, Line and Key say where in the configuration the fault is.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Key  string `json:"key,omitempty"`
	// Suggestion is what was probably meant.
	Suggestion string `json:"suggestion,omitempty"`
}

// RejectedError is what a provider of the admin plane returns when it understood but refuses
// what it was given: it is answered as 422 with all Faults.
type RejectedError struct {
	Detail string
	Faults []Fault
}

// Error gives the detail.
func (e *RejectedError) Error() string { return e.Detail }

// fault is a problem on its way to the client: the typed error and the faults beside it.
type fault struct {
	*request.Error
	faults []Fault
}

// classify finds what the client should be told about err. ctx is the request's own context,
// whose cause is a *request.Error once its deadline passed.
func classify(ctx context.Context, err error) fault {
	if ctx.Err() != nil {
		if cause, ok := errors.AsType[*request.Error](context.Cause(ctx)); ok && (errors.Is(err, cause) ||
			errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
			return fault{Error: cause}
		}
	}
	if e, ok := errors.AsType[*RejectedError](err); ok {
		return fault{&request.Error{Problem: request.ProblemUnprocessable, Detail: e.Detail, Err: err}, e.Faults}
	}
	if e, ok := errors.AsType[*request.Error](err); ok {
		faults := make([]Fault, len(e.Fields))
		for i, f := range e.Fields {
			faults[i] = Fault{Pointer: f.Pointer, Detail: f.Detail}
		}
		return fault{e, faults}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault{Error: &request.Error{Problem: request.ProblemUpstreamTimeout, Err: err,
			Detail: "the upstream did not answer within its timeout; raise the timeout of the route or the upstream if that is usual"}}
	}
	return fault{Error: &request.Error{Problem: request.ProblemInternal, Err: err,
		Detail: "something broke inside; the log has the cause under this request_id"}}
}

func (f fault) document(id, instance string) problemDoc {
	return problemDoc{Type: f.Problem.Type(), Title: f.Problem.Title(), Status: f.Problem.Status(), Detail: f.Detail,
		Instance: instance, RequestID: id, Upstream: f.Upstream, Errors: f.faults}
}

// fail answers err as a problem document. A client that has gone gets nothing but a line in the
// log.
func (p *plane) fail(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	if x.clientGone() {
		x.status = request.ProblemClientClosed.Status()
		p.log.DebugContext(x, "the client hung up", "method", r.Method, "path", r.URL.Path, "error", err)
		return
	}
	f := classify(x, err)
	p.logFault(x, f, err)
	b, _ := json.Marshal(f.document(x.id, r.URL.EscapedPath())) // strings and numbers always encode
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(f.RetryAfter))
	}
	if token := proxyError(f.Error); token != "" {
		h.Set("Proxy-Status", "penstock; error="+token)
	}
	x.status = f.Problem.Status()
	w.WriteHeader(x.status)
	_, _ = w.Write(append(b, '\n'))
}

// logFault logs what an operator should look at: our own faults as errors, failures on the
// upstream's side as warnings, and what is the client's business for debugging only.
func (p *plane) logFault(x *exchange, f fault, err error) {
	switch {
	case f.Problem == request.ProblemInternal:
		p.log.ErrorContext(x, "a request failed inside", "error", err)
	case f.Problem == request.ProblemShuttingDown && f.Upstream == "":
		p.log.DebugContext(x, "not ready", "error", err) // a probe that asks while draining
	case f.Problem.Status() >= 500:
		if !p.warnings.Allow() {
			p.unlogged.Add(1)
			return
		}
		p.log.WarnContext(x, "a request failed", "problem", string(f.Problem), "upstream", f.Upstream, "error", err,
			"cause", f.Err, "not_logged", p.unlogged.Swap(0))
	default:
		p.log.DebugContext(x, "a request was refused", "problem", string(f.Problem), "error", err)
	}
}

// clientGone reports whether the context ended because the client left, not because a deadline
// passed.
func (x *exchange) clientGone() bool {
	if x.Err() == nil {
		return false
	}
	_, deadline := errors.AsType[*request.Error](context.Cause(x))
	return !deadline
}

// retryAfter is whole seconds, rounded up, at least 1: RFC 9110 has no fractions, and 0 would
// invite a storm.
func retryAfter(d time.Duration) string { return strconv.FormatInt(retryAfterSeconds(d), 10) }

func retryAfterSeconds(d time.Duration) int64 { return max(1, int64(math.Ceil(d.Seconds()))) }

// proxyError is the RFC 9209 error type of e, "" if the upstream had no part in it.
func proxyError(e *request.Error) string {
	if e.ProxyStatus != "" {
		return e.ProxyStatus
	}
	switch e.Problem {
	case request.ProblemUpstreamDown, request.ProblemBreakerOpen:
		return "destination_unavailable"
	case request.ProblemUpstreamInvalid:
		return "http_protocol_error"
	case request.ProblemAnswerTooLarge:
		return "http_response_body_size"
	case request.ProblemUpstreamTimeout:
		return "http_response_timeout"
	}
	return ""
}

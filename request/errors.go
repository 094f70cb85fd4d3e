package request

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Problem is the stable name of one kind of failure; [Problem.Type] makes it the type URI of an
// RFC 9457 problem document. All of them are explained in docs/problems.md.
type Problem string

// The problems that Penstock itself makes.
const (
	ProblemBadRequest       Problem = "bad-request"        // 400: the request can't be understood
	ProblemInvalidParams    Problem = "invalid-params"     // 400: a param is missing, unknown or malformed
	ProblemUnauthorized     Problem = "unauthorized"       // 401: no or unknown API key
	ProblemForbidden        Problem = "forbidden"          // 403: known, but not allowed
	ProblemUnknownRoute     Problem = "unknown-route"      // 404: no such route
	ProblemUnknownUpstream  Problem = "unknown-upstream"   // 404: no such upstream
	ProblemNotFound         Problem = "not-found"          // 404: no such resource of Penstock's own
	ProblemMethodNotAllowed Problem = "method-not-allowed" // 405
	ProblemConflict         Problem = "conflict"           // 409: not in the state that the thing is in
	ProblemBodyTooLarge     Problem = "body-too-large"     // 413: the request's body is over the limit
	ProblemUnprocessable    Problem = "unprocessable"      // 422: understood, but refused (e.g. a bad config)
	ProblemRateLimited      Problem = "quota-exceeded"     // 429: the tenant's own rate is used up
	ProblemClientClosed     Problem = "client-closed"      // 499: the client hung up (seen in logs only)
	ProblemInternal         Problem = "internal"           // 500: a fault in Penstock
	ProblemNotImplemented   Problem = "not-implemented"    // 501: not passed on (protocol upgrades)
	ProblemUpstreamDown     Problem = "upstream-down"      // 502: no connection to the upstream
	ProblemUpstreamInvalid  Problem = "upstream-invalid"   // 502: the upstream's answer can't be used
	ProblemAnswerTooLarge   Problem = "answer-too-large"   // 502: the upstream's answer is over the limit
	ProblemReducedCapacity  Problem = "temporary-reduced-capacity"
	ProblemBreakerOpen      Problem = "breaker-open"     // 503: the upstream's breaker is open
	ProblemShuttingDown     Problem = "shutting-down"    // 503: the process drains
	ProblemUnavailable      Problem = "unavailable"      // 503: a part of Penstock that this needs is off or away
	ProblemUpstreamTimeout  Problem = "upstream-timeout" // 504: the upstream took longer than its timeout
	ProblemDeadline         Problem = "deadline"         // 504: the request's own deadline passed
	ProblemOnlyIfCached     Problem = "only-if-cached"   // 504: only-if-cached, and nothing stored
)

type problemInfo struct {
	status int
	title  string
}

var problems = map[Problem]problemInfo{
	ProblemBadRequest:       {http.StatusBadRequest, "The request can't be understood"},
	ProblemInvalidParams:    {http.StatusBadRequest, "The params don't fit the route"},
	ProblemUnauthorized:     {http.StatusUnauthorized, "A valid API key is needed"},
	ProblemForbidden:        {http.StatusForbidden, "That is not allowed"},
	ProblemUnknownRoute:     {http.StatusNotFound, "There is no such route"},
	ProblemUnknownUpstream:  {http.StatusNotFound, "There is no such upstream"},
	ProblemNotFound:         {http.StatusNotFound, "There is no such resource"},
	ProblemMethodNotAllowed: {http.StatusMethodNotAllowed, "The method is not allowed here"},
	ProblemConflict:         {http.StatusConflict, "That does not go with its present state"},
	ProblemBodyTooLarge:     {http.StatusRequestEntityTooLarge, "The request's body is too large"},
	ProblemUnprocessable:    {http.StatusUnprocessableEntity, "The content was understood but refused"},
	ProblemRateLimited:      {http.StatusTooManyRequests, "The rate limit is used up"},
	ProblemClientClosed:     {499, "The client closed the connection"},
	ProblemInternal:         {http.StatusInternalServerError, "A fault in Penstock"},
	ProblemNotImplemented:   {http.StatusNotImplemented, "That is not supported"},
	ProblemUpstreamDown:     {http.StatusBadGateway, "The upstream can't be reached"},
	ProblemUpstreamInvalid:  {http.StatusBadGateway, "The upstream's answer can't be used"},
	ProblemAnswerTooLarge:   {http.StatusBadGateway, "The upstream's answer is too large"},
	ProblemReducedCapacity:  {http.StatusServiceUnavailable, "There is no capacity for this request now"},
	ProblemBreakerOpen:      {http.StatusServiceUnavailable, "The upstream fails and is given a rest"},
	ProblemShuttingDown:     {http.StatusServiceUnavailable, "The service is shutting down"},
	ProblemUnavailable:      {http.StatusServiceUnavailable, "A part of the service is not available"},
	ProblemUpstreamTimeout:  {http.StatusGatewayTimeout, "The upstream took too long"},
	ProblemDeadline:         {http.StatusGatewayTimeout, "The deadline of the request passed"},
	ProblemOnlyIfCached:     {http.StatusGatewayTimeout, "Nothing usable is stored"},
}

// Type is the problem's type URI. The two kinds that IANA's registry of HTTP problem types names
// (from the RateLimit header fields draft) carry the registry's URI.
func (p Problem) Type() string {
	switch p {
	case ProblemReducedCapacity, ProblemRateLimited:
		return "https://iana.org/assignments/http-problem-types#" + string(p)
	}
	return "urn:penstock:problem:" + string(p)
}

// Status is the HTTP status that goes with the problem.
func (p Problem) Status() int {
	if i, ok := problems[p]; ok {
		return i.status
	}
	return http.StatusInternalServerError
}

// Title is the problem's short human-readable summary.
func (p Problem) Title() string { return problems[p].title }

// Problems lists every problem there is, for documents and tests, in no order.
func Problems() []Problem {
	all := make([]Problem, 0, len(problems))
	for p := range problems {
		all = append(all, p)
	}
	return all
}

// FieldError is one fault of an input.
type FieldError struct {
	// Pointer is an RFC 6901 JSON pointer into the input ("/params/id"), or a header's name.
	Pointer string `json:"pointer,omitempty"`
	Detail  string `json:"detail"`
}

// Error is a failure that ends at api as a problem document.
type Error struct {
	Problem Problem
	// Detail says what happened and what to do about it, without secrets or hosts.
	Detail string
	// RetryAfter, if positive, is computed from the present state and becomes Retry-After.
	RetryAfter time.Duration
	// Fields lists every fault found, not only the first.
	Fields []FieldError
	// ProxyStatus is the RFC 9209 error token for failures of the upstream, e.g.
	// "connection_refused"; empty otherwise.
	ProxyStatus string
	// Upstream names the upstream concerned, as configured; empty if none.
	Upstream string
	// Timing says where the time went before the failure.
	Timing Timing
	// Err is the cause, for logs only.
	Err error
}

// Errorf makes an Error; a %w operand becomes its cause.
func Errorf(p Problem, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Problem: p, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// AnswerTooLarge is the error of an upstream answer over limit bytes.
func AnswerTooLarge(limit int64) *Error {
	return &Error{
		Problem:     ProblemAnswerTooLarge,
		Detail:      fmt.Sprintf("the upstream's answer is over %d bytes; raise max_response_bytes of the upstream if it is right", limit),
		ProxyStatus: "http_response_body_size",
	}
}

// Error gives the problem and the detail.
func (e *Error) Error() string {
	s := string(e.Problem)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

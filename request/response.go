package request

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// Response is the answer to a Request.
type Response struct {
	// Status is the HTTP status code.
	Status int
	// Header holds the end-to-end headers, canonical names. Read-only once returned.
	Header http.Header
	// Body is never nil. The receiver reads it and must close it. A body held in memory is a
	// [*Body], which also writes itself.
	Body io.ReadCloser
	// ContentLength is the length of Body in bytes, -1 if unknown.
	ContentLength int64
	// Trailer has the announced names as keys; the values are there once Body gave io.EOF.
	Trailer http.Header

	// Cache says how the cache handled the request.
	Cache CacheStatus
	// Timing says where the time went.
	Timing Timing
}

// CacheStatus is what RFC 9211's Cache-Status field says of one answer. The zero value means
// that no cache was involved.
type CacheStatus struct {
	// Hit: answered from the cache without forwarding.
	Hit bool
	// Fwd is why the request was forwarded: "miss", "uri-miss", "vary-miss", "stale", "bypass",
	// "method", "request", "partial"; empty for a hit.
	Fwd string
	// FwdStatus is the status of the forwarded call where it differs from the answer's; 0: same.
	FwdStatus int
	// TTL is the remaining freshness, negative for a stale answer; it counts only if HasTTL.
	TTL    time.Duration
	HasTTL bool
	// Age is what the Age field (RFC 9111, section 5.1) of an answer from the cache says; api writes
	// it, so that hits can share one header map. It counts only if HasAge.
	Age    time.Duration
	HasAge bool
	// Stored: the answer was put into the cache. Collapsed: it came from a shared call.
	Stored, Collapsed bool
	// Lifetime is for how long from now what was stored may be used as it is; 0: only after validation. It
	// counts only if Stored. Unlike TTL it is not told to clients, who read the upstream's own fields.
	Lifetime time.Duration
	// Detail is a token for people, e.g. "stale-if-error", "served-stale-while-revalidating".
	Detail string
}

// Timing is how long a request spent in each stage; zero for a stage it did not pass.
type Timing struct {
	Queue, Batch, Upstream time.Duration
}

// Body is a response body held in memory.
type Body struct{ bytes.Reader }

// NewBody returns a Body over b, which must not be changed any more.
func NewBody(b []byte) *Body {
	body := new(Body)
	body.Reset(b)
	return body
}

// Close does nothing.
func (*Body) Close() error { return nil }

// ReadAll returns the whole body if it has at most limit bytes, and closes it. A longer body
// gives a [ProblemAnswerTooLarge] error.
func ReadAll(r *Response, limit int64) ([]byte, error) {
	defer r.Body.Close()
	if r.ContentLength > limit {
		return nil, AnswerTooLarge(limit)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, AnswerTooLarge(limit)
	}
	return b, nil
}

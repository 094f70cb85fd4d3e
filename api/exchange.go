package api

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"penstock/request"
)

const (
	headerRequestID   = "X-Request-Id"
	maxRequestIDBytes = 128
)

// exchange is one HTTP request on its way through a plane. It is the request's context too, and
// holds what would otherwise be separate allocations: a cached hit pays for one.
type exchange struct {
	context.Context
	id      string
	arrived time.Time
	// status is what was answered, for the log; 0: nothing.
	status int
	// values backs the one-element header values of the answer.
	values [8]string
	used   int
	// policy and limit are the values of the RateLimit headers; nil: there is no quota.
	policy, limit []string
	// w takes interim answers; nil: they are not passed on.
	w http.ResponseWriter
	// limited is the exchange's context once it has a deadline.
	limited timeLimit
	// proxied is the request of the proxy path.
	proxied request.Request
}

type exchangeKey struct{}

// Value gives the exchange itself under exchangeKey, and passes other keys on.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// newExchange names the request and puts its id into the answer's header.
func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{Context: r.Context(), id: requestID(r.Header), arrived: time.Now()}
	w.Header()[headerRequestID] = x.value(x.id)
	return x
}

func exchangeOf(r *http.Request) *exchange {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{Context: r.Context(), id: newID(), arrived: time.Now()}
}

// value makes s the only value of a header without an allocation of its own.
func (x *exchange) value(s string) []string {
	if x.used == len(x.values) {
		return []string{s}
	}
	x.values[x.used] = s
	x.used++
	return x.values[x.used-1 : x.used : x.used]
}

// RequestID returns the id of the request that ctx belongs to, "" if there is none.
func RequestID(ctx context.Context) string {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x.id
	}
	return ""
}

// requestID takes the client's id if it is fit to be logged and sent on, else makes one.
func requestID(h http.Header) string {
	if v := h[headerRequestID]; len(v) == 1 && len(v[0]) <= maxRequestIDBytes && visible(v[0]) {
		return v[0]
	}
	return newID()
}

// newID makes a UUID of version 7 (RFC 9562, section 5.7).
func newID() string {
	var buf [36]byte
	return string(appendID(buf[:0], time.Now()))
}

// appendID writes a UUID of version 7 for that time. Its random bits need not be secret, only never
// the same twice.
func appendID(b []byte, now time.Time) []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|rand.Uint64()&0xfff|0x7000)
	id[8] = id[8]&0x3f | 0x80
	for i, part := range [5][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[part[0]:part[1]])
	}
	return b
}

// visible reports whether s is one or more visible ASCII characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// LogHandler returns a slog.Handler that adds request_id to the records of a request's context.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, rec slog.Record) error {
	if id := RequestID(ctx); id != "" {
		rec.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, rec)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}

package request

import (
	"errors"
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// Fate is what an attempt says of the next one.
type Fate int

// The fates.
const (
	// FateGood: the upstream answered below 400.
	FateGood Fate = iota
	// FateFinal: it failed and always will.
	FateFinal
	// FateRetry: it failed, and may go better another time.
	FateRetry
	// FateWait: it never reached the upstream (it was shed, the breaker was open, Penstock stops), so
	// it says nothing of the request.
	FateWait
)

// FateOf judges an attempt by its answer's status and header, or its error. after is how long the
// upstream or Penstock wants not to be asked; 0: it does not say.
func FateOf(status int, h http.Header, err error) (f Fate, after time.Duration) {
	if err == nil {
		switch {
		case status < http.StatusBadRequest:
			return FateGood, 0
		case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
			after, _ = RetryAfter(h, time.Now())
			return FateRetry, min(after, longestAfter)
		}
		return FateFinal, 0
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return FateRetry, 0
	}
	switch e.Problem {
	case ProblemReducedCapacity, ProblemBreakerOpen, ProblemShuttingDown, ProblemClientClosed:
		return FateWait, e.RetryAfter
	case ProblemUpstreamDown, ProblemUpstreamInvalid, ProblemUpstreamTimeout, ProblemInternal, ProblemRateLimited:
		return FateRetry, e.RetryAfter
	}
	return FateFinal, 0
}

// longestAfter keeps sums with what FateOf gives from overflowing.
const longestAfter = math.MaxInt32 * time.Second

// RetryAfter reads Retry-After (RFC 9110, 10.2.3): seconds, or a date. Anything else is as if it were not
// there.
func RetryAfter(h http.Header, now time.Time) (d time.Duration, told bool) {
	v := textproto.TrimString(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if v[0] >= '0' && v[0] <= '9' {
		seconds, err := strconv.ParseUint(v, 10, 64)
		switch {
		case err == nil && seconds <= math.MaxInt64/uint64(time.Second):
			return time.Duration(seconds) * time.Second, true
		case err == nil || errors.Is(err, strconv.ErrRange):
			return math.MaxInt64, true
		}
		return 0, false
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

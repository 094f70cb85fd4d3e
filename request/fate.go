package request

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
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
			return FateRetry, RetryAfter(h, time.Now())
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

// RetryAfter reads the header of that name, in seconds or as a date; 0 if there is none that can be
// read.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

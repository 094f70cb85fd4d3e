package jobs

import (
	"errors"
	"net/http"
	"time"

	"penstock/engine"
	"penstock/request"
)

// The errors that a caller acts on.
var (
	// ErrNotFound: there is no such job, or no longer.
	ErrNotFound = errors.New("jobs: there is no such job")
	// ErrKeyReused: the Idempotency-Key belongs to a job that asked for something else.
	ErrKeyReused = errors.New("jobs: the Idempotency-Key was used for another request")
	// ErrEnded: the job has ended already.
	ErrEnded = errors.New("jobs: the job has ended already")
	// ErrNotEnded: the job has not ended yet, or has no result.
	ErrNotEnded = errors.New("jobs: the job has not ended yet")
	// ErrFull: as many jobs are kept as may be.
	ErrFull = errors.New("jobs: as many jobs are kept as may be")
	// ErrUnavailable: the engine is away, or the jobs are still being read.
	ErrUnavailable = errors.New("jobs: not available now")
)

// translate gives an engine's error the name that callers know.
func translate(err error) error {
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, engine.ErrFull):
		return errors.Join(ErrFull, err)
	case errors.Is(err, engine.ErrUnavailable):
		return errors.Join(ErrUnavailable, err)
	}
	return err
}

// verdict is what an attempt came to.
type verdict int

const (
	good    verdict = iota // the job is done
	final                  // it failed and always will
	retry                  // it failed, and may go better
	waiting                // it was not tried; this does not count
)

// verdictOf judges an attempt. What never reached the upstream (it was shed, the breaker was open,
// Penstock stops) does not count as one: such a job waits.
func verdictOf(a *Answer, err error) (verdict, time.Duration) {
	if err == nil {
		switch {
		case a.Status < 400:
			return good, 0
		case a.Status >= 500 || a.Status == http.StatusTooManyRequests || a.Status == http.StatusRequestTimeout || a.Status == http.StatusTooEarly:
			return retry, a.RetryAfter
		}
		return final, 0
	}
	e, ok := errors.AsType[*request.Error](err)
	if !ok {
		return retry, 0
	}
	switch e.Problem {
	case request.ProblemReducedCapacity, request.ProblemBreakerOpen, request.ProblemShuttingDown, request.ProblemClientClosed:
		return waiting, e.RetryAfter
	case request.ProblemUpstreamDown, request.ProblemUpstreamInvalid, request.ProblemUpstreamTimeout, request.ProblemInternal,
		request.ProblemRateLimited:
		return retry, e.RetryAfter
	}
	return final, 0
}

// faultOf is what the record keeps of why an attempt failed.
func faultOf(err error) *Fault {
	if e, ok := errors.AsType[*request.Error](err); ok {
		return &Fault{e.Problem, clip(e.Detail)}
	}
	return &Fault{request.ProblemInternal, clip(err.Error())}
}

// clip bounds a text that comes from elsewhere.
func clip(s string) string {
	const most = 1 << 10
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

package jobs

import (
	"errors"

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

package request

import (
	"context"
	"time"
)

// Doer answers a request. It is the one seam between stages.
//
// Do returns either a Response whose Body the caller must close, or an error; an error that a
// client should see is, or wraps, an [*Error]. An upstream's own 4xx and 5xx answers are
// Responses, not errors. When ctx ends first, Do returns an error that wraps ctx's cause.
type Doer interface {
	Do(ctx context.Context, r *Request) (*Response, error)
}

// DoerFunc lets a function be a Doer.
type DoerFunc func(ctx context.Context, r *Request) (*Response, error)

// Do calls f.
func (f DoerFunc) Do(ctx context.Context, r *Request) (*Response, error) { return f(ctx, r) }

// Result is what one member of a batch gets: a Response or an error, never both.
type Result struct {
	Response *Response
	Err      error
}

// BatchPlan says whether, and with whom, a request may share an upstream call.
type BatchPlan struct {
	// Group is equal for requests that may travel together (same route, same credentials, same
	// fixed params). Empty: the request travels alone.
	Group string
	// Max is the most members one call may carry, 1 or more.
	Max int
	// Weight is what the request adds to the call, in bytes; MaxWeight bounds their sum
	// (0: no bound).
	Weight, MaxWeight int
}

// BatchDoer is a Doer that can serve several compatible requests by one upstream call. The
// scheduler asks Plan for each request that it queues, and calls DoBatch with requests of one
// Group when a permit is free.
type BatchDoer interface {
	Doer
	// Plan is cheap, calls nothing, and may be called at once from many goroutines.
	Plan(r *Request) BatchPlan
	// DoBatch makes the call. The results stand in the order of members, one for each. ctx is
	// detached from the members' clients.
	DoBatch(ctx context.Context, members []*Request) []Result
}

// Recaller is a Doer that knows some answers by heart.
//
// Recall answers r at once and without any other stage, or gives nil, and then nothing has happened.
// now is the time of the call, which the caller has at hand.
type Recaller interface {
	Recall(r *Request, now time.Time) *Response
}

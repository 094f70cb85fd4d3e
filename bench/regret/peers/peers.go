// Package peers states the published rules of other adaptive limiters anew, to be run on the same
// arrivals as Penstock's tuner. Ideas and numbers are from the sources named at each; failsafe-go
// is its real library.
//
// A limiter is told of each call and says how many may be in flight; a rate rule says how many may
// start in a second. Neither is safe for concurrent use: the harness calls them under a lock.
package peers

import "time"

// Sample is one finished call.
type Sample struct {
	Now      time.Time
	RTT      time.Duration
	InFlight int // when it started, itself included
	// Dropped: it ended in a refusal (429), an overload (503) or a timeout.
	Dropped bool
	// Throttled: it ended in 429.
	Throttled bool
}

// Limiter is a published rule.
type Limiter interface {
	// Name says whose rule it is.
	Name() string
	// Started is told when a call starts, and returns a token for Ended; nil is fine.
	Started(now time.Time) any
	// Ended is told when it ends.
	Ended(token any, s Sample)
	// Limit is how many calls may be in flight; 0: no limit.
	Limit() int
	// Rate is how many calls may start in a second; 0: no limit.
	Rate() float64
}

// Max is the highest limit given to those that need one.
const Max = 1000

// Start is the limit at the start of those that have no default of their own.
const Start = 16

// All makes one of each, fresh.
func All() []func() Limiter {
	return []func() Limiter{
		func() Limiter { return NewGradient2() },
		func() Limiter { return NewVegas() },
		func() Limiter { return NewFailsafe() },
		func() Limiter { return NewEnvoy() },
		func() Limiter { return NewVector() },
		func() Limiter { return NewCubic() },
	}
}

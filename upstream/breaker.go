package upstream

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState names a state of the breaker.
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed   BreakerState = "closed"    // calls go through
	BreakerOpen     BreakerState = "open"      // calls are refused
	BreakerHalfOpen BreakerState = "half-open" // a few probes go through
	BreakerDisabled BreakerState = "disabled"  // there is none
)

// verdict is what a call tells the breaker.
type verdict uint8

const (
	verdictNone    verdict = iota // says nothing about the upstream
	verdictSuccess                // the upstream works
	verdictFailure                // the upstream fails
)

var (
	errFailed  = errors.New("failed")
	errNothing = errors.New("says nothing")
)

// breaker refuses calls while the upstream fails. It lays a different ticket around gobreaker's
// counting: gobreaker drops the result of a call that began longer ago than the window, and so
// would never open on an upstream that hangs. Here a call of the closed state is counted when it
// ends, if the breaker has stayed closed all the while; only probes hold a place from their start.
type breaker struct {
	opts  Breaker
	cb    *gobreaker.TwoStepCircuitBreaker[struct{}]
	era   atomic.Uint64 // counts changes of state
	since atomic.Int64  // when the state changed last, Unix nanoseconds
}

// breakerBuckets is into how many steps the window slides.
const breakerBuckets = 10

func newBreaker(o Breaker) *breaker {
	if o.Disabled {
		return nil
	}
	b := &breaker{opts: o}
	b.since.Store(time.Now().UnixNano())
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(o.HalfOpenProbes),
		Interval:     o.Window,
		BucketPeriod: o.Window / breakerBuckets,
		Timeout:      o.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			ended := c.TotalSuccesses + c.TotalFailures
			return ended >= uint32(o.MinCalls) && float64(c.TotalFailures) >= o.FailureRatio*float64(ended)
		},
		// Called under gobreaker's lock: atomics only.
		OnStateChange: func(string, gobreaker.State, gobreaker.State) {
			b.since.Store(time.Now().UnixNano())
			b.era.Add(1)
		},
		IsExcluded: func(err error) bool { return err == errNothing },
	})
	return b
}

// ticket is a call's right to be made. Its verdict is taken once.
type ticket struct {
	b     *breaker
	era   uint64
	probe func(error) // nil but for a probe
}

// allow asks for a ticket. If there is none, retryAfter says when to ask again.
func (b *breaker) allow() (t ticket, retryAfter time.Duration, ok bool) {
	if b == nil {
		return ticket{}, 0, true
	}
	era := b.era.Load()
	if b.cb.State() == gobreaker.StateClosed {
		return ticket{b: b, era: era}, 0, true
	}
	done, err := b.cb.Allow()
	if err != nil {
		return ticket{}, b.wait(), false
	}
	return ticket{b: b, probe: done}, 0, true
}

// closed reports whether calls go through freely.
func (b *breaker) closed() bool { return b == nil || b.cb.State() == gobreaker.StateClosed }

// wait is how long the breaker stays open; while all probes are out, a second at most.
func (b *breaker) wait() time.Duration {
	if b.cb.State() == gobreaker.StateHalfOpen {
		return min(b.opts.OpenFor, time.Second)
	}
	left := time.Until(time.Unix(0, b.since.Load()).Add(b.opts.OpenFor))
	return max(left, time.Millisecond)
}

// isProbe reports whether others wait for the verdict.
func (t *ticket) isProbe() bool { return t.probe != nil }

// settle gives the verdict. Only the first one counts.
func (t *ticket) settle(v verdict) {
	b := t.b
	if b == nil {
		return
	}
	t.b = nil
	var err error
	switch v {
	case verdictFailure:
		err = errFailed
	case verdictNone:
		err = errNothing
	}
	if t.probe != nil {
		t.probe(err)
		return
	}
	if v == verdictNone || b.era.Load() != t.era {
		return
	}
	if done, refused := b.cb.Allow(); refused == nil {
		done(err)
	}
}

func (b *breaker) state() (BreakerState, time.Time) {
	if b == nil {
		return BreakerDisabled, time.Time{}
	}
	s := BreakerClosed
	switch b.cb.State() {
	case gobreaker.StateOpen:
		s = BreakerOpen
	case gobreaker.StateHalfOpen:
		s = BreakerHalfOpen
	}
	return s, time.Unix(0, b.since.Load())
}

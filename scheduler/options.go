package scheduler

import (
	"fmt"
	"math"
	"time"

	"penstock/knob"
	"penstock/observe"
	"penstock/request"
)

// Defaults of Options.
const (
	DefaultWorkers      = 16
	DefaultQueueLength  = 1000
	DefaultUrgencyShare = 0.03
	DefaultHoldMax      = time.Minute
	// MaxUrgencyShare is where the guaranteed shares of all urgencies use up the whole capacity.
	MaxUrgencyShare = 1.0 / request.Urgencies
)

// Rate is one token window: at most Limit calls in each Per, on average.
type Rate struct {
	// Limit is how many calls Per admits; more than 0, fractions allowed.
	Limit float64
	// Per is the window; 0: one second.
	Per time.Duration
	// Burst is how many unused calls may be saved up, 1 or more; 0: what Limit admits in one
	// second, at least 1. A token window admits up to Limit + Burst in a span of Per, so for a
	// hard quota keep Burst small.
	Burst int
}

// Validate reports what is wrong with the window.
func (r Rate) Validate() error {
	switch {
	case !(r.Limit > 0) || math.IsInf(r.Limit, 1):
		return fmt.Errorf("rate limit %v is not above 0; leave the rate out for no limit", r.Limit)
	case r.Per < 0:
		return fmt.Errorf("rate window (per) %v is negative", r.Per)
	case r.Burst < 0:
		return fmt.Errorf("rate burst %d is negative", r.Burst)
	}
	return nil
}

func (r Rate) withDefaults() Rate {
	if r.Per <= 0 {
		r.Per = time.Second
	}
	if r.Burst <= 0 {
		r.Burst = max(1, int(min(math.Ceil(r.perSecond()), 1e9)))
	}
	return r
}

func (r Rate) perSecond() float64 { return r.Limit / r.Per.Seconds() }

// Options configures a Scheduler. The zero value of each field but Priorities is its default.
type Options struct {
	// Upstream names the upstream, for errors.
	Upstream string
	// Workers is the number of permits, read at each decision. More than the upstream can serve
	// at once only moves the queue there; fewer leaves it idle. A zero Workers is fixed at
	// DefaultWorkers; the value 0 halts the upstream. Call Kick after a change.
	Workers knob.Int
	// QueueLength bounds how many requests wait; default DefaultQueueLength, negative: none may
	// wait. A longer queue rides out longer bursts, at the price of longer waits.
	QueueLength int
	// Rates are token windows; all of them must have a token for a call. A batch is one call.
	Rates []Rate
	// PaceRate is a rate in calls per second, evenly spread, that changes while the scheduler runs
	// and is read at each decision; zero, or no knob: none. It holds beside Rates. Call Kick after a
	// change.
	PaceRate knob.Float
	// Priorities has the more urgent served first. Without it all urgencies are served alike,
	// except that background work still yields.
	Priorities bool
	// UrgencyShare is the share of the capacity that each urgency keeps while it has something
	// queued, 0..MaxUrgencyShare; default DefaultUrgencyShare, negative: none, so that a more
	// urgent load may starve a less urgent one.
	UrgencyShare float64
	// HoldMax bounds how long the permit of a cancelled call is held for the upstream to finish
	// it; default DefaultHoldMax. The route's timeout bounds it, too.
	HoldMax time.Duration
	// Weights gives a tenant's weight, 0.001..1000; nil: 1 for all. It must be quick and safe for
	// concurrent use.
	Weights func(tenant string) float64
	// BatchTarget is the batch size aimed at; zero or less: as many as the batch's plan allows.
	BatchTarget knob.Int
	// BatchLinger is the longest that a batch below its target may wait for more members; zero:
	// not at all. It waits less if that is predicted not to pay.
	BatchLinger knob.Duration
	// CoDelTarget is the age of the oldest request of an urgency above which it counts as
	// overloaded; zero: four times the upstream's mean service time, at least 5 ms.
	CoDelTarget knob.Duration
	// CoDelInterval is how long the oldest request must be over the target until the urgency counts as
	// overloaded, at least the target; zero: ten times the mean service time, at least 100 ms.
	CoDelInterval knob.Duration
	// Scope takes the metrics; nil: nobody sees them.
	Scope *observe.Scope
	// OnWait is told how long each dispatched request waited. It must be quick and safe for
	// concurrent use.
	OnWait func(u request.Urgency, wait time.Duration)
}

// Validate reports what is wrong with the options.
func (o Options) Validate() error {
	if math.IsNaN(o.UrgencyShare) || o.UrgencyShare > MaxUrgencyShare {
		return fmt.Errorf("urgency share %v is over %v, at which all urgencies together use up the capacity", o.UrgencyShare, MaxUrgencyShare)
	}
	for _, r := range o.Rates {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Workers.Knob == nil {
		o.Workers = knob.FixedInt(DefaultWorkers)
	}
	switch {
	case o.QueueLength == 0:
		o.QueueLength = DefaultQueueLength
	case o.QueueLength < 0:
		o.QueueLength = 0
	}
	switch {
	case o.UrgencyShare == 0:
		o.UrgencyShare = DefaultUrgencyShare
	case !(o.UrgencyShare > 0):
		o.UrgencyShare = 0
	}
	o.UrgencyShare = min(o.UrgencyShare, MaxUrgencyShare)
	if o.HoldMax <= 0 {
		o.HoldMax = DefaultHoldMax
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
	return o
}

// weight is the tenant's weight within its bounds.
func (o *Options) weight(tenant string) float64 {
	if o.Weights == nil {
		return 1
	}
	w := o.Weights(tenant)
	if !(w > 0) {
		return 1
	}
	return min(max(w, 1e-3), 1e3)
}

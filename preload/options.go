package preload

import (
	"time"

	"penstock/knob"
	"penstock/observe"
	"penstock/request"
)

// Defaults and bounds.
const (
	DefaultMaxItems      = 10_000
	DefaultThreshold     = 0.2
	DefaultConcurrency   = 32
	DefaultBudgetRatio   = 0.10
	DefaultMinPrecision  = 0.5
	DefaultTimeout       = 30 * time.Second
	DefaultSessionHeader = "X-Session"

	minMaxItems = 16
	maxMaxItems = 10_000_000
	queueLength = 4096
)

// Options sets up a Preloader.
type Options struct {
	// Enabled switches the preloader while it runs; a zero knob means on. Off forgets nothing.
	Enabled knob.Bool
	// MaxItems bounds each table: the keys that it follows, the requests that it could make again, and, twice
	// as many, the contexts of sequences. Default 10,000, at least 16. A key takes about 110 bytes, a context
	// 57 for four associations, a kept request about 1 KB.
	MaxItems int
	// Threshold is the least measured probability, 0..1, of a prediction that saves a whole wait; a zero
	// knob means 0.2. Less finds more and wastes more. Budget and MinPrecision raise it when need be.
	Threshold knob.Float
	// BudgetRatio is the most extra calls for each call that clients would make without the preloader; a
	// zero knob means 0.10.
	BudgetRatio knob.Float
	// MinPrecision is the share, 0..1, of prefetches that must turn out to be used. Default 0.5.
	MinPrecision float64
	// Concurrency is how many prefetches run at once, default 32: a list's details go out together, so that
	// they can share a batch. More wait, or are dropped. They use only permits that nobody wants.
	Concurrency int
	// Timeout bounds one prefetch, default 30 s.
	Timeout time.Duration
	// SessionHeader names a request header that tells sessions apart; empty: X-Session. Without it, a client is an
	// address. It only splits sequences: who lies about it spoils his own predictions.
	SessionHeader string
	// Spare reports whether an upstream has capacity for calls that nobody asked for: no quota that is
	// short, no open breaker, no queue. nil: always.
	Spare func(upstream string) bool
	// Fresh returns until when the cache would answer a request without a call; false: it would not. nil:
	// what requests showed is believed.
	Fresh func(*request.Request) (time.Time, bool)
	// RouteOf finds a declared route, for the links of others; nil: none.
	RouteOf func(name string) (*request.Route, bool)
	// BatchMax is how many requests of a route share a call; nil, 0 or 1: none.
	BatchMax func(*request.Route) int
	// Scope takes the metrics; nil: none.
	Scope *observe.Scope
}

func (o *Options) ensureDefaults() {
	o.MaxItems = boundedItems(o.MaxItems)
	if o.Enabled.Knob == nil {
		o.Enabled = knob.FixedBool(true)
	}
	if o.Threshold.Knob == nil {
		o.Threshold = knob.FixedFloat(DefaultThreshold)
	}
	if o.BudgetRatio.Knob == nil {
		o.BudgetRatio = knob.FixedFloat(DefaultBudgetRatio)
	}
	if o.MinPrecision <= 0 {
		o.MinPrecision = DefaultMinPrecision
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.SessionHeader == "" {
		o.SessionHeader = DefaultSessionHeader
	}
	if o.Spare == nil {
		o.Spare = func(string) bool { return true }
	}
	if o.RouteOf == nil {
		o.RouteOf = func(string) (*request.Route, bool) { return nil, false }
	}
	if o.BatchMax == nil {
		o.BatchMax = func(*request.Route) int { return 1 }
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
}

func boundedItems(n int) int {
	if n == 0 {
		n = DefaultMaxItems
	}
	return min(max(n, minMaxItems), maxMaxItems)
}

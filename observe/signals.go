package observe

import "time"

// Signals is what was measured over a window.
type Signals struct {
	// Span is the time that the window covers; the rates are per second of it.
	Span time.Duration `json:"span_ns"`
	// Requests are measured end to end, in front of the cache.
	Requests RequestSignals `json:"requests"`
	// Calls are the calls to the upstream.
	Calls CallSignals `json:"calls"`
}

// RequestSignals measures requests that ended inside the window.
type RequestSignals struct {
	// Count is how many ended.
	Count uint64 `json:"count"`
	// Errors counts answers of 500 and above, and requests that ended in a problem that is not the
	// client's own doing.
	Errors uint64 `json:"errors"`
	// Hits, Stale, Coalesced and Misses say what the cache did; requests that it did not handle are
	// in none of them.
	Hits      uint64 `json:"hits"`
	Stale     uint64 `json:"stale"`
	Coalesced uint64 `json:"coalesced"`
	Misses    uint64 `json:"misses"`
	// Bytes is the size of the answers' bodies.
	Bytes uint64 `json:"bytes"`
	// InFlight is how many are under way now.
	InFlight int64 `json:"in_flight"`

	// Rate is requests per second, Goodput those of them that are no error.
	Rate    float64 `json:"rate"`
	Goodput float64 `json:"goodput"`
	// ErrorRatio is Errors in Count, 0..1.
	ErrorRatio float64 `json:"error_ratio"`
	// HitRatio is the share, 0..1, of answers from the store (fresh or stale) among those that the
	// cache handled; SavedRatio counts coalesced ones too.
	HitRatio   float64 `json:"hit_ratio"`
	SavedRatio float64 `json:"saved_ratio"`

	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P95  time.Duration `json:"p95_ns"`
	P99  time.Duration `json:"p99_ns"`
}

// CallSignals measures calls to the upstream that started inside the window and have ended;
// Throughput and Goodput alone count by the time of the end.
type CallSignals struct {
	// Count is how many calls started, Items how many requests they served.
	Count uint64 `json:"count"`
	Items uint64 `json:"items"`
	// Outcomes counts the calls by outcome.
	Outcomes Outcomes `json:"outcomes"`
	// Bytes is the size of the answers' bodies.
	Bytes uint64 `json:"bytes"`

	// Rate is calls started per second. While slow calls are still under way the last seconds of a
	// window lack them.
	Rate float64 `json:"rate"`
	// Throughput is requests served per second by calls that ended inside the window; Goodput
	// leaves out those whose outcome is not ok or client.
	Throughput float64 `json:"throughput"`
	Goodput    float64 `json:"goodput"`
	// Ended is how many calls ended inside the window.
	Ended uint64 `json:"ended"`

	// MeanInFlight is the mean number of calls in flight that a starting call found, itself
	// included; MaxInFlight the highest.
	MeanInFlight float64 `json:"mean_in_flight"`
	MaxInFlight  int     `json:"max_in_flight"`

	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P95  time.Duration `json:"p95_ns"`
	P99  time.Duration `json:"p99_ns"`
}

// Outcomes counts calls by [Outcome].
type Outcomes struct {
	OK       uint64 `json:"ok"`
	Client   uint64 `json:"client"`
	Refused  uint64 `json:"refused"`
	Overload uint64 `json:"overload"`
	Error    uint64 `json:"error"`
	Timeout  uint64 `json:"timeout"`
	Down     uint64 `json:"down"`
	Canceled uint64 `json:"cancelled"`
}

func (o *Outcomes) add(outcome Outcome) {
	switch outcome {
	case OutcomeOK:
		o.OK++
	case OutcomeClient:
		o.Client++
	case OutcomeRefused:
		o.Refused++
	case OutcomeOverload:
		o.Overload++
	case OutcomeTimeout:
		o.Timeout++
	case OutcomeDown:
		o.Down++
	case OutcomeCanceled:
		o.Canceled++
	default:
		o.Error++
	}
}

func (o *Outcomes) merge(b *Outcomes) {
	o.OK += b.OK
	o.Client += b.Client
	o.Refused += b.Refused
	o.Overload += b.Overload
	o.Error += b.Error
	o.Timeout += b.Timeout
	o.Down += b.Down
	o.Canceled += b.Canceled
}

// Total is the number of calls.
func (o Outcomes) Total() uint64 {
	return o.OK + o.Client + o.Failed() + o.Refused + o.Canceled
}

// Failed is the number of calls that the upstream failed: overload, error, timeout, down.
func (o Outcomes) Failed() uint64 { return o.Overload + o.Error + o.Timeout + o.Down }

// FailedRatio is Failed in all calls but the cancelled, 0..1.
func (o Outcomes) FailedRatio() float64 { return ratio(o.Failed(), o.Total()-o.Canceled) }

// OverloadRatio is the share of calls, 0..1, whose outcome says that the upstream has too much to do:
// overload and timeout.
func (o Outcomes) OverloadRatio() float64 { return ratio(o.Overload+o.Timeout, o.Total()-o.Canceled) }

// RefusedRatio is the share of calls, 0..1, that were refused for the quota.
func (o Outcomes) RefusedRatio() float64 { return ratio(o.Refused, o.Total()-o.Canceled) }

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// RouteName names a route of an upstream.
type RouteName struct{ Upstream, Route string }

// Snapshot is the signals of everything over one window.
type Snapshot struct {
	At        time.Time
	Total     Signals
	Upstreams map[string]Signals
	Routes    map[RouteName]Signals
}

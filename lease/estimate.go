package lease

import (
	"math"
	"time"
)

// Demand is what the calls of one node say of the part that they need.
type Demand struct {
	// Arrived counts calls that were asked for, refused ones too; Waiting is how many wait for the quota and for
	// nothing else.
	Arrived float64
	Waiting float64
	// Limit is the tightest quota known, of all nodes together, calls per second; 0: none is known.
	Limit float64
	// Saved is how full the bucket of that quota's part is, 0..1.
	Saved float64
}

// Estimate turns samples of a [Demand] into what is wanted of a quota. Its zero value is ready. It follows a demand that
// falls within quickSpan, since what a node does not use nobody else can, and forgives small demands
// for longer: they cost little, and asking again for each call would cost more.
type Estimate struct {
	samples [64]sample
	n       int // samples taken in all
	waiting float64
	saved   float64
	arrived float64
}

type sample struct {
	at      time.Time
	arrived float64
}

const (
	quickSpan = 100 * time.Millisecond
	// quickCalls that should have come and did not are no chance.
	quickCalls = 12
	spanOne    = time.Second
	spanLong   = 2 * time.Second
	// spill is how much less than what comes is wanted while a full bucket runs over.
	spill = 0.3
	// drain is how soon what waits is to be sent.
	drain = 500 * time.Millisecond
	// small is the share of the quota up to which a demand is remembered for spanLong.
	small = 0.02
	// mostWanted: more than twice the quota makes no difference.
	mostWanted = 2 * Whole
)

// Add takes a sample.
func (e *Estimate) Add(d Demand, now time.Time) {
	e.arrived, e.waiting, e.saved = d.Arrived, d.Waiting, d.Saved
	e.samples[e.n%len(e.samples)] = sample{now, e.arrived}
	e.n++
}

// Want is the part that is needed of a quota of limit calls per second, in millionths.
func (e *Estimate) Want(limit float64, now time.Time) int64 {
	if !(limit > 0) {
		return 0
	}
	rate := e.rate(spanOne, 0, now)
	quick := min(max(time.Duration(quickCalls/max(rate, 1)*float64(time.Second)), quickSpan), spanOne)
	rate = min(e.rate(quick, 1, now), rate)
	// A bucket that runs over loses what others could use, an empty one makes requests wait.
	rate *= 1 - spill*e.saved
	rate = max(rate, min(e.rate(spanLong, 1, now), small*limit))
	rate += e.waiting / drain.Seconds()
	return int64(min(rate/limit*Whole, mostWanted))
}

// rate is the calls per second that came in the last span, and one standard deviation more, as if they came by
// chance.
func (e *Estimate) rate(span time.Duration, more float64, now time.Time) float64 {
	kept := min(e.n, len(e.samples))
	if kept < 2 {
		return 0
	}
	var from sample
	for i := 1; i <= kept; i++ {
		from = e.samples[(e.n-i)%len(e.samples)]
		if now.Sub(from.at) >= span {
			break
		}
	}
	n := e.arrived - from.arrived
	return (n + more*math.Sqrt(n)) / max(now.Sub(from.at), span/2).Seconds()
}

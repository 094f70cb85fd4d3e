package scheduler

import (
	"math"
	"time"
)

const (
	// firstGuess is the cost of a route that was never measured: a small one, since a large guess
	// swamps the order of all that is known.
	firstGuess = 5 * time.Millisecond
	// estimateGain is the weight of one sample once there are enough of them.
	estimateGain = 0.1
	// routesMax bounds how many routes are estimated apart.
	routesMax = 4096
)

// estimate is what is known about the calls of one route.
type estimate struct {
	call, dev float64 // seconds of one call: mean, and mean absolute deviation
	item      float64 // seconds of one call divided by its members
	n         int
	arrivals  meter // requests per second
}

func (e *estimate) known() bool { return e.n > 0 }

// add takes a finished call with so many members.
func (e *estimate) add(d time.Duration, members int) {
	x := d.Seconds()
	e.n = min(e.n+1, 1<<20)
	g := max(estimateGain, 1/float64(e.n))
	if e.n > 1 {
		e.dev += g * (math.Abs(x-e.call) - e.dev)
	}
	e.call += g * (x - e.call)
	e.item += g * (x/float64(members) - e.item)
}

// addCut takes a call that our side cut short after d: it would have taken longer, nobody knows
// how much. Were such calls left out, an upstream that became slower than every deadline would
// look fast for ever; so a cut that is over the estimate counts double.
func (e *estimate) addCut(d time.Duration) {
	if !e.known() || d.Seconds() > e.call {
		e.add(2*d, 1)
	}
}

// least is a time that a call hardly undercuts, in seconds.
func (e *estimate) least() float64 { return max(0, e.call-e.dev) }

// most is a time that a call seldom exceeds, in seconds.
func (e *estimate) most() float64 { return e.call + max(2*e.dev, e.call/10) }

// meterSpan is the time constant of a meter.
const meterSpan = 2 * time.Second

// meter is an exponentially decaying rate.
type meter struct {
	rate float64 // per second, at time at
	at   time.Time
}

func (m *meter) add(x float64, now time.Time) {
	m.rate = m.read(now) + x/meterSpan.Seconds()
	m.at = now
}

func (m *meter) read(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.rate * math.Exp(-now.Sub(m.at).Seconds()/meterSpan.Seconds())
}

package peers

import (
	"math"
	"time"
)

// window gathers calls for a second, or until there are enough of them, as Netflix's WindowedLimit
// does with its defaults (one second, at least ten calls); it gives their mean.
type window struct {
	end      time.Time
	sum      time.Duration
	n        int
	inFlight int
	dropped  bool
}

const (
	windowLength  = time.Second
	windowSamples = 10
)

func (w *window) add(s Sample) (mean float64, inFlight int, dropped, ready bool) {
	if w.end.IsZero() {
		w.end = s.Now.Add(windowLength)
	}
	w.inFlight = max(w.inFlight, s.InFlight)
	if s.Dropped {
		w.dropped = true
	} else {
		w.sum += s.RTT
		w.n++
	}
	if s.Now.Before(w.end) || w.n < windowSamples {
		return 0, 0, false, false
	}
	mean, inFlight, dropped = w.sum.Seconds()/float64(w.n), w.inFlight, w.dropped
	*w = window{end: s.Now.Add(windowLength)}
	return mean, inFlight, dropped, true
}

// Gradient2 is Netflix concurrency-limits' rule of that name, with its defaults: the limit follows the
// ratio of a long exponential mean of the round trip to the present one, plus a queue of 4.
type Gradient2 struct {
	window window
	limit  float64
	long   float64
	n      int
}

// NewGradient2 makes one with the library's defaults.
func NewGradient2() *Gradient2 { return &Gradient2{limit: 20} }

// Name names it.
func (g *Gradient2) Name() string { return "Gradient2" }

// Started does nothing.
func (g *Gradient2) Started(time.Time) any { return nil }

// Limit is the limit.
func (g *Gradient2) Limit() int { return int(g.limit) }

// Rate is none.
func (g *Gradient2) Rate() float64 { return 0 }

// Ended takes a call.
func (g *Gradient2) Ended(_ any, s Sample) {
	short, inFlight, _, ready := g.window.add(s)
	if !ready {
		return
	}
	const warmup, span, smoothing, queue = 10, 600, .2, 4
	if g.n < warmup {
		g.n++
		g.long += (short - g.long) / float64(g.n)
	} else {
		g.long += (short - g.long) * 2 / (span + 1)
	}
	if g.long/short > 2 {
		g.long *= .9
	}
	if float64(inFlight) < g.limit/2 {
		return
	}
	gradient := max(.5, min(1, g.long/short))
	next := g.limit*gradient + queue
	g.limit = max(20, min(Max, g.limit*(1-smoothing)+next*smoothing))
}

// Vegas is Netflix concurrency-limits' rule of that name, with its defaults: it keeps the queue, limit *
// (1 - least round trip / present one), between 3 and 6 times the logarithm of the limit.
type Vegas struct {
	limit  float64
	least  float64
	probes int
}

// NewVegas makes one with the library's defaults.
func NewVegas() *Vegas { return &Vegas{limit: 20} }

// Name names it.
func (v *Vegas) Name() string { return "Vegas" }

// Started does nothing.
func (v *Vegas) Started(time.Time) any { return nil }

// Limit is the limit.
func (v *Vegas) Limit() int { return int(v.limit) }

// Rate is none.
func (v *Vegas) Rate() float64 { return 0 }

// Ended takes a call: unlike Gradient2, the library's default does not gather them.
func (v *Vegas) Ended(_ any, s Sample) {
	const probeMultiplier, jitter = 30, .75
	rtt := s.RTT.Seconds()
	if v.probes++; float64(v.probes) >= jitter*probeMultiplier*v.limit {
		v.probes, v.least = 0, rtt
		return
	}
	if v.least == 0 || rtt < v.least {
		v.least = rtt
		return
	}
	queue := math.Ceil(v.limit * (1 - v.least/rtt))
	log := math.Max(1, math.Floor(math.Log10(v.limit)))
	switch {
	case s.Dropped:
		v.limit -= log
	case float64(2*s.InFlight) < v.limit:
	case queue <= log:
		v.limit += 6 * log
	case queue < 3*log:
		v.limit += log
	case queue > 6*log:
		v.limit -= log
	}
	v.limit = max(1, min(Max, v.limit))
}

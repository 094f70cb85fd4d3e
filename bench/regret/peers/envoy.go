package peers

import (
	"math"
	"slices"
	"time"
)

// Envoy is the gradient controller of Envoy's adaptive concurrency filter: every 0.1 s the limit is
// multiplied by least round trip * 1.25 / present median, plus its square root. The least round trip is
// measured every minute with 3 in flight, over 50 calls.
type Envoy struct {
	limit, kept float64
	least       float64
	measuring   bool
	epoch       time.Time // calls that started before it do not count
	again       time.Time
	next        time.Time
	samples     []float64
	atLeast     int
}

const (
	envoyInterval = 100 * time.Millisecond
	envoyLeast    = 3
	envoyEvery    = time.Minute
	envoyCalls    = 50
	envoyBuffer   = .25
)

// NewEnvoy makes one with the documentation's example settings.
func NewEnvoy() *Envoy { return &Envoy{limit: envoyLeast, kept: envoyLeast, measuring: true} }

// Name names it.
func (e *Envoy) Name() string { return "Envoy" }

// Started remembers when.
func (e *Envoy) Started(now time.Time) any { return now }

// Limit is the limit.
func (e *Envoy) Limit() int { return int(e.limit) }

// Rate is none.
func (e *Envoy) Rate() float64 { return 0 }

// Ended takes a call.
func (e *Envoy) Ended(token any, s Sample) {
	if start := token.(time.Time); start.Before(e.epoch) {
		return
	}
	e.samples = append(e.samples, s.RTT.Seconds())
	if e.measuring {
		if len(e.samples) >= envoyCalls {
			e.least = e.median()
			e.limit, e.measuring = e.kept, false
			e.again, e.next = s.Now.Add(envoyEvery), s.Now.Add(envoyInterval)
		}
		return
	}
	if s.Now.After(e.again) {
		e.measure(s.Now)
		return
	}
	if s.Now.Before(e.next) {
		return
	}
	e.next = s.Now.Add(envoyInterval)
	gradient := max(.5, min(2, e.least*(1+envoyBuffer)/e.median()))
	before := e.limit
	limit := e.limit * gradient
	e.limit = max(envoyLeast, min(Max, limit+math.Sqrt(limit)))
	if before == envoyLeast && e.limit == envoyLeast {
		if e.atLeast++; e.atLeast >= 5 {
			e.measure(s.Now)
		}
	} else {
		e.atLeast = 0
	}
}

func (e *Envoy) measure(now time.Time) {
	e.kept, e.limit, e.measuring, e.epoch, e.atLeast = e.limit, envoyLeast, true, now, 0
	e.samples = e.samples[:0]
}

func (e *Envoy) median() float64 {
	slices.Sort(e.samples)
	m := e.samples[len(e.samples)/2]
	e.samples = e.samples[:0]
	return m
}

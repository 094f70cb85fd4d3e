package peers

import (
	"math"
	"time"
)

// Vector is the rule of Vector's adaptive request concurrency (its RFC 1858), with its defaults: each
// mean round trip, one more if it was no slower than the past mean and the limit was reached; a tenth
// less after a refusal or if it was slower than the past mean by 2.5 deviations.
type Vector struct {
	limit          int
	mean, variance float64
	known          bool
	next           time.Time
	sum            float64
	n              int
	pressure       bool
	reached        bool
}

const (
	vectorAlpha     = .4
	vectorDeviation = 2.5
	vectorDecrease  = .9
)

// NewVector makes one with the defaults: it starts at 1.
func NewVector() *Vector { return &Vector{limit: 1} }

// Name names it.
func (v *Vector) Name() string { return "Vector ARC" }

// Started does nothing.
func (v *Vector) Started(time.Time) any { return nil }

// Limit is the limit.
func (v *Vector) Limit() int { return v.limit }

// Rate is none.
func (v *Vector) Rate() float64 { return 0 }

// Ended takes a call.
func (v *Vector) Ended(_ any, s Sample) {
	v.reached = v.reached || s.InFlight >= v.limit
	if s.Dropped {
		v.pressure = true
	} else {
		v.sum += s.RTT.Seconds()
		v.n++
	}
	now := v.sum / float64(max(v.n, 1))
	if !v.known {
		if v.n > 0 {
			v.known, v.mean = true, now
			v.next = s.Now.Add(time.Duration(now * float64(time.Second)))
		}
		return
	}
	if s.Now.Before(v.next) {
		return
	}
	switch {
	case v.limit < Max && v.reached && !v.pressure && v.n > 0 && now <= v.mean:
		v.limit++
	case v.limit > 1 && (v.pressure || now >= v.mean+vectorDeviation*math.Sqrt(v.variance)):
		v.limit = max(1, int(float64(v.limit)*vectorDecrease))
	}
	if v.n > 0 {
		d := now - v.mean
		v.mean += vectorAlpha * d
		v.variance = (1 - vectorAlpha) * (v.variance + vectorAlpha*d*d)
	}
	v.next = s.Now.Add(time.Duration(v.mean * float64(time.Second)))
	v.sum, v.n, v.pressure, v.reached = 0, 0, false, false
}

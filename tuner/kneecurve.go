package tuner

import (
	"math"
	"slices"
)

// mostPoints bounds the points of a curve; pointFade is how many calls a point remembers.
const (
	mostPoints = 48
	pointFade  = 5000
)

// Curve is what was measured, by the number of calls in flight.
type Curve struct {
	Points []CurvePoint `json:"points,omitempty"`
	// Epochs is how many made it.
	Epochs int `json:"epochs"`
}

// CurvePoint is what so many calls in flight gave.
type CurvePoint struct {
	// Concurrency is the mean number in flight, Throughput good calls per second there, with Low and High
	// the range that holds it in 95 of 100 cases, Seconds the time of a call at the mix of routes of now.
	Concurrency float64 `json:"concurrency"`
	Throughput  float64 `json:"throughput"`
	Seconds     float64 `json:"seconds"`
	Low         float64 `json:"low"`
	High        float64 `json:"high"`
	// Calls is how many it rests on, the older ones counting less.
	Calls float64 `json:"calls"`

	slow, variance, good float64
}

func (c Curve) clone() Curve {
	c.Points = slices.Clone(c.Points)
	return c
}

// add takes in an epoch in which a call took e^y seconds, v being the variance of y.
func (c *Curve) add(e *Epoch, y, v float64) {
	c.Epochs++
	calls := float64(e.Calls)
	i := slices.IndexFunc(c.Points, func(p CurvePoint) bool { return math.Abs(math.Log(p.Concurrency/e.InFlight)) < 0.02 })
	if i < 0 {
		if len(c.Points) >= mostPoints {
			least := slices.MinFunc(c.Points, func(a, b CurvePoint) int { return int(math.Copysign(1, a.Calls-b.Calls)) })
			i = slices.IndexFunc(c.Points, func(p CurvePoint) bool { return p.Concurrency == least.Concurrency })
			c.Points = slices.Delete(c.Points, i, i+1)
		}
		i, _ = slices.BinarySearchFunc(c.Points, e.InFlight, func(p CurvePoint, n float64) int { return int(math.Copysign(1, p.Concurrency-n)) })
		c.Points = slices.Insert(c.Points, i, CurvePoint{Concurrency: e.InFlight})
	}
	p := &c.Points[i]
	p.Calls = min(p.Calls, pointFade) + calls
	to := calls / p.Calls
	p.Concurrency += to * (e.InFlight - p.Concurrency)
	p.slow += to * (y - p.slow)
	p.variance = (1-to)*(1-to)*p.variance + to*to*v
	p.good += to * (float64(e.OK)/calls - p.good)
	p.Seconds = math.Exp(p.slow)
	p.Throughput = p.Concurrency / p.Seconds * p.good
	wide := math.Exp(1.96 * math.Sqrt(p.variance))
	p.Low, p.High = p.Throughput/wide, p.Throughput*wide
}

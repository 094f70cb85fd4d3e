package scheduler

import (
	"math"
	"time"
)

const (
	// codelMinTarget and codelMinInterval are RFC 8289's own values (section 4.2, 4.3), which fit
	// fast upstreams; slower ones scale them by their service time.
	codelMinTarget   = 5 * time.Millisecond
	codelMinInterval = 100 * time.Millisecond
	// codelTargetTrips and codelIntervalTrips scale them to the upstream's round trip.
	codelTargetTrips   = 4
	codelIntervalTrips = 10
)

// codel finds a standing queue (RFC 8289): one whose oldest request has been older than the
// target for a whole interval. It looks at the oldest request, not at the one that leaves, since
// with newest first the one that leaves says nothing about the rest.
type codel struct {
	above time.Time // since when the oldest is over the target; zero: it is not
	next  time.Time // when the next drop is due
	drops int
}

// over reports whether the queue stands, given the age of its oldest request.
func (c *codel) over(age, target, interval time.Duration, now time.Time) bool {
	if age < target {
		*c = codel{}
		return false
	}
	if c.above.IsZero() {
		c.above = now
		c.next = now.Add(interval)
	}
	return now.Sub(c.above) >= interval
}

// drop reports whether a drop is due, and plans the next one by the control law: the interval
// divided by the square root of the number of drops.
func (c *codel) drop(interval time.Duration, now time.Time) bool {
	if now.Before(c.next) {
		return false
	}
	c.drops++
	c.next = now.Add(time.Duration(float64(interval) / math.Sqrt(float64(c.drops))))
	return true
}

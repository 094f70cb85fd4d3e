package peers

import (
	"math"
	"time"
)

// Cubic is the rate rule of botocore's adaptive retry mode: after a refusal the rate falls to 0.7 of what
// was measured, and comes back along a cubic curve; never above twice the measured rate. It has no
// limit of concurrency; the harness gives it a generous one.
type Cubic struct {
	max, k   float64
	failed   time.Time
	rate     float64
	enabled  bool
	measured float64
	bucket   time.Time
	count    float64
}

const (
	cubicScale  = .4
	cubicBeta   = .7
	clockBucket = 500 * time.Millisecond
	clockSmooth = .8
	// CubicWorkers is the concurrency that it gets.
	CubicWorkers = 64
)

// NewCubic makes one with botocore's constants.
func NewCubic() *Cubic { return &Cubic{} }

// Name names it.
func (c *Cubic) Name() string { return "CUBIC" }

// Started does nothing.
func (c *Cubic) Started(time.Time) any { return nil }

// Limit is generous.
func (c *Cubic) Limit() int { return CubicWorkers }

// Rate is the rate, once there was a refusal; at least a half, as botocore has it.
func (c *Cubic) Rate() float64 {
	if !c.enabled {
		return 0
	}
	return max(.5, c.rate)
}

func (c *Cubic) clock(now time.Time) {
	c.count++
	b := now.Truncate(clockBucket)
	if c.bucket.IsZero() {
		c.bucket = b
	}
	if b.After(c.bucket) {
		c.measured = clockSmooth*c.count/b.Sub(c.bucket).Seconds() + (1-clockSmooth)*c.measured
		c.count, c.bucket = 0, b
	}
}

// Ended takes a call.
func (c *Cubic) Ended(_ any, s Sample) {
	c.clock(s.Now)
	if c.failed.IsZero() {
		c.failed = s.Now
	}
	next := 0.0
	if !s.Throttled {
		dt := s.Now.Sub(c.failed).Seconds()
		next = cubicScale*math.Pow(dt-c.k, 3) + c.max
	} else {
		use := c.measured
		if c.enabled {
			use = min(use, c.rate)
		}
		c.max, c.failed, c.enabled = use, s.Now, true
		c.k = math.Cbrt(c.max * (1 - cubicBeta) / cubicScale)
		next = use * cubicBeta
	}
	c.rate = min(next, 2*c.measured)
}

package tuner

import (
	"sync"
	"time"
)

// PreloadCount is what the preloader counted since it began.
type PreloadCount struct {
	// Misses are the calls that there would have been without prefetching; Used, Late and Wasted how prefetches
	// ended; Saved the seconds that clients did not wait.
	Misses float64 `json:"misses"`
	Used   float64 `json:"used"`
	Late   float64 `json:"late"`
	Wasted float64 `json:"wasted"`
	Saved  float64 `json:"saved_seconds"`
	// Wanted predictions were worth a call; for Refused of them the upstream had nothing to spare.
	Wanted  float64 `json:"wanted"`
	Refused float64 `json:"refused"`
	// Looks are the requests at which the threshold was looked at, Thresholds their sum, and Bounds how often the
	// budget or the precision held it over the knob.
	Looks      float64 `json:"looks"`
	Thresholds float64 `json:"thresholds"`
	Bounds     float64 `json:"bounds"`
}

func (c *PreloadCount) add(b *PreloadCount) {
	c.Misses += b.Misses
	c.Used += b.Used
	c.Late += b.Late
	c.Wasted += b.Wasted
	c.Saved += b.Saved
	c.Wanted += b.Wanted
	c.Refused += b.Refused
	c.Looks += b.Looks
	c.Thresholds += b.Thresholds
	c.Bounds += b.Bounds
}

// since is c less an earlier count; where a count went back, the preloader began anew.
func (c *PreloadCount) since(b *PreloadCount) PreloadCount {
	less := func(x, y float64) float64 {
		if x < y {
			return x
		}
		return x - y
	}
	return PreloadCount{
		less(c.Misses, b.Misses), less(c.Used, b.Used), less(c.Late, b.Late), less(c.Wasted, b.Wasted), less(c.Saved, b.Saved),
		less(c.Wanted, b.Wanted), less(c.Refused, b.Refused), less(c.Looks, b.Looks), less(c.Thresholds, b.Thresholds), less(c.Bounds, b.Bounds),
	}
}

// PreloadSeen is what the preloader did in a span of time.
type PreloadSeen struct {
	PreloadCount
	// Threshold is the threshold in force on average, Bound the share of the time in which it was over the knob.
	Threshold float64 `json:"threshold"`
	Bound     float64 `json:"bound"`
	// Budget is the budget's knob, and Allowed what the operator allows.
	Budget  float64 `json:"budget"`
	Allowed float64 `json:"allowed"`
}

// PreloadMeter keeps what the preloader counted, over time. Safe for concurrent use.
type PreloadMeter struct {
	mu   sync.Mutex // guards what follows
	last PreloadCount
	seen bool
	sums history[PreloadCount, *PreloadCount]
}

// NewPreloadMeter returns an empty PreloadMeter.
func NewPreloadMeter() *PreloadMeter { return new(PreloadMeter) }

// Measure takes in what was counted up to now and tells what came in [from, to). Budget and Allowed are the
// caller's to fill in.
func (p *PreloadMeter) Measure(now time.Time, c PreloadCount, from, to time.Time) PreloadSeen {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen {
		step := c.since(&p.last)
		p.sums.at(now, func(sums *PreloadCount) { sums.add(&step) })
	}
	p.last, p.seen = c, true
	m := PreloadSeen{PreloadCount: p.sums.between(from, to)}
	m.Threshold, m.Bound = m.Thresholds/max(m.Looks, 1), m.Bounds/max(m.Looks, 1)
	return m
}

package observe

import (
	"slices"
	"time"
)

const (
	// pastBucket is the grain of a signal's past, pastBuckets how many are kept: one hour.
	pastBucket  = time.Minute
	pastBuckets = 60
	// pastRecent is left out of the past, so that what goes wrong now does not count as usual.
	pastRecent = 5
	// pastLeast is how many buckets must be known before anything is judged by them.
	pastLeast = 10
	// pastHold is how long an alert keeps the past as it was. Without it a bad hour would become the
	// usual; for ever, a change for good would never end its alert.
	pastHold = 6 * time.Hour
)

// past is what a signal usually was: the mean of each of the last minutes in which it was judged.
type past struct {
	begin   time.Time // of the open bucket
	sum     float64
	n       int
	buckets []float64 // closed ones, oldest first, at most pastBuckets
}

// add notes a value. Values must come in order of time.
func (p *past) add(at time.Time, v float64) {
	if p.n > 0 && at.Sub(p.begin) >= pastBucket {
		if len(p.buckets) == pastBuckets {
			p.buckets = slices.Delete(p.buckets, 0, 1)
		}
		p.buckets = append(p.buckets, p.sum/float64(p.n))
		p.sum, p.n = 0, 0
	}
	if p.n == 0 {
		p.begin = at
	}
	p.sum += v
	p.n++
}

// usual is the median of the past without its latest minutes, false if too little is known. The
// median, since a mean would follow one bad quarter of an hour.
func (p *past) usual() (float64, bool) {
	n := len(p.buckets) - pastRecent
	if n < pastLeast {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(p.buckets[:n]))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, true
}

package tuner

import "time"

// periods are the lengths that quotas have in practice. A window of another length is found as what was
// admitted from one opening to the next.
var periods = [...]time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// likely are the periods most quotas have: a probe is spent on each.
func likely(period time.Duration) bool {
	switch period {
	case time.Second, time.Minute, time.Hour, 24 * time.Hour:
		return true
	}
	return false
}

const (
	// sliceCount is into how many parts a period is counted, and sliceRing how many of them are kept: two
	// periods, so that calls may end long after they started.
	sliceCount = 64
	sliceRing  = 2 * sliceCount
)

// sendLog counts admitted calls by when they started, for each of the periods. It takes 9 KB and about
// 0.1 us a call.
type sendLog struct {
	newest [len(periods)]int64
	rings  [len(periods)][sliceRing]uint32
}

// add counts n calls.
func (l *sendLog) add(start time.Time, n uint32) {
	for i := range periods {
		l.addTo(i, start, n)
	}
}

// addTo counts n calls for the i-th period alone.
func (l *sendLog) addTo(i int, start time.Time, n uint32) {
	slice := start.UnixNano() / (int64(periods[i]) / sliceCount)
	r := &l.rings[i]
	switch newest := l.newest[i]; {
	case slice < 0 || slice <= newest-sliceRing:
		return
	case slice > newest:
		for s := max(newest+1, slice-sliceRing+1); s <= slice; s++ {
			r[s%sliceRing] = 0
		}
		l.newest[i] = slice
	}
	r[slice%sliceRing] += n
}

// count is how many calls started in [from, to], rounded to whole slices of the i-th period.
func (l *sendLog) count(i int, from, to time.Time) float64 {
	width := int64(periods[i]) / sliceCount
	first, last := from.UnixNano()/width, to.UnixNano()/width
	first, last = max(first, l.newest[i]-sliceRing+1), min(last, l.newest[i])
	n := uint64(0)
	for s := first; s <= last; s++ {
		n += uint64(l.rings[i][s%sliceRing])
	}
	return float64(n)
}

// oldest is when the first call counted in [from, to] started, to within a slice; zero: none.
func (l *sendLog) oldest(i int, from, to time.Time) time.Time {
	width := int64(periods[i]) / sliceCount
	first, last := max(from.UnixNano()/width, l.newest[i]-sliceRing+1), min(to.UnixNano()/width, l.newest[i])
	for s := first; s <= last; s++ {
		if l.rings[i][s%sliceRing] > 0 {
			return time.Unix(0, s*width)
		}
	}
	return time.Time{}
}

// periodIndex is the period's place among the periods, or that of the shortest one that is not shorter.
func periodIndex(d time.Duration) int {
	for i, p := range periods {
		if p >= d {
			return i
		}
	}
	return len(periods) - 1
}

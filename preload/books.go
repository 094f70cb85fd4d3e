package preload

import "time"

const (
	// maxTokens is how many prefetches may be saved up, firstTokens how many there are to begin with.
	maxTokens   = 10
	firstTokens = 2
	// unknownLife is how long an unasked prefetch counts as outstanding when its freshness is unknown;
	// maxLife bounds it in any case.
	unknownLife = 5 * time.Minute
	maxLife     = time.Hour
	// pauseUnstored and pauseFailed are how long a key is left alone that could not be stored, or fetched.
	pauseUnstored = 10 * time.Minute
	pauseFailed   = time.Minute
	// recentSettled is when the counts behind the precision are halved; judgeSettled and trialSettled are
	// the least to judge them by.
	recentSettled = 200
	judgeSettled  = 20
	trialSettled  = 10
	// firstRest is how long the first stand-down lasts; doubled each time up to longestRest.
	firstRest   = time.Minute
	longestRest = time.Hour
	// routeDoubts is how many more answers of a route may turn out not storable than storable before the
	// route is left alone for pauseUnstored.
	routeDoubts = 2
	maxRoutes   = 1024
	// maxOutstanding bounds the prefetches that are followed at once.
	maxOutstanding = 4096
)

// books follow each prefetch to its fate, and say how many more there may be. Not safe for concurrent
// use.
type books struct {
	ratio        float64
	minPrecision func() float64

	outstanding *clockTable[fate]
	quiet       *clockTable[time.Time] // until when a key needs no prefetch
	routes      *clockTable[routeRecord]
	sweepAt     int

	observed, issued, used, late, wasted, redundant, failed, wastedBytes uint64

	tokens                      float64
	recentGood, recentSettledOf float64
	precision                   float64 // of the last judgement
	standingDown, trial         bool
	dose                        int // what the trial may still issue
	// round counts stand-downs. What was issued before one says nothing about the trial after it.
	round   int
	retryAt time.Time
	rest    time.Duration
}

// fate is a prefetch that is not settled.
type fate struct {
	round   int // the books' round when it was issued
	fetched bool
	ends    time.Time
	bytes   int64
}

// routeRecord says whether answers of a route can be stored at all.
type routeRecord struct {
	doubts int // answers not stored less answers stored, within narrow bounds
	until  time.Time
}

// storable takes in whether an answer of a route could be stored.
func (b *books) storable(route uint64, yes bool, now time.Time) {
	r := b.routes.add(route, nil)
	if yes {
		r.doubts = max(r.doubts-1, -routeDoubts)
		return
	}
	r.doubts = min(r.doubts+1, routeDoubts)
	if r.doubts == routeDoubts {
		r.until = now.Add(pauseUnstored)
	}
}

// worthwhile reports whether prefetches of a route have a chance to be stored.
func (b *books) worthwhile(route uint64, now time.Time) bool {
	r := b.routes.get(route)
	return r == nil || r.doubts < routeDoubts || !now.Before(r.until)
}

// fetchResult is how a prefetch ended.
type fetchResult struct {
	err       error
	redundant bool // no call of its own was made
	stored    bool
	life      time.Duration // freshness, 0 if unknown
	bytes     int64
}

func newBooks(o Options) *books {
	b := &books{ratio: o.BudgetRatio, minPrecision: o.minPrecision, tokens: firstTokens, routes: newClockTable[routeRecord](maxRoutes)}
	b.resize(o.MaxItems)
	return b
}

// resize empties the tables and bounds them anew.
func (b *books) resize(size int) {
	size = min(size, maxOutstanding)
	if b.outstanding != nil {
		b.wasted += uint64(b.outstanding.len())
	}
	b.outstanding, b.quiet = newClockTable[fate](size), newClockTable[time.Time](size)
	b.sweepAt = 0
	if b.trial {
		b.dose = trialSettled
	}
}

// access takes in that a client asked for key.
func (b *books) access(key uint64, hit bool, now time.Time) {
	b.observed++
	b.tokens = min(b.tokens+b.ratio, maxTokens)
	b.sweep(now)
	f := b.outstanding.get(key)
	if f == nil {
		return
	}
	switch {
	case !f.fetched:
		b.late++
		b.settle(key, true, now)
	case hit:
		b.used++
		b.settle(key, true, now)
	default:
		b.waste(f.bytes)
		b.settle(key, false, now)
	}
}

// sweep looks at two outstanding prefetches and gives up those whose time is over. Two for each access
// keep up with at most one prefetch for each.
func (b *books) sweep(now time.Time) {
	slots := b.outstanding.slots
	for range min(2, len(slots)) {
		b.sweepAt = (b.sweepAt + 1) % len(slots)
		if s := &slots[b.sweepAt]; s.live && now.After(s.value.ends) {
			b.waste(s.value.bytes)
			b.settle(s.key, false, now)
		}
	}
}

func (b *books) waste(bytes int64) {
	b.wasted++
	b.wastedBytes += uint64(max(bytes, 0))
}

// wants reports whether a prefetch of key may make sense and be booked.
func (b *books) wants(key uint64, now time.Time) bool {
	if b.tokens < 1 || (b.standingDown && now.Before(b.retryAt)) || b.outstanding.get(key) != nil {
		return false
	}
	if until := b.quiet.get(key); until != nil && now.Before(*until) {
		return false
	}
	return true
}

// issue books a prefetch, if there is budget for it.
func (b *books) issue(key uint64, now time.Time) bool {
	if b.standingDown {
		if now.Before(b.retryAt) {
			return false
		}
		b.standingDown, b.trial, b.dose = false, true, trialSettled
	}
	if b.tokens < 1 || (b.trial && b.dose == 0) {
		return false
	}
	b.tokens--
	if b.trial {
		b.dose--
	}
	b.issued++
	evicted := func(_ uint64, f *fate) {
		b.waste(f.bytes)
		b.judge(f.round, false, now)
	}
	*b.outstanding.add(key, evicted) = fate{round: b.round, ends: now.Add(unknownLife)}
	return true
}

// withdraw takes back a prefetch that was booked and not made.
func (b *books) withdraw(key uint64) {
	b.issued--
	b.giveBack()
	b.outstanding.remove(key)
}

func (b *books) giveBack() {
	b.tokens = min(b.tokens+1, maxTokens)
	if b.trial {
		b.dose++
	}
}

// fetched takes in how a prefetch ended.
func (b *books) fetched(key uint64, r fetchResult, now time.Time) {
	f := b.outstanding.get(key)
	pause := func(d time.Duration) {
		b.outstanding.remove(key)
		*b.quiet.add(key, nil) = now.Add(d)
	}
	switch {
	case r.err != nil:
		b.failed++
		if b.trial {
			b.dose++
		}
		pause(pauseFailed)
	case f == nil:
		// A client was faster, and this was booked as late.
	case r.redundant:
		b.redundant++
		b.giveBack()
		pause(max(r.life, time.Second))
	case !r.stored:
		b.waste(r.bytes)
		b.settle(key, false, now)
		pause(pauseUnstored)
	default:
		life := min(r.life, maxLife)
		if life <= 0 {
			life = unknownLife
		}
		f.fetched, f.ends, f.bytes = true, now.Add(life), r.bytes
	}
}

// settle ends the following of a prefetch.
func (b *books) settle(key uint64, good bool, now time.Time) {
	f := b.outstanding.get(key)
	if f == nil {
		return
	}
	round := f.round
	b.outstanding.remove(key)
	if good {
		// The call would have been made anyway, so it cost nothing.
		b.tokens = min(b.tokens+1, maxTokens)
	}
	b.judge(round, good, now)
}

// judge takes in the fate of a prefetch of a round, and judges the precision.
func (b *books) judge(round int, good bool, now time.Time) {
	if round != b.round {
		return
	}
	b.recentSettledOf++
	if good {
		b.recentGood++
	}
	b.precision = b.recentGood / b.recentSettledOf
	need := float64(judgeSettled)
	if b.trial {
		need = trialSettled
	}
	if b.recentSettledOf < need {
		return
	}
	if b.precision < b.minPrecision() {
		b.standDown(now)
		return
	}
	b.trial, b.rest = false, 0
	if b.recentSettledOf >= recentSettled {
		b.recentSettledOf /= 2
		b.recentGood /= 2
	}
}

func (b *books) standDown(now time.Time) {
	b.rest = min(max(2*b.rest, firstRest), longestRest)
	b.standingDown, b.trial = true, false
	b.round++
	b.retryAt = now.Add(b.rest)
	b.recentGood, b.recentSettledOf = 0, 0
}

func (b *books) stats() Stats {
	s := Stats{
		Observed: b.observed, Issued: b.issued, Used: b.used, Late: b.late, Wasted: b.wasted, Redundant: b.redundant,
		Failed: b.failed, Outstanding: b.outstanding.len(), WastedBytes: b.wastedBytes, Precision: b.precision,
		StandingDown: b.standingDown,
	}
	if b.standingDown {
		s.RetryAt = b.retryAt
	}
	return s
}

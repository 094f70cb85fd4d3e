package tuner

import (
	"fmt"
	"math"
	"time"
)

// A closure is a time in which an upstream admits nothing. It is waited out with single probes. When it
// ends tells what kind of quota was met, see learn.
type closure struct {
	began   time.Time // when sending stopped
	refused time.Time // when the first refused call was sent
	last    time.Time // when the last one was
	failed  time.Time // when the last refused probe before the present one was sent
	until   time.Time // nothing is sent before; one probe may go then
	told    bool      // until is what Retry-After said
	trickle bool      // the one probe of a long Retry-After is still to be sent
	probes  int
	known   bool // a trial or a window of another kind explains it
	// fixed and rolling are what such windows of each period had admitted when the closure began, and late
	// the admitted calls that were under way then.
	fixed, rolling [len(periods)]float64
	late           float64
}

// newClosure begins a closure with the refusal of a call sent at refused.
func (s *QuotaState) newClosure(e QuotaEvent, refused time.Time) *closure {
	c := &closure{began: e.Now, refused: refused, last: e.Start}
	for i, p := range periods {
		c.fixed[i] = s.log.count(i, refused.Truncate(p), e.Now)
		c.rolling[i] = s.log.count(i, refused.Add(-p), e.Now)
	}
	s.streak, s.epoch = 0, RateEpoch{}
	return c
}

const (
	// leastPause is the least pause before the first probe, probeGrowth how much longer each next one is.
	leastPause  = 5 * time.Millisecond
	probeGrowth = 3
	// probeMargin is how long after a window's end the probe goes: clocks differ.
	probeMargin = 25 * time.Millisecond
	// probeSpacing: between two likely ends of a window that lie closer than this share of the closure so
	// far, no probe is spent.
	probeSpacing = 0.5
	// longestClosure bounds the pause between probes, and what Retry-After is believed.
	longestClosure = 24 * time.Hour
	// trickleAfter is the Retry-After from which one probe goes at half of it, in case it was said of
	// something else.
	trickleAfter = time.Minute
)

// close begins a closure with the refusal e.
func (s *QuotaState) close(e QuotaEvent) {
	known := s.undo(e.Now) || s.contradict(e.Now)
	s.closed = s.newClosure(e, earlier(s.first, e.Start))
	s.closed.until = s.nextProbe(e.Now)
	if s.closed.known = known; known {
		return
	}
	s.note = quotaNote{"closed", fmt.Sprintf("%d calls in a row were refused with 429, so that sending stops but for single probes", max(1, s.closeStreak()))}
}

// toldToWait obeys Retry-After: nothing is sent until then, but for one probe halfway through a long one.
func (s *QuotaState) toldToWait(e QuotaEvent) bool {
	wait := min(e.Told.RetryAfter, longestClosure)
	until := e.Now.Add(wait)
	if c := s.closed; c != nil {
		later := c.told && !until.After(c.until) // the cohort's other refusals say the same
		c.last = latest(c.last, e.Start)
		if later {
			return false
		}
		c.until, c.told, c.trickle = until, true, false
		return true
	}
	if e.Start.Before(s.since) {
		return false
	}
	s.closed = s.newClosure(e, e.Start)
	s.closed.until, s.closed.told, s.closed.trickle = until, true, wait >= trickleAfter
	s.note = quotaNote{"retry-after", fmt.Sprintf("a call was refused with 429 and the word to wait for %s", wait.Round(time.Millisecond))}
	return true
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// whileClosed takes a call that ended during a closure.
func (s *QuotaState) whileClosed(e QuotaEvent) bool {
	c := s.closed
	if e.Start.Before(c.began) {
		if e.Refused {
			c.last = latest(c.last, e.Start)
		} else {
			c.late++
		}
		return false // it was under way when the closure began
	}
	if !e.Refused {
		if c.told && e.Start.Before(c.until) && !c.trickle {
			return false // sent before the word came
		}
		// Calls that followed an admitted one may have been refused, and ended before it.
		if !c.last.Before(e.Start) {
			c.last = latest(c.failed, c.refused)
		}
		s.reopen(e)
		return true
	}
	if e.Start.Sub(c.last) > s.refusedTrip {
		c.failed = c.last
	}
	c.last = latest(c.last, e.Start)
	c.told = false
	c.probes++
	s.met++
	c.until = s.nextProbe(e.Now)
	return true
}

// holdUntil is when the next call may go; zero: now.
func (c *closure) holdUntil() time.Time {
	if c.trickle {
		return c.last.Add(c.until.Sub(c.last) / 2)
	}
	return c.until
}

// nextProbe is when to send one call to see whether the closure has ended: at the end of the window that
// is known to be used up; else at what may be the end of a window, and between these at times that grow
// with the closure.
func (s *QuotaState) nextProbe(now time.Time) time.Time {
	c := s.closed
	age := c.last.Sub(c.refused)
	if end := s.knownEnd(now); end.After(now) && c.probes == 0 {
		return end.Add(probeMargin)
	}
	if w := &s.Short; w.Kind == KindFixed && w.Period > 0 && c.probes == 1 {
		return latest(c.last.Truncate(w.Period).Add(w.Period), now).Add(probeMargin)
	}
	first := leastPause
	if r := s.Rate(); r > 0 {
		first = max(first, time.Duration(float64(time.Second)/r))
	}
	next := c.last.Add(max(min((probeGrowth-1)*age, longestClosure/4), first))
	for i, p := range periods {
		if p < max(age, first) {
			continue
		}
		for _, end := range []time.Time{c.refused.Truncate(p).Add(p), s.rollingEnd(i, p)} {
			end = end.Add(probeMargin)
			if end.After(c.last) && end.After(now) && end.Before(next) && (likely(p) || end.Sub(c.last) > time.Duration(probeSpacing*float64(age))) {
				next = end
			}
		}
	}
	return latest(next, now)
}

// rollingEnd is when a rolling window would admit again: when the first call that it counts leaves it.
func (s *QuotaState) rollingEnd(i int, p time.Duration) time.Time {
	from := s.closed.refused.Add(-p)
	if s.opened.After(from) {
		return s.opened.Add(p)
	}
	oldest := s.log.oldest(i, from, s.closed.refused)
	if oldest.IsZero() {
		return s.closed.refused
	}
	return oldest.Add(p)
}

// knownEnd is the end of the known window that is used up; zero: none is.
func (s *QuotaState) knownEnd(now time.Time) time.Time {
	for i := range s.Windows {
		w := &s.Windows[i]
		switch {
		case w.Source == SourceHeaders && w.Remaining == 0 && w.Reset.After(now) && !w.sliding():
			return w.Reset
		case w.Source == SourceLearned && w.Kind == KindFixed && s.used(w, now) >= usedUpRatio*w.Limit:
			return now.Truncate(w.Period).Add(w.Period)
		case w.Source == SourceLearned && w.Kind == KindRolling && s.used(w, now) >= usedUpRatio*w.Limit:
			i := periodIndex(w.Period)
			if oldest := s.log.oldest(i, now.Add(-w.Period), now); !oldest.IsZero() {
				return oldest.Add(w.Period + periods[i]/sliceCount)
			}
		}
	}
	return time.Time{}
}

// usedUpRatio of a limit used is as good as all.
const usedUpRatio = 0.9

// reopen ends a closure with the admitted probe e, and learns from how long it lasted.
func (s *QuotaState) reopen(e QuotaEvent) {
	c := s.closed
	if !c.told {
		s.learn(e.Start)
	} else {
		s.note = quotaNote{"waited", "the time of Retry-After is over"}
	}
	s.closed = nil
	s.opened, s.cycle = e.Start, 1
	s.since, s.streak, s.first = e.Start, 0, time.Time{}
	s.epoch, s.from = RateEpoch{}, e.Now
	if s.Pace.Pace > 0 {
		// The time of the closure was none in which the pace could have been used.
		s.Pace.Cut, s.Pace.Saved = e.Now, 0
	}
}

// learn works out from a closure that ended with the call sent at opened what kind of quota was met.
//
// A bucket admits again about as soon as it gives a token; a window keeps shut until it ends (fixed: at a
// multiple of its period since midnight UTC) or until its first call leaves it (rolling). Each kind and
// period so predicts an end, and is believed more when the end lay between the last refused probe and the
// first admitted one, less when not.
func (s *QuotaState) learn(opened time.Time) {
	c := s.closed
	s.opens = opened
	shut := opened.Sub(c.refused)
	if c.known && shut < long {
		return
	}
	if shut < bucketShut || s.cycleRate(opened)*shut.Seconds() < bucketTokens {
		s.learnBucket()
		return
	}
	kind, i, weight := s.likeliest(s.weigh(opened, shut))
	if weight <= 0 || periods[i] < long && s.Pace.Pace > 0 && weight < 1 {
		s.learnUnknown(opened)
		return
	}
	limit := c.rolling[i] + c.late
	if kind == KindFixed {
		limit = c.fixed[i] + c.late
	}
	w := QuotaWindow{
		Name: windowName(periods[i]), Kind: kind, Limit: limit, Period: periods[i],
		Source: SourceLearned, Confidence: weight / (weight + 1), Met: opened,
	}
	if w.Limit < 1 {
		return
	}
	s.adopt(w)
}

const (
	// bucketTokens is how many calls at the rate of the upstream a closure may last for it to be a bucket's,
	// and bucketShut how long it may in any case: there are no windows as short as that.
	bucketTokens = 6
	bucketShut   = 100 * time.Millisecond
	// unusualRatio of a cycle must be shut for its length to be taken for a period.
	unusualRatio = 0.25
)

// cycleRate is what was admitted per second from one opening to the next, calls per second, as far as
// the pace did not go beyond what is known.
func (s *QuotaState) cycleRate(opened time.Time) float64 {
	rate := (s.cycle - 1) / max(opened.Sub(s.opened), time.Millisecond).Seconds()
	if s.Pace.Top > 0 {
		rate = min(rate, s.Pace.Top)
	}
	return rate
}

func (s *QuotaState) learnBucket() {
	s.note = quotaNote{"bucket", "calls are admitted again about as soon as a token bucket would have one: a steady rate is what fits"}
	for i := range s.Windows {
		if w := &s.Windows[i]; w.Source == SourceLearned && s.used(w, s.closed.refused) >= usedUpRatio*w.Limit {
			// It was at its end, yet did not keep shut: one call too many at its edge.
			w.Limit = max(w.Limit-max(1, 0.005*w.Limit), 1)
			w.Steady = 0
			return
		}
	}
	if s.strays++; s.Pace.Pace == 0 && (s.met < firstRefusals || len(s.counted()) > 0 && s.strays < closeStreak) {
		return // a stray one
	}
	s.strays = 0
	if w := &s.Short; w.Kind == KindFixed && s.closed.refused.Truncate(w.Period).Add(w.Period-probeMargin).After(s.opens) {
		key := guess(w.Kind, w.Period)
		s.Guesses[key] = max(s.Guesses[key]-1.5, -3)
		s.Short = QuotaWindow{Name: "short", Kind: KindBucket, Source: SourceLearned, Confidence: 0.3}
	}
	if s.Short.Kind == "" {
		s.Short = QuotaWindow{Name: "short", Kind: KindBucket, Source: SourceLearned, Confidence: 0.5}
	}
	s.Pace.Top = max(s.bucketRate(), leastPace)
	s.Pace.Pace = max(s.Pace.Top*(1-gentleCut), leastPace)
}

// bucketRate is the rate of a bucket that was met, calls per second: what was admitted from opening to
// opening, or, where that is too few calls, a bit less than the pace.
func (s *QuotaState) bucketRate() float64 {
	c := s.closed
	n, span := s.cycle-1, c.last.Sub(s.opened).Seconds()
	rate := n / max(span, 0.01)
	if s.Pace.Pace == 0 {
		return (n + 1) / max(s.opens.Sub(s.opened).Seconds(), 0.01)
	}
	if n >= epochCalls && span < max(time.Minute.Seconds(), 10*plateauCalls/s.Pace.Top) {
		if lately := c.rolling[0]; lately >= epochCalls && span > 1 {
			rate = lately
		}
		s.Pace.Steady++
		// A strict bucket refuses at once, a deep one late: the rate is between what passed and the pace.
		return min(s.Pace.Pace, 1.03*rate)
	}
	s.Pace.Steady = 0
	cut := steadyCut * s.Pace.Pace
	if s.strained.IsZero() || c.refused.Sub(s.strained).Seconds() > max(long.Seconds(), 2*epochCalls/s.Pace.Pace) {
		s.strained, s.passed = c.refused, 0
		return cut
	}
	// Several closures with few calls between: what passed over all of them says more.
	s.passed += n + 1
	if over := c.last.Sub(s.strained).Seconds(); s.passed >= 3 && over > 0 {
		return min(cut, strainMargin*s.passed/over)
	}
	return cut
}

// strainMargin is what is added to what passed over a few closures, which is a coarse count.
const strainMargin = 1.15

// steadyCut is what is left of a pace that was refused altogether.
const steadyCut = 0.85

// weigh takes the closure's end as evidence for and against each kind and period, and gives those that it fits.
func (s *QuotaState) weigh(opened time.Time, shut time.Duration) (fits map[string]bool) {
	c := s.closed
	if s.Guesses == nil {
		s.Guesses = make(map[string]float64)
	}
	fits = make(map[string]bool)
	slack := 2*probeMargin + shut/50
	for i, p := range periods {
		for _, kind := range []string{KindFixed, KindRolling} {
			end := c.refused.Truncate(p).Add(p)
			edge := slack
			if kind == KindRolling {
				end = s.rollingEnd(i, p)
				edge += p / sliceCount
			}
			key := guess(kind, p)
			if end.After(c.last.Add(-edge)) && !end.After(opened.Add(edge)) {
				// The sharper the moment of the opening is known, the more it says.
				sharp := 1 - opened.Sub(c.last).Seconds()/(2*shut.Seconds())
				s.Guesses[key] = min(s.Guesses[key]+sharp, 6)
				fits[key] = true
			} else {
				s.Guesses[key] = max(s.Guesses[key]-1.5, -3)
			}
		}
	}
	return fits
}

func guess(kind string, p time.Duration) string { return kind + " " + p.String() }

// likeliest is the kind and period of fits that closures so far spoke for most; of equals the shortest, which costs
// least if it is wrong. weight is 0 or less if none did.
func (s *QuotaState) likeliest(fits map[string]bool) (kind string, period int, weight float64) {
	weight = math.Inf(-1)
	for i, p := range periods {
		for _, k := range []string{KindFixed, KindRolling} {
			w, ok := s.Guesses[guess(k, p)]
			if likely(p) {
				w += prior
			}
			if ok && w > weight && fits[guess(k, p)] {
				kind, period, weight = k, i, w
			}
		}
	}
	if kind == "" || s.Guesses[guess(kind, periods[period])] <= 0 {
		weight = 0
	}
	return kind, period, max(weight, 0)
}

// prior is the head start of the periods that most quotas have.
const prior = 0.4

// learnUnknown is left where the closure fits no usual window: what was admitted from one opening to the
// next is what there is a quota for.
func (s *QuotaState) learnUnknown(opened time.Time) {
	span, n := opened.Sub(s.opened), s.cycle-1
	if n < 1 || opened.Sub(s.closed.refused).Seconds() < unusualRatio*span.Seconds() {
		s.note = quotaNote{"unexplained", "nothing was admitted for a time that fits no window: it is waited out"}
		if s.Pace.Pace > 0 {
			s.Pace.Top = max(s.bucketRate(), leastPace)
			s.Pace.Pace = max(s.Pace.Top*(1-gentleCut), leastPace)
		}
		return
	}
	if span < long {
		s.Pace.Top = max(s.bucketRate(), leastPace)
		s.Pace.Pace = max(s.Pace.Top*(1-gentleCut), leastPace)
		if s.Short.Kind == "" {
			s.Short = QuotaWindow{Name: "short", Kind: KindBucket, Source: SourceLearned, Confidence: 0.2}
		}
		return
	}
	s.adopt(QuotaWindow{Name: "unusual", Kind: KindRolling, Limit: n, Period: span, Source: SourceLearned, Confidence: 0.2, Met: opened})
}

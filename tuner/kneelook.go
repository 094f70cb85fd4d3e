package tuner

import (
	"math"
	"time"
)

// What looks go by. Ratios are 0..1.
const (
	// lookLeast and lookMost bound how far a look goes; lookSure is how many standard deviations of its
	// noise the effect of a look should be.
	lookLeast = 0.05
	lookMost  = 0.2
	lookSure  = 3
	// lookDeep is how far down a look goes after calls have come to take creepRatio times as long by and by.
	lookDeep   = 0.35
	creepRatio = 1.2
	// lookDoubt: a look that leaves the knee so many times less certain than it was goes on.
	lookDoubt = 2
	// lookLongest is how many times as long as its first epoch a look lasts at most.
	lookLongest = 4
	// lookLoss is the share of throughput that looks may cost in the mean.
	lookLoss = 0.008
	// lookPauseLeast and lookPauseMost are how many times as long as a look the pause after it is.
	lookPauseLeast = 3
	lookPauseMost  = 20
	// eagerLooks come early after a change.
	eagerLooks = 3
	// downEvery: at least one look in so many is downward, and every second if more is to be learned there.
	downEvery = 4
)

// looking is where the looks are at.
type looking struct {
	quiet, pause time.Duration // since the last one, and how long to wait
	took, first  time.Duration // what the present one took so far, and its first epoch
	precision    float64       // 1/variance of the present one
	size         float64
	sure         float64 // one standard deviation of the knee (of the logarithm) before it
	count        int
	eager        int // so many looks come early, after a change
}

// lookAround begins a look if it is time.
func (k *kneeStep) lookAround() (Step, bool) {
	l := &k.s.look
	if l.pause == 0 {
		l.pause = lookPauseLeast * k.e.Span
	}
	hinted := k.s.slower > sumMost || k.s.faster > sumMost
	if l.quiet < l.pause && !hinted || k.s.other != nil || k.a.ProbeRatio < 0 {
		return Step{}, false
	}
	upward := k.s.faster > sumMost
	_, v, _, ok := k.peek()
	if !ok {
		return Step{}, false
	}
	l.size = min(max(lookSure*math.Sqrt(2*v*k.s.excess), lookLeast), lookMost)
	up := max(k.e.Limit*(1+l.size), k.e.Limit+1)
	far := l.size / 2 // fewer cost more than more do: half as far
	lk, _ := k.s.belief.knee()
	above := 1 - math.Exp(lk)/k.e.Limit // far above the knee, as it is thought to be: would as much be done there?
	deep := k.crept()
	switch {
	case deep:
		far = lookDeep
	case above > far && l.count%2 == 1:
		far, deep = min(above, lookDeep), true
	}
	down := min(k.e.Limit*(1-far), k.e.Limit-1)
	l.count++
	rule, to := "look-up", k.bound(up)
	if !upward && hinted || !upward && (l.count%downEvery == 0 || deep || l.count%2 == 0 && k.unsure(max(down, 1)) > max(1.5*k.unsure(up), math.Sqrt(v)/2)) {
		rule, to = "look-down", k.bound(down)
	}
	if to == k.e.Limit {
		if to = k.bound(down); to == k.e.Limit {
			return Step{}, false
		}
		rule = "look-down"
	}
	l.took, l.first, l.precision = 0, 0, 0
	_, l.sure = k.s.belief.knee()
	return k.move(KneeLook, to, rule, "%s: looking what %.0f do", k.sentence(), to), true
}

// crept reports whether the time of a call alone, as it is believed, has risen by and by, with nothing that
// told why. That may be the upstream's own doing, or a queue that grew too slowly to be noticed: only a look far
// down tells.
func (k *kneeStep) crept() bool {
	s := &k.s
	base := s.belief.meanBase()
	if s.quickest == 0 || base < s.quickest {
		s.quickest = base
	}
	if base < s.quickest+math.Log(creepRatio)+2*math.Sqrt(s.belief.spread) {
		return false
	}
	s.quickest = base // once for each creep
	return true
}

// peek is the noise of an epoch like this one.
func (k *kneeStep) peek() (y, v, shift float64, ok bool) {
	b := k.s.blend
	now, noise := b.times(k.e)
	total := b.total(now)
	for name, r := range b.Routes {
		v += r.Share * r.Share * noise[name]
	}
	return 0, v / max(total*total, 1e-18), 0, total > 0
}

// unsure is how little is known of the time of a call at n, given that at the present limit.
func (k *kneeStep) unsure(n float64) float64 {
	_, v := k.s.belief.foretell(n)
	return math.Sqrt(max(v-k.s.belief.spread, 0))
}

// looked goes on with a look until it says enough, and then to where the belief says.
func (k *kneeStep) looked() Step {
	s, l := &k.s, &k.s.look
	_, v, _, _ := k.peek()
	l.took += k.e.Span
	if l.first == 0 {
		l.first = k.e.Span
	}
	l.precision += 1 / max(v*s.excess, 1e-9)
	tolerance := l.size / lookSure
	_, sure := s.belief.knee()
	doubtful := sure > max(lookDoubt*l.sure, lookLeast) // it contradicts what was believed, and does not settle it
	if (1/l.precision > tolerance*tolerance || doubtful) && l.took < lookLongest*l.first {
		return k.stay("looking", "%.0f workers instead of %.0f: %d calls do not say enough yet", k.e.Limit, s.Rest, k.e.Calls)
	}
	worth := k.worth()
	l.pause, l.quiet = k.pause(worth), 0
	score := func(n float64) float64 { return math.Log(worth(n)) - thrift*math.Log(n) }
	to, _ := k.best(worth)
	if score(to)-score(s.Rest) <= moveGain {
		to = s.Rest
	}
	if to == s.Rest {
		s.Phase = KneeRest
		rule := "give-back"
		if k.e.Limit < to {
			rule = "needed"
		}
		return Step{To: k.bound(to), Rule: rule, Settled: true, Reason: k.sentence() + "; " + plain(to) + " are better as far as is known"}
	}
	s.Rest = to
	return k.move(KneeSettle, to, "knee", "%s: %.0f are expected to do better", k.sentence(), to)
}

func plain(n float64) string { return knobInt.Format(n) }

// pause is how long to wait after a look, so that looks cost no more than they may.
func (k *kneeStep) pause(worth func(n float64) float64) time.Duration {
	l := &k.s.look
	off := math.Abs(k.e.Limit/k.s.Rest - 1)
	times := float64(lookPauseLeast)
	if r := k.a.ProbeRatio; r > 0 {
		times = max(times, off/r-1)
	}
	if l.eager > 0 {
		l.eager--
	} else if loss := 1 - worth(k.e.Limit)/max(worth(k.s.Rest), 1e-9); loss > 0 {
		times = max(times, loss/lookLoss-1)
	}
	return time.Duration(min(times, lookPauseMost) * float64(l.took))
}

// ceiling is a limit at which the upstream refused.
type ceiling struct {
	limit     float64 // the most to go to; 0: none
	left      time.Duration
	length    time.Duration // of the last one; it doubles
	over      float64       // the share that was refused then
	from      float64       // where the cuts began
	unhelpful int           // cuts that made nothing better
	tested    float64       // beyond it steps are small: it refused there before; 0: no such
	demand    bool          // nobody refused: it is what the demand reached
	counted   bool          // nobody refused: fewer answers were counted there
}

// reached bounds growth by what the demand reached, for a while that doubles.
func (c *ceiling) reached(limit float64, trip time.Duration) {
	c.length = min(max(2*c.length, lookPauseMost*trip), lookPauseMost*lookPauseMost*trip)
	c.limit, c.left, c.demand, c.counted = limit, c.length, true, false
}

func (c *ceiling) pass(d time.Duration) {
	c.over, c.unhelpful, c.from = 0, 0, 0
	if c.limit == 0 {
		return
	}
	if c.left -= d; c.left <= 0 {
		if !c.demand {
			c.tested = c.limit
		}
		c.limit = 0
	}
}

// cut gives way to overload, once for each cohort: the epoch holds only calls that started under
// the limit in force.
func (k *kneeStep) cut(over float64) Step {
	s, c := &k.s, &k.s.ceiling
	if s.Rest == 0 {
		s.Rest = k.e.Limit
	}
	if c.from == 0 {
		c.from = k.e.Limit
	} else if over >= 0.9*c.over {
		c.unhelpful++
	}
	c.over = over
	if c.unhelpful >= 2 {
		return k.stay("overload-unmoved", "%.0f %% of %d calls ended in overload or a timeout, but fewer workers did not help", 100*over, k.e.Calls)
	}
	c.length = min(max(2*c.length, lookPauseLeast*2*k.e.Span), lookPauseMost*4*k.e.Span)
	c.left = c.length
	to := min(k.e.Limit*(1-min(over, kneeCut)), k.e.Limit-1)
	if s.Phase == KneeLook && s.Rest < k.e.Limit {
		to = s.Rest
	}
	s.look.quiet = 0
	step := k.move(KneeSettle, to, ruleOverload, "%.0f %% of %d calls ended in overload or a timeout under %.0f workers", 100*over, k.e.Calls, k.e.Limit)
	c.limit, c.demand, c.counted = step.To, false, false
	s.Rest = step.To
	return step
}

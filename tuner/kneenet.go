package tuner

import (
	"math"
	"time"
)

// What the net goes by. Ratios are 0..1.
const (
	// netLeast is the least fall of the answers counted that is one, netNoise how many standard deviations of chance it
	// has to be.
	netLeast = 0.07
	netNoise = 3
	// netSpare is how far below the calls that move the limit goes where others hang: what is left over inside the
	// upstream has to be worked off.
	netSpare = 0.05
	// netPause is how many epochs the net leaves alone what it was wrong about.
	netPause = 60
	// netWait is how many epochs nothing grows after a fall at first; each further one doubles it, up to netMost.
	netWait = 60
	netMost = 600
	// netMix is the change of the routes' shares of the time spent in calls that makes counts incomparable.
	netMix = 0.3
)

const ruleHarm = "harm"

// net judges limits by the answers that were counted by the clock, and knows no model. Whatever the times of the calls
// that end seem to say, a limit under which fewer answers come than under a lower one is too high.
type net struct {
	good, rate float64            // the limit that gave the most, and answers/s counted there; 0: none yet
	from, fell float64            // the limit that was left, and answers/s counted there; 0: none
	harm       bool               // it was left since fewer had done more
	times      map[string]float64 // the routes' shares of the time of the calls that were counted last
	pause      time.Duration
}

// counted is one standard deviation of the answers counted, as a share.
func (e *Epoch) counted() float64 {
	n, sum, squares := 0.0, 0.0, 0.0
	for _, r := range e.Routes {
		n, sum, squares = n+float64(r.N), sum+r.Sum, squares+r.SumSq
	}
	if sum <= 0 || e.Answers == 0 {
		return math.Inf(1)
	}
	spread := max(n*squares/(sum*sum)-1, 0)
	return math.Sqrt((spread + 0.05) / float64(e.Answers))
}

// follow forgets the counts if the mix of routes has become another: a hundred slow answers are more work than a hundred
// quick ones, and the first to end are all quick.
func (n *net) follow(e *Epoch) (forgot bool) {
	total, apart := 0.0, 0.0
	for _, r := range e.Routes {
		total += r.Sum
	}
	times := make(map[string]float64, len(e.Routes))
	for name, r := range e.Routes {
		times[name] = r.Sum / max(total, 1e-9)
		apart += max(0, times[name]-n.times[name])
	}
	if forgot = len(n.times) > 0 && apart > netMix; forgot {
		*n = net{pause: n.pause}
	}
	n.times = times
	return forgot
}

// caught lets the net see the epoch, and returns to fewer permits if more did harm.
func (k *kneeStep) caught() (Step, bool) {
	e, n := k.e, &k.s.net
	n.pause = max(0, n.pause-e.Span)
	if e.Counted <= 0 {
		return Step{}, false
	}
	if n.follow(e) && k.s.ceiling.counted {
		k.s.ceiling = ceiling{}
	}
	least := max(netLeast, netNoise*e.counted())
	if n.from > 0 {
		if step, ok := k.helped(least); ok {
			return step, true
		}
	}
	switch {
	case n.pause == 0 && e.Hanging > 0:
		moving := e.Limit * (1 - e.Hanging)
		to := min(math.Floor(moving*(1-netSpare)), e.Limit-1)
		return k.fall(max(to, e.Limit*(1-kneeCut)), "hanging", "%.0f of %.0f workers hold calls that do not end, and %.1f answers/s are counted: %.0f can do as much",
			e.Limit-moving, e.Limit, e.Counted, to)
	case n.good == 0, e.Counted > n.rate*(1+netLeast/2), e.Limit < n.good && e.Counted > n.rate*(1-netLeast/7):
		n.good, n.rate = e.Limit, e.Counted
	case e.Limit == n.good:
		n.rate += (e.Counted - n.rate) / 4
	case n.pause == 0 && e.Limit > n.good && e.Counted < n.rate*(1-least):
		return k.fall(n.good, ruleHarm, "%.1f answers/s are counted with %.0f workers, and %.1f/s were with %.0f: going back", e.Counted, e.Limit, n.rate, n.good)
	}
	return Step{}, false
}

// fall goes back to fewer permits, and lets nothing grow beyond for a while.
func (k *kneeStep) fall(to float64, rule, format string, args ...any) (Step, bool) {
	s, c := &k.s, &k.s.ceiling
	s.net.from, s.net.fell, s.net.harm = k.e.Limit, k.e.Counted, rule == ruleHarm
	step := k.move(KneeSettle, to, rule, format, args...)
	if step.To >= k.e.Limit {
		s.net.from = 0
		return Step{}, false
	}
	c.length = min(max(2*c.length, netWait*k.e.Span), netMost*k.e.Span)
	c.left, c.limit, c.demand, c.counted = c.length, step.To, false, true
	s.Rest, s.look.quiet, s.Fell = step.To, 0, true
	return step, true
}

// helped looks whether fewer did as much at least. If they did less, or no more where more were to be expected, the
// limit was not the cause, and the net lets go.
func (k *kneeStep) helped(least float64) (Step, bool) {
	e, n, c := k.e, &k.s.net, &k.s.ceiling
	from := n.from
	n.from = 0
	if e.Limit >= from {
		return Step{}, false
	}
	fewer := e.Counted < n.fell*(1-least)
	if changed := n.harm && e.Limit == n.good && e.Counted < (n.rate+n.fell)/2; !fewer && !changed {
		n.good, n.rate = e.Limit, e.Counted
		return Step{}, false
	}
	n.good, n.rate = e.Limit, e.Counted
	n.pause = netPause * e.Span
	c.limit, c.left, c.tested = 0, 0, 0
	if !fewer {
		return Step{}, false
	}
	k.s.Rest = from
	return k.move(KneeSettle, from, "not-harm", "%.1f answers/s are counted with %.0f workers, and %.1f/s were with %.0f: it was not their number", e.Counted, e.Limit, n.fell, from), true
}

// beyond reports whether the last growth went so far that the demand uses up the limit before it and not this one: no
// epoch would ever judge it.
func (s *KneeState) beyond(inFlight int, limit float64) bool {
	n := float64(inFlight)
	return s.Phase == KneeSettle && s.last > 0 && s.last < limit && n >= math.Floor(fullRatio*s.last) && n < math.Floor(fullRatio*limit)
}

// back is where such a growth is taken back to.
func (s *KneeState) back() float64 {
	if g := s.net.good; g > 0 && g < s.last {
		return g
	}
	return s.last
}

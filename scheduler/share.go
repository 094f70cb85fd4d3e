package scheduler

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// ShareStep is the part of the upstream's quota, 0..1, that this scheduler may use from a moment on.
type ShareStep struct {
	From  time.Time
	Ratio float64
	// Likely is the part that it would soon be given if its requests needed it. No request is refused
	// for a wait that this part makes short enough.
	Likely float64
}

// Share is the part of the upstream's quota that is this process's own, where several share one. It
// holds for each of Options.Rates, for told Budgets, and for PaceRate where the Allowance says Shared.
type Share struct {
	// Steps are in order of time; before the first one the share in force stays. Without any there is nothing
	// to share: all of the quota is this scheduler's.
	Steps []ShareStep
	// Add are tokens, by the window's Per, that others left over; as many as fit are added.
	Add map[time.Duration]float64
}

// sharing is a Share at work. The scheduler's lock guards it.
type sharing struct {
	on    bool
	ratio float64 // in force; 1 while off
	// likely is the part to reckon with in predictions, at least ratio.
	likely float64
	steps  []ShareStep // those to come
	// arrived is Demand.Arrived; came and went are what it has counted of the scheduler's.
	arrived, came float64
	went          uint64
	freed         map[time.Duration]float64
}

// Demand is what the calls that want to start say of the share that is needed.
type Demand struct {
	// Arrived counts the calls that were asked for, refused ones too, as far as the permits would let them go.
	Arrived float64
	// Waiting is how many calls wait for a rate or a quota, and for nothing else.
	Waiting float64
	// Limit is the tightest quota known of the whole upstream, calls per second; 0: none is known.
	Limit float64
	// Saved is how full the bucket of the tightest of Rates is, 0..1.
	Saved float64
}

// SetShare puts sh in force, at once: when it returns, no call goes that sh does not allow. It returns the
// tokens, by the window's Per, that a smaller share leaves to others.
func (s *Scheduler) SetShare(sh Share) (freed map[time.Duration]float64) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share.freed = make(map[time.Duration]float64)
	s.share.on, s.share.steps = len(sh.Steps) > 0, sh.Steps
	if !s.share.on {
		s.applyRatio(1, now)
	}
	s.stepShare(now)
	for i := range s.windows {
		w := &s.windows[i]
		if n := sh.Add[w.Per]; n > 0 && !w.pace {
			if t := w.limiter.TokensAt(now); t >= 0 {
				w.refill(t+n, now)
			}
		}
	}
	s.dispatch(now)
	return s.share.freed
}

// stepShare puts the step in force whose time has come. The caller holds the lock.
func (s *Scheduler) stepShare(now time.Time) {
	n := 0
	for n < len(s.share.steps) && !s.share.steps[n].From.After(now) {
		n++
	}
	if n == 0 {
		return
	}
	step := s.share.steps[n-1]
	s.share.steps = s.share.steps[n:]
	s.applyRatio(step.Ratio, now)
	s.share.likely = min(max(step.Likely, s.share.ratio), 1)
}

func (s *Scheduler) applyRatio(ratio float64, now time.Time) {
	if !(ratio > 0) {
		ratio = 0
	}
	ratio = min(ratio, 1)
	if ratio == s.share.ratio {
		return
	}
	s.share.ratio = ratio
	s.windows.setShare(ratio, s.quotas.Shared, s.share.freed, now)
	for _, w := range s.quotas.budgets {
		w.setShare(ratio)
	}
}

// handover is about how long it takes until a share follows a demand.
const handover = 200 * time.Millisecond

// likelyUntil is how long it takes until n tokens are there, if the share follows demand, and how many
// tokens a second then come.
func (s *Scheduler) likelyUntil(w *window, n float64, now time.Time) (wait time.Duration, perSecond float64) {
	wait, perSecond = w.until(n, now), w.perSecond()
	if likely := s.share.likely; s.share.on && likely > w.share && !w.off && (!w.pace || s.quotas.Shared) {
		perSecond = w.Rate.perSecond() * likely
		wait = min(wait, handover+seconds(max(n-w.limiter.TokensAt(now), 0)/perSecond))
	}
	return wait, perSecond
}

// arrivals brings the count of calls that were asked for up to date: what came while permits were what was
// missing asks for no more of the quota than was sent.
func (s *Scheduler) arrivals() float64 {
	m := &s.share
	came, went := s.came-m.came, float64(s.started-m.went)
	m.came, m.went = s.came, s.started
	if s.binding.now == boundPermits {
		came = min(came, went)
	}
	m.arrived += came
	return m.arrived
}

// nextShare is how long until the share changes by itself; 0: it does not.
func (s *Scheduler) nextShare(now time.Time) time.Duration {
	if len(s.share.steps) == 0 {
		return 0
	}
	return max(s.share.steps[0].From.Sub(now), time.Microsecond)
}

// setShare gives each window its part. What a smaller part leaves over is noted in freed.
func (ws windows) setShare(ratio float64, pace bool, freed map[time.Duration]float64, now time.Time) {
	for i := range ws {
		w := &ws[i]
		if w.pace && !pace {
			continue
		}
		before := w.share
		w.share = ratio
		if w.limiter == nil {
			continue
		}
		tokens := w.limiter.TokensAt(now)
		if tokens < 0 { // a retry has reserved some: the debt stays
			w.limiter.SetLimitAt(now, rate.Limit(w.perSecond()))
			w.limiter.SetBurstAt(now, w.depth())
			continue
		}
		keep := tokens
		if ratio < before {
			keep = tokens * ratio / before
		}
		keep = min(keep, float64(w.depth()))
		if freed != nil && !w.pace {
			freed[w.Per] += tokens - keep
		}
		w.refill(keep, now)
	}
}

// setPaceShare has the pace shared, or not.
func (ws windows) setPaceShare(ratio float64, shared bool, now time.Time) {
	n := len(ws)
	if n == 0 || !ws[n-1].pace {
		return
	}
	if !shared {
		ratio = 1
	}
	ws[n-1:].setShare(ratio, true, nil, now)
}

// perSecond is the rate in force.
func (w *window) perSecond() float64 { return w.Rate.perSecond() * w.share }

// depth is how many calls may be saved up. A part of a bucket has room for one call at least, or it would
// never let any go.
func (w *window) depth() int { return max(1, int(float64(w.Burst)*w.share)) }

// refill makes the limiter anew with so many tokens, fractions included: x/time/rate can't add any.
func (w *window) refill(tokens float64, now time.Time) {
	per, depth := w.perSecond(), w.depth()
	w.limiter = rate.NewLimiter(rate.Limit(per), depth)
	tokens = min(max(tokens, 0), float64(depth))
	whole := math.Floor(tokens)
	if part := tokens - whole; part > 0 && per > 0 {
		now = now.Add(-seconds(part / per)) // by now the fraction has come
	}
	w.limiter.AllowN(now, depth-int(whole))
}

// setShare gives the budget its part of what the upstream tells of all calls.
func (w *budget) setShare(ratio float64) {
	if !w.Told {
		return
	}
	if w.share > 0 {
		w.left *= ratio / w.share
	} else {
		w.left = w.total.Left * ratio
	}
	w.share = ratio
	w.Limit, w.Left, w.Rate = w.total.Limit*ratio, w.total.Left*ratio, w.total.Rate*ratio
}

// Bursts are the sizes of the whole upstream's buckets, by their window's Per.
func (s *Scheduler) Bursts() map[time.Duration]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[time.Duration]float64, len(s.windows))
	for i := range s.windows {
		if w := &s.windows[i]; !w.pace {
			out[w.Per] = float64(w.Burst)
		}
	}
	return out
}

// Demand tells what the calls need of the quota.
func (s *Scheduler) Demand() Demand {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepShare(now)
	d := Demand{Arrived: s.arrivals()}
	if s.binding.now >= boundRate {
		waiting := s.queued() - s.q.classes[backgroundClass].all.n
		d.Waiting = float64(max(waiting, 0)) / max(1, s.meanBatch)
	}
	for i := range s.windows {
		w := &s.windows[i]
		if w.off || w.pace && !s.quotas.Shared {
			continue
		}
		if per := w.Rate.perSecond(); d.Limit == 0 || per < d.Limit {
			d.Limit = per
			d.Saved = min(max(w.limiter.TokensAt(now)/float64(w.depth()), 0), 1)
		}
	}
	for _, w := range s.quotas.budgets {
		if per := w.total.Limit / w.Period.Seconds(); w.Told && (d.Limit == 0 || per < d.Limit) {
			d.Limit = per
		}
	}
	return d
}

package scheduler

import (
	"fmt"
	"math/bits"
	"time"
)

// Allowance is what calls are held to beside permits, rates and the pace: what is known of the upstream's
// quotas. Whoever learns them sets it with [Scheduler.SetAllowance]. Its zero value holds nothing back.
type Allowance struct {
	// Hold is until when nothing is sent. Then one call goes, the least urgent; the others follow when
	// a new Allowance comes, or Confirm after it without one. Zero: no hold.
	Hold time.Time
	// Confirm is how long after the first call the absence of a new Allowance means that all is well; 0: ten
	// seconds, or ten mean calls if that is longer.
	Confirm time.Duration
	// Ahead: PaceRate is not kept to; Budgets tell who has to.
	Ahead bool
	// Shared: PaceRate is that of all who share the upstream's quota, so that only this scheduler's Share of
	// it holds. Else it is its own.
	Shared bool
	// Probing is the share of the calls, 0..1, that go over what is known to be admitted; the least urgent
	// make them.
	Probing float64
	// Budgets are long windows.
	Budgets []Budget
}

// Budget is one window of calls that is counted, minutes to a day long.
type Budget struct {
	// Name is told to operators; budgets of one name are one over time.
	Name string
	// Limit calls in each Period.
	Limit  float64
	Period time.Duration
	// Fixed: the window ends at multiples of its Period since the Unix epoch, or at Reset if that is set; else it
	// rolls.
	Fixed bool
	Reset time.Time
	// Told: Left is how many calls are left, calls in flight not counted. Else Used is how many the window
	// counts already when the budget is new.
	Told       bool
	Left, Used float64
	// Rate is the calls per second that use up what is left evenly.
	Rate float64
	// Extra calls of Limit are on trial: the least urgent make them.
	Extra float64
	// Expires is when the budget ends without being set anew; zero: never.
	Expires time.Time
}

const (
	// mostUrgent is the least urgent class that may use a window to its end.
	mostUrgent = uint8(1)
	// reserveRatio of what an even use leaves of a window is for them alone; the interactive classes may
	// use half of that.
	reserveRatio = 0.1
	// rollingReserveRatio is the same for a rolling window, where it is never used up: less, and only while
	// there is urgent traffic.
	rollingReserveRatio = 0.02
	// aheadRatio: while more than this share of what an even use leaves is there, interactive calls go at once.
	aheadRatio = 0.5
	// endRatio of a period before its end counts as that long: what is left over the time left explodes there.
	endRatio = 0.05
	// noWord is the Confirm of an Allowance that has none, and noWordTrips the same in mean calls.
	noWord      = 10 * time.Second
	noWordTrips = 10
	// leastLook is the shortest wait between two looks at a budget.
	leastLook = time.Millisecond
	// budgetSlices is into how many parts a rolling window is counted.
	budgetSlices = 64
	budgetsMax   = 16
)

// quotas is an Allowance at work. The scheduler's lock guards it.
type quotas struct {
	Allowance
	probed  bool
	at      time.Time // of the call after the hold
	credit  float64   // of the least urgent, for probing
	budgets []*budget
	urgent  time.Time // when the last call of the most urgent classes went
}

// budget is a Budget at work.
type budget struct {
	Budget
	total Budget  // as it was set; Budget is this scheduler's share of it
	share float64 // 0..1
	left  float64
	at    time.Time // when left and even were brought up to date
	end   time.Time // of the fixed window
	even  float64   // tokens of the even rate; below 0 when others went ahead
	ring  [budgetSlices + 1]float64
	slice int64 // of ring, the newest
}

// SetAllowance puts a in force.
func (s *Scheduler) SetAllowance(a Allowance) {
	now := time.Now()
	s.mu.Lock()
	q := &s.quotas
	if !a.Hold.Equal(q.Hold) {
		q.probed = false
	}
	if len(a.Budgets) > budgetsMax {
		a.Budgets = a.Budgets[:budgetsMax]
	}
	old := q.budgets
	shared := q.Shared
	q.Allowance, q.budgets = a, nil
	if s.share.on && a.Shared != shared {
		s.windows.setPaceShare(s.share.ratio, a.Shared, now)
	}
	for _, b := range a.Budgets {
		if !(b.Limit > 0) || b.Period <= 0 {
			continue
		}
		w := renewed(b, old, s.inFlight, now)
		w.total, w.share = b, 1
		w.setShare(s.share.ratio)
		q.budgets = append(q.budgets, w)
	}
	s.binding.init(len(s.windows)+1+len(q.budgets), now)
	s.dispatch(now)
	s.mu.Unlock()
}

// renewed is the budget at work for b: the one of its name in old, brought up to date, or a new one.
func renewed(b Budget, old []*budget, inFlight int, now time.Time) *budget {
	w := &budget{at: now, even: 1}
	for _, o := range old {
		if o.Name == b.Name && o.Fixed == b.Fixed && o.Period == b.Period {
			w = o
			w.settle(now)
			w.left += b.Limit - o.Limit
			break
		}
	}
	fresh := w.Name == ""
	if fresh {
		w.left = b.Limit
		if !b.Fixed {
			w.slice = now.UnixNano() / (int64(b.Period) / budgetSlices)
			w.ring[w.slice%(budgetSlices+1)] = b.Used
		}
		w.left -= b.Used
	}
	w.Budget = b
	if b.Told {
		w.left = b.Left - float64(inFlight)
	}
	switch {
	case !b.Fixed:
		w.end = time.Time{}
	case b.Reset.After(now):
		w.end = b.Reset
	default:
		w.end = now.Truncate(b.Period).Add(b.Period)
	}
	return w
}

// settle brings w up to date.
func (w *budget) settle(now time.Time) {
	span := now.Sub(w.at)
	if span < 0 {
		return
	}
	switch {
	case w.Fixed && !now.Before(w.end):
		w.left, w.even = w.Limit, 1
		w.end = w.end.Add(w.Period * (1 + now.Sub(w.end)/w.Period))
	case !w.Fixed && w.Told:
		w.left = min(w.left+w.Limit/w.Period.Seconds()*span.Seconds(), w.Limit)
	case !w.Fixed:
		w.roll(now)
	}
	w.even = min(w.even+w.rate(now)*span.Seconds(), max(1, w.rate(now)*paceBurst.Seconds()))
	w.at = now
}

// roll gives back the calls that have left a rolling window.
func (w *budget) roll(now time.Time) {
	slice := now.UnixNano() / (int64(w.Period) / budgetSlices)
	for s := max(w.slice+1, slice-budgetSlices); s <= slice; s++ {
		i := s % (budgetSlices + 1)
		w.left += w.ring[i]
		w.ring[i] = 0
	}
	if slice-w.slice > budgetSlices {
		w.left = w.Limit
	}
	w.slice = max(w.slice, slice)
}

// rate is the calls per second that use up what is left evenly.
func (w *budget) rate(now time.Time) float64 {
	if !w.Fixed || w.Told {
		return w.Rate
	}
	left := max(w.end.Sub(now).Seconds(), endRatio*w.Period.Seconds())
	return (max(w.left, 0) + 1) / left
}

// line is what an even use would leave now.
func (w *budget) line(now time.Time) float64 {
	if !w.Fixed {
		return w.Limit
	}
	return w.Limit * min(max(w.end.Sub(now).Seconds()/w.Period.Seconds(), 0), 1)
}

// reserve is what a class must leave to those more urgent.
func (w *budget) reserve(class uint8, urgent, now time.Time) float64 {
	if class <= mostUrgent {
		return 0
	}
	r := reserveRatio * w.line(now)
	if !w.Fixed {
		if r = rollingReserveRatio * w.Limit; now.Sub(urgent) > w.Period {
			return 0
		}
	}
	if class <= interactive {
		r /= 2
	}
	return r
}

// wait is how long until a call of a class may go, 0 if now.
func (w *budget) wait(class uint8, urgent, now time.Time) time.Duration {
	if !w.Expires.IsZero() && now.After(w.Expires) {
		return 0
	}
	w.settle(now)
	reserve := w.reserve(class, urgent, now)
	if missing := 1 + reserve - w.left; missing > 1e-9 {
		return max(w.refill(missing, now), leastLook)
	}
	if class <= mostUrgent || class <= interactive && w.left-1 > aheadRatio*w.line(now) || w.even >= 1 {
		return 0
	}
	return max(seconds((1-w.even)/max(w.rate(now), 1e-9)), leastLook)
}

// refill is about how long until n more calls are left.
func (w *budget) refill(n float64, now time.Time) time.Duration {
	switch {
	case w.Fixed:
		return w.end.Sub(now) + time.Microsecond
	case w.Told:
		return seconds(n / max(w.Limit/w.Period.Seconds(), 1e-9))
	}
	width := int64(w.Period) / budgetSlices
	for s := w.slice - budgetSlices; s <= w.slice; s++ {
		if n -= w.ring[(s+budgetSlices+1)%(budgetSlices+1)]; n <= 0 {
			return time.Duration((s+budgetSlices+1)*width - now.UnixNano())
		}
	}
	return w.Period
}

// take counts a call.
func (w *budget) take(now time.Time) {
	w.settle(now)
	w.left--
	w.even = max(w.even-1, -max(1, w.rate(now)))
	if !w.Fixed {
		w.ring[w.slice%(budgetSlices+1)]++
	}
}

// quotaWait is how long until the quotas let a call of a class go, and the limit that keeps it; 0 if
// it may go now.
func (s *Scheduler) quotaWait(class uint8, now time.Time) (longest time.Duration, limit int) {
	q := &s.quotas
	first := boundRate + len(s.windows)
	if !q.Hold.IsZero() {
		if d := s.holdWait(now); d > 0 {
			return d, first
		}
	}
	for i, w := range q.budgets {
		if d := w.wait(class, q.urgent, now); d > longest {
			longest, limit = d, first+1+i
		}
	}
	return longest, limit
}

// holdWait is how long the hold keeps everything; 0: a call may go.
func (s *Scheduler) holdWait(now time.Time) time.Duration {
	q := &s.quotas
	if d := q.Hold.Sub(now); d > 0 {
		return d
	}
	if !q.probed {
		return 0
	}
	confirm := q.Confirm
	if confirm <= 0 {
		confirm = max(noWord, seconds(noWordTrips*s.all.call))
	}
	if d := q.at.Add(confirm).Sub(now); d > 0 {
		return d
	}
	q.Hold = time.Time{}
	return 0
}

// takeQuota counts a call of a class that goes.
func (s *Scheduler) takeQuota(class uint8, now time.Time) {
	q := &s.quotas
	s.started++
	if !q.Hold.IsZero() && !q.probed {
		q.probed, q.at = true, now
	}
	if q.credit >= 1 {
		q.credit--
	}
	q.credit = min(q.credit+q.Probing, 2)
	if class <= mostUrgent {
		q.urgent = now
	}
	for _, w := range q.budgets {
		w.take(now)
	}
}

// risky reports whether the next call may well be refused, so that the least urgent should make it.
func (s *Scheduler) risky(now time.Time) bool {
	q := &s.quotas
	if !q.Hold.IsZero() && !q.probed || q.credit >= 1 {
		return true
	}
	for _, w := range q.budgets {
		if w.Extra > 0 {
			if w.settle(now); w.left <= w.Extra {
				return true
			}
		}
	}
	return false
}

// allowed is the request to send next as far as the quotas go, starting from the one whose turn it is: one
// of the least urgent where a call is risky; a more urgent one where that one's class has to wait for the
// quota.
func (s *Scheduler) allowed(it *item, now time.Time) *item {
	if s.quotas.Hold.IsZero() && len(s.quotas.budgets) == 0 && s.quotas.credit < 1 {
		return it
	}
	if s.risky(now) {
		if least := s.q.least(); least != nil && s.usable(least, now) {
			return least
		}
	}
	if wait, _ := s.quotaWait(it.class, now); wait > 0 && it.class != backgroundClass {
		if m := s.q.mask & ordinaryMask; m != 0 {
			if u := s.q.classes[bits.TrailingZeros16(m)].head(); u != nil && u.class < it.class && s.usable(u, now) {
				return u
			}
		}
	}
	return it
}

// least is the next request of the least urgent class that has any.
func (q *queue) least() *item {
	if q.mask == 0 {
		return nil
	}
	return q.classes[bits.Len16(q.mask)-1].head()
}

// predictQuota is about how long the quotas keep n calls of a class.
func (s *Scheduler) predictQuota(class uint8, n float64, now time.Time) time.Duration {
	longest, _ := s.quotaWait(class, now)
	for _, w := range s.quotas.budgets {
		if !w.Expires.IsZero() && now.After(w.Expires) {
			continue
		}
		ahead := w.left - w.reserve(class, s.quotas.urgent, now)
		if class > mostUrgent {
			ahead -= aheadRatio * w.line(now)
		}
		if over := n - max(ahead, 0); over > 1 {
			d := seconds((over - 1) / max(w.rate(now), 1e-9))
			if class <= mostUrgent && w.Fixed {
				d = min(d, w.end.Sub(now))
			}
			longest = max(longest, d)
		}
	}
	return longest
}

// quotaReason says which quota keeps calls waiting; empty if none.
func (s *Scheduler) quotaReason(limit int, now time.Time) string {
	i := limit - boundRate - len(s.windows)
	switch {
	case i < 0 || i > len(s.quotas.budgets):
		return ""
	case i == 0:
		return fmt.Sprintf("its quota is used up, and it is asked again in %v", max(s.quotas.Hold.Sub(now), 0).Round(time.Millisecond))
	}
	w := s.quotas.budgets[i-1]
	return fmt.Sprintf("of its quota of %.0f calls in %v %.0f are left, which are spread over the time to the next and kept for more urgent requests",
		w.Limit, w.Period, max(w.left, 0))
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// Allowance is what the calls of an upstream are held to beside the pace of the knob. It is given to
// whoever sends them each time that it changes. Its zero value holds nothing back.
type Allowance struct {
	// Hold is until when nothing is sent; then one call goes, to see. Zero: no hold.
	Hold time.Time
	// Confirm is how long after that one call the absence of a refusal means that it was admitted; 0: its end
	// is waited for.
	Confirm time.Duration
	// Ahead: the pace is that of a long window, and need not be kept to while Budgets allow more.
	Ahead bool
	// Shared: the pace is that of all who call the upstream, as it says so itself or an operator does. Else it
	// was learned by what this process's own calls met.
	Shared bool
	// Probing is the share of the calls, 0..1, that go over what is known to be admitted. The least urgent are to
	// make them.
	Probing float64
	// Budgets are the windows that are counted.
	Budgets []Budget
}

// Budget is one window that is counted.
type Budget struct {
	Name string
	// Limit calls in each Period.
	Limit  float64
	Period time.Duration
	// Fixed: the window ends at multiples of its Period since the Unix epoch, or at Reset if that is set; else it rolls.
	Fixed bool
	Reset time.Time
	// Told: Left is how many calls the upstream said are left, calls in flight not counted. Else Used is
	// how many were admitted in the window so far.
	Told       bool
	Left, Used float64
	// Rate is the calls per second that use up the rest evenly; what can wait is held to it.
	Rate float64
	// Extra calls of the Limit are on trial: the least urgent are to make them.
	Extra float64
	// Expires: it says nothing after.
	Expires time.Time
}

// budgetLife is how long a budget counts without being told anew, so that one that nobody looks after any
// more does no harm. The tuner looks at least once a minute.
const budgetLife = 2 * time.Minute

// Allowance is what follows from the state at a time.
func (s *QuotaState) Allowance(now time.Time) Allowance {
	a := Allowance{}
	if c := s.closed; c != nil {
		a.Hold = c.holdUntil()
		if s.trips >= 3 && s.refusedTrip < s.trip/2 && s.Rate() > 0 {
			a.Confirm = max(4*s.refusedTrip, 20*time.Millisecond)
		}
	}
	if p := s.Pace; p.Pace > p.Top && p.Top > 0 {
		a.Probing = 1 - p.Top/p.Pace
	}
	for _, w := range s.counted() {
		if b, ok := s.budget(w, now); ok {
			a.Budgets = append(a.Budgets, b)
		}
	}
	a.Ahead = s.shortPace() == 0 && len(a.Budgets) > 0
	_, a.Shared = s.rate()
	return a
}

func (s *QuotaState) budget(w *QuotaWindow, now time.Time) (Budget, bool) {
	if w.told.tellsNone {
		return Budget{}, false
	}
	b := Budget{
		Name: w.Name, Limit: w.Limit, Period: w.Period, Fixed: w.Kind == KindFixed, Rate: w.rate(s.jitter()),
		Expires: now.Add(max(budgetLife, w.Period/8)),
	}
	if w.Source != SourceHeaders {
		b.Used = s.used(w, now)
		if !w.Trial.IsZero() {
			b.Extra = w.Limit - w.From
		}
		return b, true
	}
	if w.Remaining < 0 {
		b.Fixed = false // a limit alone: count ourselves
		b.Used = s.usedSince(w, now.Add(-w.Period), now)
		return b, true
	}
	b.Told, b.Left = true, w.Remaining
	if b.Fixed {
		b.Reset = w.Reset
		left := w.Reset.Sub(now)
		if left <= 0 {
			b.Left, left = w.Limit, w.Period
			b.Reset = time.Time{}
		}
		left = max(left, time.Duration(soon*float64(w.Period)))
		b.Rate = b.Left / left.Seconds()
	}
	b.Rate = max(b.Rate-w.Others, b.Rate/20)
	return b, true
}

// jitter is by how much calls may come closer together at the upstream than they were sent.
func (s *QuotaState) jitter() time.Duration {
	return min(20*time.Millisecond+s.trip/8, time.Second)
}

// shortPace is the pace that follows quotas of seconds, calls per second; 0: none.
func (s *QuotaState) shortPace() float64 {
	pace, _ := s.shortRate()
	return pace
}

// shortRate is shortPace, and whether the upstream's answers tell of that quota.
func (s *QuotaState) shortRate() (pace float64, told bool) {
	pace = s.Pace.Pace
	for i := range s.Windows {
		w := &s.Windows[i]
		if w.Source == SourceHeaders && w.Limit > 0 && w.Period > 0 && w.Period < long && !w.told.tellsNone {
			// Who refuses below what he tells is believed in what he does.
			if r := w.rate(s.jitter() / 4); pace == 0 || r < pace {
				pace, told = r, true
			}
		}
	}
	return pace, told
}

// Rate is the pace wanted, calls per second: that of the quotas of seconds if there are any, else that
// which uses up the tightest of the long windows evenly. 0: no quota is known.
func (s *QuotaState) Rate() float64 {
	rate, _ := s.rate()
	return rate
}

// rate is Rate, and whether the upstream's answers tell of the quota that it follows.
func (s *QuotaState) rate() (rate float64, told bool) {
	if p, told := s.shortRate(); p > 0 {
		return p, told
	}
	rate = math.Inf(1)
	for _, w := range s.counted() {
		if w.told.tellsNone {
			continue
		}
		if r := w.rate(s.jitter()); r < rate {
			rate, told = r, w.Source == SourceHeaders
		}
	}
	if math.IsInf(rate, 1) {
		return 0, false
	}
	return rate, told
}

// binding is the window that the rate follows where no refusal has set a pace; nil: none.
func (s *QuotaState) binding() (tightest *QuotaWindow) {
	if s.Pace.Pace > 0 {
		return nil
	}
	for i := range s.Windows {
		w := &s.Windows[i]
		if w.Limit <= 0 || w.Period <= 0 || w.told.tellsNone || w.Period < long && w.Source != SourceHeaders {
			continue
		}
		if tightest == nil || w.Limit/w.Period.Seconds() < tightest.Limit/tightest.Period.Seconds() {
			tightest = w
		}
	}
	return tightest
}

// why is the rule and the reason of a rate that follows the window.
func (w *QuotaWindow) why() (rule, reason string) {
	if w.Source == SourceHeaders {
		return "quota-told", fmt.Sprintf("the upstream's answers tell of a quota of %.4g calls in %s", w.Limit, w.Period)
	}
	return "quota-learned", fmt.Sprintf("refusals show a quota of %.4g calls in %s", w.Limit, w.Period)
}

package regret

import (
	"math"
	"math/rand/v2"
	"time"

	"penstock/observe"
	"penstock/scheduler"
	"penstock/tuner"
)

// quota is what an upstream admits, told by 429, and by headers if it tells.
type quota struct {
	limit func(t time.Duration) float64 // calls in each period
	// period is that of the limit; 0: a second.
	period time.Duration
	// fixed is a window from one multiple of the period to the next, rolling one of the last period at each
	// moment; neither: a token bucket.
	fixed, rolling bool
	burst          float64 // of the bucket
	// tells has each answer tell limit, remaining and reset.
	tells bool
	// others make so many calls per second on the same quota; nil: none do.
	others func(t time.Duration) float64
	// also is one more quota, checked together with this one.
	also *quota
}

// meter is a quota at work.
type meter struct {
	*quota
	tokens   float64
	tokensAt time.Duration
	window   int64
	used     float64
	admitted []time.Duration // in a rolling window
	theirs   time.Duration   // when others' calls were counted up to
	random   *rand.Rand
	also     *meter
}

func newMeter(q *quota, seed uint64) *meter {
	if q == nil {
		return nil
	}
	return &meter{quota: q, tokens: q.burst, random: rand.New(rand.NewPCG(seed, 99)), also: newMeter(q.also, seed+1)}
}

func (m *meter) length() time.Duration {
	if m.period > 0 {
		return m.period
	}
	return time.Second
}

// room says whether one more call passes at now.
func (m *meter) room(now time.Duration) bool {
	limit := m.limit(now)
	switch {
	case m.fixed:
		if w := int64(now / m.length()); w != m.window {
			m.window, m.used = w, 0
		}
		return m.used < limit
	case m.rolling:
		for len(m.admitted) > 0 && m.admitted[0] <= now-m.length() {
			m.admitted = m.admitted[1:]
		}
		return float64(len(m.admitted)) < limit
	}
	m.tokens = min(m.burst, m.tokens+limit/m.length().Seconds()*(now-m.tokensAt).Seconds())
	m.tokensAt = now
	return m.tokens >= 1-1e-9
}

func (m *meter) take(now time.Duration) {
	switch {
	case m.fixed:
		m.used++
	case m.rolling:
		m.admitted = append(m.admitted, now)
	default:
		m.tokens--
	}
}

// admit takes one call of each quota, or of none.
func (m *meter) admit(now time.Duration) bool {
	if m == nil {
		return true
	}
	m.letOthers(now)
	for x := m; x != nil; x = x.also {
		if !x.room(now) {
			return false
		}
	}
	for x := m; x != nil; x = x.also {
		x.take(now)
	}
	return true
}

// letOthers has others' calls up to now take their part.
func (m *meter) letOthers(now time.Duration) {
	if m.others == nil {
		return
	}
	for {
		rate := m.others(m.theirs)
		if rate <= 0 {
			m.theirs = now
			return
		}
		next := m.theirs + time.Duration(m.random.ExpFloat64()/rate*float64(time.Second))
		if next > now {
			return
		}
		m.theirs = next
		if m.room(next) {
			m.take(next)
		}
	}
}

// tell is what an answer says of the quotas; nil: nothing.
func (m *meter) tell(now time.Duration) *observe.Quota {
	if m == nil || !m.tells {
		return nil
	}
	q := &observe.Quota{RetryAfter: observe.Unknown}
	for x := m; x != nil; x = x.also {
		w := observe.QuotaWindow{Limit: x.limit(now), Period: x.length(), Reset: observe.Unknown}
		x.room(now)
		switch {
		case x.fixed:
			w.Remaining, w.Reset = max(w.Limit-x.used, 0), x.length()-now%x.length()
		case x.rolling:
			w.Remaining, w.Reset = max(w.Limit-float64(len(x.admitted)), 0), x.length() // a sliding guess
		default:
			w.Remaining = math.Floor(max(x.tokens, 0))
		}
		// Headers have whole seconds.
		if w.Reset >= 0 {
			w.Reset = (w.Reset + time.Second - 1).Truncate(time.Second)
		}
		q.Windows = append(q.Windows, w)
	}
	return q
}

// allow hands what the tuner allows to a scheduler.
func allow(s *scheduler.Scheduler, a tuner.Allowance) {
	o := scheduler.Allowance{Hold: a.Hold, Confirm: a.Confirm, Ahead: a.Ahead, Probing: a.Probing}
	for _, b := range a.Budgets {
		o.Budgets = append(o.Budgets, scheduler.Budget(b))
	}
	s.SetAllowance(o)
}

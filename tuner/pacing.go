package tuner

import (
	"fmt"
	"time"

	"penstock/observe"
)

// calls counts an upstream's calls for Quota.
type calls struct {
	since             time.Time // when the pace in force came; calls that started before do not count
	from              time.Time // when counting began
	admitted, refused int
	trip              time.Duration // of the slowest call
}

// pacing is what the rate's records need.
type pacing struct {
	rule, reason string
	recorded     float64 // the pace at the last record
	before       rateSpan
	now          rateSpan
}

// rateSpan counts calls between two records.
type rateSpan struct {
	since             time.Time
	admitted, refused int
}

func (r rateSpan) rates(now time.Time) (goodput, refused float64) {
	seconds := max(now.Sub(r.since).Seconds(), 1e-3)
	return float64(r.admitted) / seconds, float64(r.refused) / float64(max(r.admitted+r.refused, 1))
}

// watchRate counts a call, and turns the rate when an epoch is over. The caller holds mu.
func (s *search) watchRate(c observe.Call, now time.Time) {
	if s.target.Rate == "" || c.Outcome == observe.OutcomeCanceled || c.Outcome == observe.OutcomeDown {
		return
	}
	n := &s.calls
	refused := c.Outcome == observe.OutcomeRefused
	if n.from.IsZero() {
		n.from = now
	}
	if s.paced.now.since.IsZero() {
		s.paced.now.since = now
	}
	if refused {
		s.paced.now.refused++
	} else {
		s.paced.now.admitted++
		n.trip = max(n.trip, c.Duration)
	}
	if refused && c.Start.Before(n.since) {
		return // of the cohort before the last cut
	}
	if refused {
		n.refused++
	} else {
		n.admitted++
	}
	length := quotaEpoch
	if s.quota.Pace > 0 {
		// A slow pace needs longer until enough calls say something.
		length = max(length, time.Duration(10/s.quota.Pace*float64(time.Second)))
	}
	if span := now.Sub(n.from); span >= length {
		s.pace(RateEpoch{Now: now, Span: span, Admitted: n.admitted, Refused: n.refused}, now)
	}
}

func (s *search) pace(e RateEpoch, now time.Time) {
	n := &s.calls
	k, ok := s.o.Knobs.Lookup(s.target.Rate)
	if !ok {
		return
	}
	st := k.State()
	if st.Pin != nil || st.Value != s.quota.Pace && s.quota.Pace != 0 {
		s.quota = QuotaState{Pace: st.Value, Top: st.Value, Cut: now}
	}
	rule, reason, next := Quota(e, s.quota)
	s.paced.rule, s.paced.reason = rule, reason
	*n = calls{since: n.since, from: now}
	if st.Pin != nil {
		return
	}
	if next.Cut != s.quota.Cut && next.Pace != s.quota.Pace {
		n.since = now
	}
	if next.Pace != st.Value {
		next.Pace = min(max(next.Pace, st.Spec.Min), st.Spec.Max)
		if err := k.Tune(next.Pace, reason); err != nil {
			s.paced.rule, s.paced.reason = "refused", err.Error()
			return
		}
	}
	s.quota = next
}

// recordAbove: a change of the pace by this share since the last record is worth a new one.
const recordAbove = 0.1

// flushRate returns the pace's changes since the last record as one decision; false: nothing worth it.
func (s *search) flushRate(now time.Time) (Decision, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.paced
	from, to := p.recorded, s.quota.Pace
	if from == to || from > 0 && max(from/to, to/from) < 1+recordAbove {
		if now.Sub(p.now.since) > time.Minute {
			p.before, p.now = p.now, rateSpan{since: now}
		}
		return Decision{}, false
	}
	goodput, refused := p.now.rates(now)
	d := Decision{
		Time: now, Knob: s.target.Rate, Upstream: s.target.Upstream, From: from, To: to, Rule: p.rule, Reason: p.reason,
		Signals:  map[string]float64{"admitted_per_second": goodput, "refused_ratio": refused},
		Expected: fmt.Sprintf("about %.1f/s admitted and under 2 %% refused", to), Mode: ModeActive,
	}
	p.recorded = to
	p.before, p.now = p.now, rateSpan{since: now}
	return d, true
}

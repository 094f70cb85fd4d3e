package tuner

import (
	"fmt"
	"math"
	"time"

	"penstock/observe"
)

// What the rule for workers goes by. Ratios are 0..1.
const (
	// bindingRatio: the limit is the binding one when a starting call finds this share of it in
	// flight. Below, more permits would change nothing, and what is measured says nothing about them.
	bindingRatio = 0.8
	// overloadRatio of calls ending in 503 or a timeout is congestion; overloadCalls of them at
	// least, so that one unlucky call is none.
	overloadRatio = 0.05
	overloadCalls = 5
	// maxCut is the most that a cut takes away: it takes the share of calls that failed, since an
	// upstream that refuses what is too much for it refuses about that share.
	maxCut = 0.25
	// quotaRatio of calls refused for the quota: it is the rate that binds, not the workers.
	quotaRatio = 0.02
	// slowStart and steadyStep are how much is added until, and after, growth first did not pay.
	slowStart  = 0.5
	steadyStep = 0.1
	// queueingRatio: mean latency over this multiple of the lowest seen means that calls wait inside
	// the upstream, so fewer might do as much.
	queueingRatio = 1.5
	// probeDown is how much the attempt with fewer takes away.
	probeDown = 0.1
	// baselineRise lets the lowest latency rise by this share of the difference at each step, so that
	// an upstream that became slower for good is not called queueing for ever.
	baselineRise = 0.02
	// firstRetry is when growth that did not pay is tried again; doubled each time up to lastRetry, so
	// that probing costs little where the world stands still.
	firstRetry = time.Minute
	lastRetry  = 10 * time.Minute
)

const ruleOverload = "overload"

// WorkersState is what [Workers] remembers. Its zero value is a fresh start.
type WorkersState struct {
	// LastGood is the highest number that paid; 0: none known.
	LastGood float64
	// Settled: growth has once not paid, so steps are small from now on.
	Settled bool
	// UpAt and DownAt are when growing and shrinking may be tried again; UpWait and DownWait the
	// pauses that will follow the next failure.
	UpAt, DownAt     time.Time
	UpWait, DownWait time.Duration
	// Baseline is the lowest mean latency seen, let rise slowly.
	Baseline time.Duration
}

// Workers decides how many permits an upstream should have. In this order:
//
//   - everything failed: hold; an outage teaches nothing about capacity.
//   - 503s and timeouts of 5 % and more, while the permits are used: cut by that share, at most by
//     a quarter, or to the last good value if that is lower.
//   - refusals for the quota: hold; more or fewer workers are not the answer.
//   - the permits are not used up: hold (app-limited).
//   - the last growth brought nothing: give it back.
//   - growth is not known to be useless: add half (until growth first did not pay) or a tenth.
//   - latency is half as much again as it can be: try a tenth less.
//
// A latency step at the same number of calls in flight changes nothing: by Little's law the throughput
// fell with it, so it is the upstream that became slower, and fewer permits would only make it worse.
func Workers(in In[observe.CallSignals], s WorkersState) (Proposal, WorkersState) {
	s = s.learn(in)
	c := &in.Seen
	hold := func(rule, format string, args ...any) (Proposal, WorkersState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	used := c.MeanInFlight / max(in.Value, 1)
	switch over := c.Outcomes.Overload + c.Outcomes.Timeout; {
	case c.Outcomes.OK+c.Outcomes.Client == 0:
		return hold("outage", "none of %d calls succeeded, which says nothing about how many the upstream can take", c.Count)
	case over >= overloadCalls && c.Outcomes.OverloadRatio() >= overloadRatio && used >= bindingRatio/2:
		if in.Now.Before(s.DownAt) {
			return hold("overload-unmoved", "%.0f %% of the calls end in overload or a timeout, but fewer workers did not help", 100*c.Outcomes.OverloadRatio())
		}
		return s.cut(in)
	case c.Outcomes.RefusedRatio() >= quotaRatio:
		return hold("quota", "%.0f %% of the calls were refused for the quota, so it is the rate that binds and not the workers",
			100*c.Outcomes.RefusedRatio())
	case used < bindingRatio:
		return hold("app-limited", "only %.1f of %.0f workers were busy, so their number is not what limits", c.MeanInFlight, in.Value)
	case in.Last != nil && in.Last.Verdict == VerdictNeutral && !in.Last.RolledBack && in.Last.To > in.Last.From && in.Value == in.Last.To:
		return Proposal{
			To: in.Last.From, Rule: "give-back",
			Reason:   fmt.Sprintf("going from %.0f to %.0f workers brought no more throughput (%.1f/s)", in.Last.From, in.Last.To, c.Goodput),
			Expected: "the same throughput with less load on the upstream",
		}, s
	}
	if !in.Now.Before(s.UpAt) && in.Value < in.Spec.Max {
		return s.grow(in)
	}
	if s.Baseline > 0 && c.Mean > time.Duration(queueingRatio*float64(s.Baseline)) && !in.Now.Before(s.DownAt) {
		return s.shrink(in)
	}
	return hold("settled", "%.0f workers give %.1f/s, and neither more nor fewer is known to do better", in.Value, c.Goodput)
}

// learn takes in the verdict on the last proposal and the latency baseline.
func (s WorkersState) learn(in In[observe.CallSignals]) WorkersState {
	if m := in.Seen.Mean; s.Baseline == 0 || m < s.Baseline {
		s.Baseline = m
	} else {
		s.Baseline += time.Duration(baselineRise * float64(m-s.Baseline))
	}
	last := in.Last
	switch {
	case last == nil:
	case last.To > last.From && last.Verdict == VerdictBetter:
		s.LastGood, s.UpWait, s.DownWait = last.To, 0, 0
	case last.To > last.From:
		s.LastGood, s.Settled = last.From, true
		s.UpWait = nextWait(s.UpWait)
		s.UpAt = in.Now.Add(s.UpWait)
	case last.Verdict == VerdictWorse, last.Rule == ruleOverload && last.Verdict != VerdictBetter:
		// Fewer did harm, or did nothing against the failures they were meant for.
		if last.Verdict == VerdictWorse {
			s.LastGood = last.From
		}
		s.DownWait = nextWait(s.DownWait)
		s.DownAt = in.Now.Add(s.DownWait)
	default:
		// Fewer did as well, so growing again at once would only undo it.
		s.LastGood, s.Settled = last.To, true
		s.DownWait = 0
		if s.UpAt.Before(in.Now) {
			s.UpWait = nextWait(s.UpWait)
			s.UpAt = in.Now.Add(s.UpWait)
		}
	}
	return s
}

func nextWait(d time.Duration) time.Duration { return min(max(2*d, firstRetry), lastRetry) }

func (s WorkersState) cut(in In[observe.CallSignals]) (Proposal, WorkersState) {
	to := math.Floor(in.Value * (1 - min(in.Seen.Outcomes.OverloadRatio(), maxCut)))
	if s.LastGood > 0 {
		to = min(to, s.LastGood)
	}
	s.Settled = true
	s.UpWait = max(s.UpWait, firstRetry)
	s.UpAt = in.Now.Add(s.UpWait)
	o := &in.Seen.Outcomes
	return Proposal{
		To: bounded(in, to), Rule: ruleOverload,
		Reason: fmt.Sprintf("%.0f %% of %d calls ended in overload or a timeout with %.1f of %.0f workers busy",
			100*o.OverloadRatio(), o.Total(), in.Seen.MeanInFlight, in.Value),
		Expected: "fewer failed calls and no less goodput",
	}, s
}

func (s WorkersState) grow(in In[observe.CallSignals]) (Proposal, WorkersState) {
	step := steadyStep
	if !s.Settled {
		step = slowStart
	}
	to := bounded(in, in.Value+max(1, math.Floor(step*in.Value)))
	return Proposal{
		To: to, Rule: "grow",
		Reason: fmt.Sprintf("all %.0f workers are busy (%.1f in flight) and %.1f/s pass", in.Value, in.Seen.MeanInFlight, in.Seen.Goodput),
		Expected: fmt.Sprintf("up to %.0f %% more throughput at the latency of now (%s)",
			100*(to/in.Value-1), in.Seen.Mean.Round(time.Millisecond)),
	}, s
}

func (s WorkersState) shrink(in In[observe.CallSignals]) (Proposal, WorkersState) {
	to := bounded(in, in.Value-max(1, math.Floor(probeDown*in.Value)))
	return Proposal{
		To: to, Rule: "queueing",
		Reason: fmt.Sprintf("a call takes %s and could take %s, and more workers did not help: calls wait inside the upstream",
			in.Seen.Mean.Round(time.Millisecond), s.Baseline.Round(time.Millisecond)),
		Expected: "the same throughput at less latency",
	}, s
}

// bounded keeps a value inside the knob's bounds and step.
func bounded(in In[observe.CallSignals], v float64) float64 {
	if step := in.Spec.MaxStep; step > 0 {
		v = min(max(v, in.Value-step), in.Value+step)
	}
	return math.Round(min(max(v, in.Spec.Min), in.Spec.Max))
}

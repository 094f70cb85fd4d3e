package tuner

import (
	"fmt"
	"time"
)

// What Linger goes by.
const (
	// lingerBusy: with less of the workers busy nobody waits, so nobody should be kept waiting.
	lingerBusy = 0.5
	// lingerLeast is the least worth waiting.
	lingerLeast = time.Millisecond
)

// ruleGiveBack takes back what brought nothing.
const ruleGiveBack = "give-back"

// LingerState is what [Linger] remembers. Its zero value is a fresh start.
type LingerState struct {
	// Until: after a longer wait did not help, none is tried before this moment; Pause is the pause after the next
	// failure.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
}

// Linger decides how long a batch below its target may wait for more members. With k calls in flight that take
// S each, one of them ends about every S/k; a batch that waits that long costs its members little and may
// save a permit. So the bound follows S/k while the workers are busy; the scheduler itself waits no longer than S/k,
// not at all while nothing is in flight, and not if nobody is expected to join. With one worker waiting gains
// nothing.
func Linger(in In[Flow], s LingerState) (Proposal, LingerState) {
	f := &in.Seen
	if in.Last != nil {
		s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now)
	}
	hold := func(rule, format string, args ...any) (Proposal, LingerState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	gap := f.call() / max(f.Workers, 1)
	if last := in.Last; last != nil && last.Verdict == VerdictNeutral && last.To > last.From && in.Value == last.To && last.Rule != ruleGiveBack {
		return Proposal{
			To: last.From, Rule: ruleGiveBack, Reason: fmt.Sprintf("waiting up to %.1f ms brought nothing that could be measured", 1e3*last.To),
			Expected: "the same with less waiting",
		}, s
	}
	switch {
	case f.OK == 0:
		return hold("outage", "none of %.0f calls succeeded", f.Calls)
	case f.batch() < 1.05:
		return hold("single", "calls carry %.2f requests: there is nothing to be joined", f.batch())
	case f.Workers < 2:
		return hold("one-worker", "with one worker a batch gains nothing by waiting")
	case f.used() < lingerBusy:
		return hold("idle", "%.0f %% of the workers are busy, so nothing is gained by waiting", 100*f.used())
	case gap < lingerLeast.Seconds() || gap*f.arrivals() < 1:
		return hold("no-gain", "in the %.1f ms until a worker gets free %.1f requests come", 1e3*gap, gap*f.arrivals())
	case gap <= (1+batchStep)*in.Value:
		return hold("settled", "a batch may wait for the %.1f ms until a worker gets free", 1e3*gap)
	case in.Now.Before(s.Until):
		return hold("paused", "waiting longer did not help the last time; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	}
	to := min(gap, in.Spec.Max)
	return Proposal{
		To: to, Rule: "gap",
		Reason: fmt.Sprintf("a call takes %.0f ms, so one of %.0f busy workers gets free every %.1f ms, in which %.1f requests come",
			1e3*f.call(), f.Workers, 1e3*gap, gap*f.arrivals()),
		Expected: "fewer and fuller calls at no more time to an answer",
	}, s
}

// LingerRule is [Linger] over an upstream's Flow.
func LingerRule(measure func(from, to time.Time) Flow) Rule[Flow, LingerState] {
	r := flowRule[LingerState](measure)
	r.Decide, r.Judge = Linger, judgeFlow
	return r
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// What CoDel goes by. Ratios are 0..1.
const (
	// codelTrips is the target in service times, as the scheduler takes it where the knob is 0; codelFloor is that
	// of RFC 8289.
	codelTrips = 4
	codelFloor = 5 * time.Millisecond
	// codelEager: so many given up while workers were not busy; codelLax: so many too late for their deadline.
	codelEager = 0.005
	codelLax   = 0.02
	codelStep  = 1.5
	// codelLeast and codelMost bound how far from codelTrips the service times experience may lead.
	codelLeast, codelMost = 0.25, 8
	codelBusy             = 0.85
)

// CoDelState is what [CoDel] remembers. Its zero value is a fresh start.
type CoDelState struct {
	// Factor is what experience multiplies the target by; 0 counts as 1.
	Factor float64 `json:"factor"`
	// Before is the factor before the last change.
	Before float64 `json:"before"`
	// Until: after a change did not help, none is tried before this moment.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
}

// CoDel decides how old the oldest request of a queue may be before the queue counts as standing. RFC 8289's 5 ms
// fit a router; what a wait is long for depends on how long a call takes. The target is
//
//	factor * max(5 ms, 4 * mean service time, mean + 2 deviations)
//
// so that one slow call ahead is no standing queue. The factor begins at 1 and learns: half as much again
// where requests were given up while workers were idle, that much less where requests came too late for their
// deadlines in a queue that did not count as standing.
func CoDel(in In[Flow], s CoDelState) (Proposal, CoDelState) {
	f := &in.Seen
	if s.Factor == 0 {
		s.Factor = 1
	}
	if in.Last != nil {
		if s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now); in.Last.RolledBack && s.Before > 0 {
			s.Factor = s.Before
		}
		if in.Last.Verdict == VerdictNeutral {
			s.Until = time.Time{} // it harmed nobody, so following the service time may go on
		}
	}
	hold := func(rule, format string, args ...any) (Proposal, CoDelState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	seen := f.Waits + f.Standing + f.Late + f.Full
	standing, late := f.Standing/max(seen, 1), f.Late/max(seen, 1)
	mean := f.call()
	deviation := math.Sqrt(max(f.TimeSq/max(f.OK, 1)-mean*mean, 0))
	auto := max(codelFloor.Seconds(), codelTrips*mean)
	base := max(auto, mean+2*deviation)
	now := in.Value
	if now == 0 {
		now = auto
	}
	factor := s.Factor
	rule, why := "service-time", fmt.Sprintf("a call takes %.0f ms, give or take %.0f ms", 1e3*mean, 1e3*deviation)
	switch {
	case f.OK == 0:
		return hold("outage", "none of %.0f calls succeeded", f.Calls)
	case in.Now.Before(s.Until):
		return hold("paused", "the last change was worse; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	case standing > codelEager && f.used() < codelBusy && now <= s.Factor*base*1.01:
		s.Factor = min(s.Factor*codelStep, codelMost)
		rule, why = "too-eager", fmt.Sprintf("%.1f %% of the requests were given up while only %.0f %% of the workers were busy; %s", 100*standing, 100*f.used(), why)
	case late > codelLax && standing < late/4 && now >= s.Factor*base*0.99:
		s.Factor = max(s.Factor/codelStep, codelLeast)
		rule, why = "too-lax", fmt.Sprintf("%.1f %% of the requests came too late for their deadlines, and only %.1f %% were given up before; %s", 100*late, 100*standing, why)
	}
	to := math.Round(1e4*s.Factor*base) / 1e4
	to = min(max(to, in.Spec.Min), in.Spec.Max)
	if to > (1-batchStep)*now && to < (1+batchStep)*now {
		return hold("settled", "%s, and a queue counts as standing when its oldest is %.0f ms old", why, 1e3*now)
	}
	s.Before = factor
	return Proposal{To: to, Rule: rule, Reason: why, Expected: "requests that can't be served in time are given up sooner, and no others"}, s
}

// judgeCoDel goes by the requests that were given up or came too late, and by the good answers. That a longer
// target has requests wait longer is what it is for; a shorter one must not cost any.
func judgeCoDel(t Trial, before, after Flow) Effect {
	lost := after.lost() - before.lost()
	gain := change(before.goodput(), after.goodput())
	more, fewer := demandChange(&before, &after)
	share := func(f *Flow) float64 { return max(f.lost(), 0.01) / max(f.Waits, 1) }
	unsure := math.Sqrt(share(&before) + share(&after))
	counted := math.Sqrt(1/max(before.OKItems, 1) + 1/max(after.OKItems, 1))
	e := Effect{
		Verdict: VerdictNeutral, Measured: measuredFlow(&before, &after), Confidence: confidence(lost, unsure),
		Alarm: lost > 5*t.Appetite.ErrorRiseRatio, More: unsure > t.Appetite.ErrorRiseRatio,
	}
	switch {
	case lost > max(t.Appetite.ErrorRiseRatio, 2*unsure), gain-fewer < -max(worseLoss, 2*counted):
		e.Verdict = VerdictWorse
	case lost < -max(codelEager, 2*unsure), gain-more > max(betterGain, 2*counted):
		e.Verdict = VerdictBetter
	}
	return e
}

// CoDelRule is [CoDel] over an upstream's Flow.
func CoDelRule(measure func(from, to time.Time) Flow) Rule[Flow, CoDelState] {
	r := flowRule[CoDelState](measure)
	r.Decide, r.Judge = CoDel, judgeCoDel
	return r
}

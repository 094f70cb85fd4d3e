package tuner

import (
	"fmt"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// search is what looks after the knobs of one upstream at the pace of its calls: Knee its
// workers. The loop's ticks only write down what it came to.
type search struct {
	o      *Options
	target Target

	mu      sync.Mutex // guards what follows; taken after the Loop's mu
	gauge   gauge
	knee    KneeState
	found   finding   // the search under way
	summary finding   // what searches came to since the last record
	taken   []finding // those taken back since
	rule    string    // of the last step
	reason  string
}

// finding is where a search began and what it came to.
type finding struct {
	began         bool
	from, to      float64
	steps         int
	before, after Epoch
	rule, reason  string
	verdict       Verdict
	measured      string
	rolledBack    bool
}

// onCall takes a finished call while the tuner is active.
func (s *search) onCall(c observe.Call, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.o.Knobs.Lookup(s.target.Workers)
	if !ok {
		return
	}
	v := k.Value()
	if v != s.gauge.limit {
		s.restart(v, now)
	}
	e, ready := s.gauge.add(c, now)
	switch {
	case ready:
		s.step(k, e, now)
	case (s.knee.Phase == KneeUp || s.knee.Phase == KneeDown) && s.gauge.idle(now):
		s.giveUp(k, now)
	}
}

// restart begins anew after somebody else moved the knob.
func (s *search) restart(v float64, now time.Time) {
	s.knee = KneeState{Base: s.knee.Base, Found: s.knee.Found, Phase: KneeSettle}
	s.found, s.summary, s.taken = finding{}, finding{}, nil
	s.gauge.reset(v, now)
}

// giveUp ends an experiment that the demand does not reach.
func (s *search) giveUp(k *knob.Knob, now time.Time) {
	s.knee.Phase, s.knee.Quiet = KneeSettled, 0
	s.rule, s.reason = "app-limited", "the demand does not use up the workers, so their number is not what limits"
	s.turn(k, s.knee.Ref.Limit, now)
	s.found = finding{}
}

func (s *search) step(k *knob.Knob, e Epoch, now time.Time) {
	st := k.State()
	if st.Pin != nil {
		s.restart(st.Value, now)
		return
	}
	step, next := Knee(st.Spec, e, s.knee)
	if step.More {
		s.gauge.more(now)
		return
	}
	if !s.found.began && step.To != e.Limit {
		s.found = finding{began: true, from: e.Limit, before: e}
	}
	s.knee, s.rule, s.reason = next, step.Rule, step.Reason
	if s.found.began && step.Rule != "settled" {
		s.found.rule, s.found.reason = step.Rule, step.Reason
	}
	if step.To == e.Limit {
		s.gauge.restart(s.gauge.cut(now))
	} else {
		s.found.steps++
		if !s.turn(k, step.To, now) {
			return
		}
	}
	if step.Settled && s.found.began {
		s.settle(k, step.To, now)
	}
}

// turn sets the knob.
func (s *search) turn(k *knob.Knob, to float64, now time.Time) bool {
	if err := k.Tune(to, s.reason); err != nil {
		s.restart(k.Value(), now)
		s.rule, s.reason = "refused", err.Error()
		return false
	}
	s.gauge.reset(to, now)
	return true
}

// settle judges a search that has ended, and takes back what was worse.
func (s *search) settle(k *knob.Knob, to float64, now time.Time) {
	f := s.found
	s.found = finding{}
	f.to, f.after = to, s.knee.Ref
	if f.to == f.from {
		return // a look that changed nothing
	}
	if f.verdict, f.measured = f.judge(); f.verdict == VerdictWorse {
		s.reason = "rolled back: " + f.measured
		s.knee.Phase = KneeSettle
		f.rolledBack = s.turn(k, f.from, now)
		s.taken = append(s.taken, f)
		return
	}
	if s.summary.began {
		f.from, f.before, f.steps = s.summary.from, s.summary.before, f.steps+s.summary.steps
		f.verdict, f.measured = f.judge()
	}
	s.summary = f
}

// judge compares the epochs before and after, at the same mix of routes. What may be chance counts as
// no change.
func (f *finding) judge() (Verdict, string) {
	b, a := &f.before, &f.after
	ratio, noise, ok := a.against(b)
	if !ok {
		return VerdictNeutral, "the routes called before and after have nothing in common"
	}
	okBefore, okAfter := float64(b.OK)/float64(max(b.Calls, 1)), float64(a.OK)/float64(max(a.Calls, 1))
	gain := a.InFlight/b.InFlight/ratio*okAfter/max(okBefore, 1e-9) - 1
	unsure := sureNoise * noise
	measured := fmt.Sprintf("goodput %+.0f %% (to %.1f/s) and the time of a call %+.0f %% (to %.0f ms) at the same mix of routes, good calls %.1f %% to %.1f %%; chance explains %.0f %%",
		100*gain, a.goodput(), 100*(ratio-1), 1e3*a.mean(), 100*okBefore, 100*okAfter, 100*unsure)
	switch {
	case gain > max(betterGain, unsure):
		return VerdictBetter, measured
	case okAfter < okBefore-worseErrors, gain < -max(worseLoss, unsure):
		return VerdictWorse, measured
	case okAfter > okBefore+worseErrors, f.to < f.from && ratio < 1-max(latencyChange/2, unsure):
		return VerdictBetter, measured
	}
	return VerdictNeutral, measured
}

// flush returns what searches came to since the last call of it: one decision that sums them up, and
// one for each that was taken back.
func (s *search) flush(now time.Time) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	findings := s.taken
	if s.summary.began && s.summary.from != s.summary.to {
		findings = append(findings, s.summary)
	}
	s.summary, s.taken = finding{}, nil
	decisions := make([]Decision, 0, len(findings))
	for _, f := range findings {
		before := f.before.signals()
		decisions = append(decisions, Decision{
			Time: now, Knob: s.target.Workers, Upstream: s.target.Upstream, From: f.from, To: f.to, Rule: f.rule,
			Reason: fmt.Sprintf("%s (%d steps)", f.reason, f.steps), Signals: signalMap(&before),
			Expected: "the most throughput at the least time a call", Mode: ModeActive,
			Verdict: f.verdict, Measured: f.measured, JudgedAt: now, RolledBack: f.rolledBack,
		})
	}
	return decisions
}

// status is what the last step came to.
func (s *search) status() (rule, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rule == "" {
		return "waiting", fmt.Sprintf("%d calls so far under the present limit while it was used up, at least %d are needed", len(s.gauge.samples), epochSamples)
	}
	return s.rule, s.reason
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// What the preloader's rules go by. Ratios are 0..1.
const (
	// preloadLeast is the least number of settled prefetches, and of missed keys, that tell something.
	preloadLeast = 40
	// preloadPressed of the wanted prefetches found no capacity to spare: the upstream has none.
	preloadPressed = 0.25
	// preloadIdle of the budget is spent at most: it does not bind.
	preloadIdle = 0.5
	// preloadPrecision is the share of prefetches that must be used, preloadSound the share at which more may be tried.
	preloadPrecision, preloadSound = 0.5, 0.65
	preloadStep                    = 0.1
	// preloadFloor is the least budget that this rule goes down to, so that what changes is noticed.
	preloadFloor = 0.01
	// preloadCalm without pressure after a cut, the budget begins to go back.
	preloadCalm = 10 * time.Minute
	// A change is measured for so long, and at most: wasted prefetches are known when their copies end.
	preloadEvaluation = 3 * time.Minute
	preloadLongest    = 30 * time.Minute
)

// PreloadState is what [PreloadThreshold] and [PreloadBudget] remember. Its zero value is a fresh start.
type PreloadState struct {
	// Until: after a step that did not pay none is tried before this moment.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
	// Cut is when the budget was last cut.
	Cut time.Time `json:"cut,omitzero"`
	// Seen is the last look, for the page.
	Seen PreloadSeen `json:"seen"`
}

func (m *PreloadSeen) precision() float64 { return (m.Used + m.Late) / max(m.settled(), 1) }
func (m *PreloadSeen) coverage() float64  { return (m.Used + m.Late) / max(m.Misses, 1) }
func (m *PreloadSeen) waste() float64     { return m.Wasted / max(m.Misses, 1) }
func (m *PreloadSeen) pressed() float64   { return m.Refused / max(m.Wanted, 1) }
func (m *PreloadSeen) settled() float64   { return m.Used + m.Late + m.Wasted }

// PreloadThreshold decides how sure a prediction must be for a call. A threshold r stands for a price: at the margin
// one wait is hidden for (1-r)/r wasted calls. In this order:
//
//   - the upstream has nothing to spare for a quarter of the prefetches: up; calls are dear, so only the surest are made.
//   - fewer than half are used: up.
//   - the budget binds, so that the threshold in force is over the knob most of the time: up to it. A budget that is
//     spent on whatever comes first is not there for what comes next.
//   - the budget is not half spent and two thirds are used: down; there may be more that pays.
func PreloadThreshold(in In[PreloadSeen], s PreloadState) (Proposal, PreloadState) {
	m := &in.Seen
	s.Seen = *m
	if in.Last != nil {
		s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now)
	}
	hold := func(rule, format string, args ...any) (Proposal, PreloadState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	step := preloadStep * in.Appetite.StepRatio / Balanced().StepRatio
	move := func(to float64, rule, expected, format string, args ...any) (Proposal, PreloadState) {
		to = math.Round(1000*min(max(to, in.Spec.Min, 0.05), in.Spec.Max, 0.95)) / 1000
		return Proposal{To: to, Rule: rule, Reason: fmt.Sprintf(format, args...), Expected: expected}, s
	}
	switch {
	case m.Wanted >= preloadLeast && m.pressed() > preloadPressed && in.Value < preloadSound:
		return move(in.Value+step, "pressed", "the calls that can be spared go to what is surest",
			"for %.0f %% of %.0f prefetches the upstream had nothing to spare", 100*m.pressed(), m.Wanted)
	case m.settled() < preloadLeast:
		return hold("few", "%.0f prefetches have ended: too few to tell", m.settled())
	}
	unsure := 2 * math.Sqrt(max(m.precision()*(1-m.precision()), 0.01)/m.settled())
	switch {
	case m.precision()+unsure < preloadPrecision:
		return move(in.Value+step, "imprecise", "fewer wasted calls",
			"only %.0f %% of %.0f prefetches were used", 100*m.precision(), m.settled())
	case in.Now.Before(s.Until):
		return hold("paused", "the last step did not pay; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	case m.Bound > 0.5 && m.Threshold > in.Value+step/2:
		return move(min(m.Threshold, in.Value+step), "binds", "as many calls, for surer predictions",
			"the budget binds %.0f %% of the time, and holds the threshold at %.2f on average", 100*m.Bound, m.Threshold)
	case m.Bound < 0.1 && m.waste() < preloadIdle*m.Budget && m.precision()-unsure > preloadSound:
		return move(in.Value-step/2, "room", "more waits hidden within the budget",
			"%.0f %% of %.0f prefetches were used, and of a budget of %.0f %% extra calls %.1f %% are spent", 100*m.precision(), m.settled(), 100*m.Budget, 100*m.waste())
	}
	return hold("settled", "%.0f %% of the prefetches are used, for %.1f %% extra calls: no step is known to pay", 100*m.precision(), 100*m.waste())
}

// PreloadBudget decides how many extra calls there may be, never more than the operator allows. In this order:
//
//   - the upstream has nothing to spare for a quarter of the prefetches: cut, by the appetite's step.
//   - fewer than half of the prefetches are used: a third less.
//   - ten minutes after the last cut: back by half as much again.
func PreloadBudget(in In[PreloadSeen], s PreloadState) (Proposal, PreloadState) {
	m := &in.Seen
	s.Seen = *m
	hold := func(rule, format string, args ...any) (Proposal, PreloadState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	move := func(to float64, rule, expected, format string, args ...any) (Proposal, PreloadState) {
		to = math.Round(1000*min(max(to, in.Spec.Min, min(preloadFloor, m.Allowed)), in.Spec.Max, m.Allowed)) / 1000
		if to < in.Value {
			s.Cut = in.Now
		}
		return Proposal{To: to, Rule: rule, Reason: fmt.Sprintf(format, args...), Expected: expected}, s
	}
	unsure := 2 * math.Sqrt(max(m.precision()*(1-m.precision()), 0.01)/max(m.settled(), 1))
	switch {
	case in.Value == 0:
		return hold("switched-off", "the budget is 0: only what is sure is fetched ahead")
	case m.Wanted >= preloadLeast && m.pressed() > preloadPressed && in.Value > preloadFloor:
		return move(in.Value*(1-min(in.Appetite.StepRatio, 0.5)), "pressed", "fewer calls to an upstream that has none to spare",
			"for %.0f %% of %.0f prefetches the upstream had nothing to spare", 100*m.pressed(), m.Wanted)
	case m.settled() >= preloadLeast && m.precision()+unsure < preloadPrecision && in.Value > preloadFloor:
		return move(in.Value/1.5, "imprecise", "fewer wasted calls", "only %.0f %% of %.0f prefetches were used", 100*m.precision(), m.settled())
	case in.Value < m.Allowed && in.Now.Sub(s.Cut) >= preloadCalm:
		s.Cut = in.Now
		return move(in.Value*1.5, "calm", "more waits hidden", "the upstream had capacity to spare in the %s since the last step", preloadCalm)
	}
	return hold("settled", "%.1f %% extra calls are made of %.0f %% that are allowed", 100*m.waste(), 100*m.Allowed)
}

// judgePreload weighs the waits that a change hid, or no longer hides, against the calls that it wastes, or
// saves. The price of a wasted call, in waits, is what the threshold says: r/(1-r).
func judgePreload(t Trial, before, after PreloadSeen) Effect {
	r := min(max((before.Threshold+after.Threshold)/2, 0.05), 0.9)
	price := r / (1 - r)
	hidden, wasted := after.coverage()-before.coverage(), after.waste()-before.waste()
	net := hidden - price*wasted
	variance := func(m *PreloadSeen) float64 {
		n := max(m.Misses, 1)
		return (max(m.Used+m.Late, 1) + price*price*max(m.Wasted, 1)) / (n * n)
	}
	deviation := math.Sqrt(variance(&before) + variance(&after))
	e := Effect{
		Verdict: VerdictNeutral, Confidence: confidence(net, deviation), More: 2*deviation > 0.02,
		Alarm: net < -max(0.1, 4*deviation),
		Measured: fmt.Sprintf("waits hidden %.1f %% to %.1f %% of the calls there would be, wasted calls %.1f %% to %.1f %%, at %.2f waits for a call",
			100*before.coverage(), 100*after.coverage(), 100*before.waste(), 100*after.waste(), price),
	}
	if t.Rule == "pressed" {
		// What it is for shows in the upstream's room, not in the waits hidden.
		e.Alarm = false
		if after.pressed() < before.pressed()/2 {
			e.Verdict = VerdictBetter
		}
		e.Measured += fmt.Sprintf("; without capacity to spare %.0f %% to %.0f %%", 100*before.pressed(), 100*after.pressed())
		return e
	}
	switch bound := max(0.005, 2*deviation); {
	case net > bound:
		e.Verdict = VerdictBetter
	case net < -bound:
		e.Verdict = VerdictWorse
	}
	return e
}

// PreloadRule makes a controller of decide, which is [PreloadThreshold] or [PreloadBudget], over what measure
// tells of the preloader.
func PreloadRule(decide func(In[PreloadSeen], PreloadState) (Proposal, PreloadState), measure func(from, to time.Time) PreloadSeen) Rule[PreloadSeen, PreloadState] {
	return Rule[PreloadSeen, PreloadState]{
		Measure: func(from, to time.Time) (PreloadSeen, int) {
			m := measure(from, to)
			return m, int(m.Misses)
		},
		Signals: func(m PreloadSeen) map[string]float64 {
			return map[string]float64{
				"calls_without": m.Misses, "precision_ratio": m.precision(), "coverage_ratio": m.coverage(), "extra_calls_ratio": m.waste(),
				"saved_seconds": m.Saved, "refused_ratio": m.pressed(), "threshold": m.Threshold, "bound_ratio": m.Bound,
			}
		},
		Decide: decide, Judge: judgePreload, Model: preloadModel,
		Fade: func(s PreloadState, trust float64) PreloadState {
			return PreloadState{Pause: time.Duration(trust * float64(s.Pause))}
		},
		MinSamples: 2 * preloadLeast, GoodSamples: 40 * preloadLeast, Window: time.Minute, Reach: flowReach,
		Evaluation: preloadEvaluation, LongestEvaluation: preloadLongest,
	}
}

// preloadModel tells what prefetching brings and costs, and the price at which it is done.
func preloadModel(value float64, s PreloadState) any {
	m := &s.Seen
	return map[string]any{
		"kind": "preload", "chosen": value, "precision_ratio": m.precision(), "coverage_ratio": m.coverage(),
		"extra_calls_ratio": m.waste(), "saved_seconds": m.Saved, "refused_ratio": m.pressed(),
		"threshold": m.Threshold, "budget_ratio": m.Budget, "allowed_ratio": m.Allowed,
	}
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// What Retry goes by. Ratios are 0..1.
const (
	// retryPays is the marginal success at which a retry is worth its call, retryWastes that under which it is not.
	retryPays   = 0.6
	retryWastes = 0.3
	// retryOverload of the first tries ending in 503 or a timeout: retries add load where there is too much.
	retryOverload = 0.1
	// retryLeast is the least number of retries that tell something.
	retryLeast = 10
	// retryMost is the largest share of calls that this rule lets be retries, retryFloor the least.
	retryMost  = 0.5
	retryFloor = 0.01
	retryStep  = 1.5
	// retryShift: with so many more or fewer first tries failing, before and after can't be compared.
	retryShift = 0.03
	// retryCalm after the last cut, with no overload, the budget begins to go back to where it was.
	retryCalm = 10 * time.Minute
)

// RetryState is what [Retry] remembers. Its zero value is a fresh start.
type RetryState struct {
	// Until: after a larger budget did not help, none is tried before this moment.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
	// Home is the budget before the cuts, 0 for none, and Cut when the last came.
	Home float64   `json:"home"`
	Cut  time.Time `json:"cut,omitzero"`
}

// Retry decides what share of the calls may be retries, by their marginal success: the share of retries that
// succeeded. In this order:
//
//   - the first tries fail from overload and retries succeed seldom: halve; retries feed an overload.
//   - retries succeed seldom: a third less.
//   - ten minutes after a cut the upstream is not overloaded: back by half as much again, up to where it was.
//   - retries succeed, the upstream is not overloaded, and the budget denied some: half as much again.
//
// A breaker that is open makes no calls and so teaches nothing.
func Retry(in In[Flow], s RetryState) (Proposal, RetryState) {
	f := &in.Seen
	if in.Last != nil && in.Last.To > in.Last.From {
		s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now)
	}
	hold := func(rule, format string, args ...any) (Proposal, RetryState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	if in.Value == 0 {
		return hold("switched-off", "the budget is 0: nothing is tried again")
	}
	pays := f.RetriesOK / max(f.Retries, 1)
	unsure := math.Sqrt(max(pays*(1-pays), 0.01) / max(f.Retries, 1))
	move := func(to float64, rule, expected, format string, args ...any) (Proposal, RetryState) {
		to = min(max(to, retryFloor, in.Spec.Min), max(retryMost, in.Value), in.Spec.Max)
		to = math.Round(to*1000) / 1000
		if to < in.Value {
			s.Home, s.Cut = max(s.Home, in.Value), in.Now
		}
		return Proposal{To: to, Rule: rule, Reason: fmt.Sprintf(format, args...), Expected: expected}, s
	}
	over := f.Overload / max(f.Calls, 1)
	switch {
	case s.Home > 0 && in.Value >= s.Home:
		s.Home = 0
	case s.Home > 0 && in.Now.Sub(s.Cut) >= retryCalm && over < retryOverload/5 && (f.Retries < retryLeast || pays > retryPays):
		s.Cut = in.Now
		return move(min(in.Value*retryStep, s.Home), "calm", "retries again where one fails by chance",
			"%.1f %% of the calls ended in overload in the %s since the budget was cut", 100*over, retryCalm)
	}
	switch {
	case f.Retries < retryLeast:
		return hold("few-retries", "%.0f of %.0f calls were retries: too few to tell", f.Retries, f.Calls)
	case over > retryOverload && pays+unsure < retryPays:
		return move(in.Value/2, "overload", "less load on an upstream that has too much, and no fewer answers",
			"%.0f %% of the calls ended in overload or a timeout, and only %.0f %% of %.0f retries succeeded", 100*over, 100*pays, f.Retries)
	case pays+2*unsure < retryWastes:
		return move(in.Value/retryStep, "wasted", "fewer calls and no fewer answers",
			"only %.0f %% of %.0f retries succeeded", 100*pays, f.Retries)
	case f.Denied < retryLeast/2:
		return hold("enough", "%.0f %% of %.0f retries succeeded, and the budget denied %.0f", 100*pays, f.Retries, f.Denied)
	case in.Now.Before(s.Until):
		return hold("paused", "a larger budget did not help the last time; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	case pays-2*unsure > retryPays && over < retryOverload:
		return move(in.Value*min(retryStep, 1+in.Appetite.StepRatio), "pays", "fewer failed requests",
			"%.0f %% of %.0f retries succeeded, and %.0f more were denied", 100*pays, f.Retries, f.Denied)
	}
	return hold("settled", "%.0f %% of %.0f retries succeeded: neither more nor fewer is known to pay", 100*pays, f.Retries)
}

// judgeRetry goes by the requests that got no good answer in the end, and by the calls made for each that did.
func judgeRetry(t Trial, before, after Flow) Effect {
	failed := func(f *Flow) float64 { return max(f.FirstFailed-f.RetriesOK, 0) / max(f.First, 1) }
	price := func(f *Flow) float64 { return f.Calls / max(f.OK, 1) }
	worse, dearer := failed(&after)-failed(&before), change(price(&before), price(&after))
	unsure := math.Sqrt(max(failed(&before), 0.01)/max(before.First, 1) + max(failed(&after), 0.01)/max(after.First, 1))
	e := Effect{
		Verdict: VerdictNeutral, Confidence: confidence(worse, unsure), Alarm: worse > 5*t.Appetite.ErrorRiseRatio,
		More: unsure > t.Appetite.ErrorRiseRatio,
		Measured: fmt.Sprintf("requests without a good answer %.1f %% to %.1f %%, calls for each good answer %.2f to %.2f",
			100*failed(&before), 100*failed(&after), price(&before), price(&after)),
	}
	shift := after.FirstFailed/max(after.First, 1) - before.FirstFailed/max(before.First, 1)
	switch {
	case math.Abs(shift) > max(retryShift, 3*unsure):
		// What retries can do depends on how many calls fail; another world is no comparison.
		e.Measured += fmt.Sprintf("; %.0f %% of the first tries failed before and %.0f %% after, so that says little",
			100*before.FirstFailed/max(before.First, 1), 100*after.FirstFailed/max(after.First, 1))
		e.Confidence, e.Alarm, e.More = 0, false, true
	case worse > max(t.Appetite.ErrorRiseRatio, 2*unsure), t.To > t.From && dearer > t.Appetite.LatencyRiseRatio && worse > -2*unsure:
		e.Verdict = VerdictWorse
	case worse < -max(0.005, 2*unsure), dearer < -betterGain && worse < 2*unsure:
		e.Verdict = VerdictBetter
	}
	return e
}

// RetryRule is [Retry] over an upstream's Flow.
func RetryRule(measure func(from, to time.Time) Flow) Rule[Flow, RetryState] {
	r := flowRule[RetryState](measure)
	r.Decide, r.Judge = Retry, judgeRetry
	return r
}

package tuner

import (
	"fmt"
	"math"
	"time"

	"penstock/observe"
)

// What Judge goes by. Ratios are 0..1.
const (
	// betterGain is the least growth of goodput that counts, or half of what the step could
	// bring at best if that is more. No change counts that is below the noise of the samples.
	betterGain = 0.03
	gainShare  = 0.5
	// worseLoss is the loss of goodput, and worseErrors the rise of the share of failed or refused
	// calls, that is not tolerated.
	worseLoss   = 0.05
	worseErrors = 0.02
	// latencyChange is the change of mean latency that counts.
	latencyChange = 0.10
	// variation is how much the durations of calls vary, as a share of their mean.
	variation = 0.5
)

// Judge compares an upstream before and after its number of workers went from one value to another.
// The sentence says what was measured.
//
// A change of goodput or latency that may be chance, given the number of calls, counts as none.
//
//   - More failed or refused calls: worse.
//   - After growth: better if goodput rose; worse if it fell while demand was there, or if it stayed
//     and the latency rose (the new calls only wait inside the upstream); else neutral.
//   - After a cut: better if failures or latency fell at no loss of goodput; worse if goodput fell
//     while the permits bind; else neutral.
func Judge(from, to float64, before, after *observe.CallSignals) (Verdict, string) {
	gain := change(before.Goodput, after.Goodput)
	demand := after.MeanInFlight >= bindingRatio*to
	delay := change(before.Mean.Seconds(), after.Mean.Seconds())
	if demand && before.MeanInFlight >= bindingRatio*from {
		delay = max(delay, change(littleDelay(before), littleDelay(after)))
	}
	failed := badRatio(after) - badRatio(before)
	measured := fmt.Sprintf("goodput %.1f/s to %.1f/s (%+.0f %%), mean latency %s to %s, delay %+.0f %%, failed or refused %.1f %% to %.1f %%",
		before.Goodput, after.Goodput, 100*gain, before.Mean.Round(time.Microsecond), after.Mean.Round(time.Microsecond), 100*delay,
		100*badRatio(before), 100*badRatio(after))
	if !demand {
		measured += "; demand did not use the workers"
	}
	unsure := noise(before, after)
	if to > from {
		return judgeGrowth(to/max(from, 1)-1, gain, delay, failed, unsure, demand), measured
	}
	return judgeCut(gain, delay, failed, unsure, demand), measured
}

// judgeWorkers is Judge for a Rule. A small step shows only in many calls, so it asks for more while chance
// could explain what the step can do; failures that were not there before call an alarm.
func judgeWorkers(t Trial, before, after observe.CallSignals) Effect {
	verdict, measured := Judge(t.From, t.To, &before, &after)
	unsure := noise(&before, &after)
	return Effect{
		Verdict: verdict, Measured: measured,
		More:  unsure > gainShare*math.Abs(t.To/max(t.From, 1)-1),
		Alarm: badRatio(&after)-badRatio(&before) > 5*worseErrors,
	}
}

// noise is about one standard deviation of a ratio of two throughputs, each counted over so many calls
// whose durations vary by half of their mean. A change below it may be chance.
func noise(before, after *observe.CallSignals) float64 {
	return variation * math.Sqrt(1/max(float64(before.Count), 1)+1/max(float64(after.Count), 1))
}

func judgeGrowth(step, gain, delay, failed, unsure float64, demand bool) Verdict {
	enough := max(betterGain, gainShare*step, unsure)
	tooMuch := max(worseLoss, unsure)
	switch {
	case failed > worseErrors:
		return VerdictWorse
	case gain >= enough:
		return VerdictBetter
	case demand && gain < -tooMuch:
		return VerdictWorse
	case demand && delay > max(latencyChange/2, step/2, unsure):
		return VerdictWorse
	}
	return VerdictNeutral
}

func judgeCut(gain, delay, failed, unsure float64, demand bool) Verdict {
	tooMuch := max(worseLoss, unsure)
	switch {
	case failed < -worseErrors && gain > -worseLoss:
		return VerdictBetter
	case demand && gain < -tooMuch:
		return VerdictWorse
	case failed <= worseErrors && gain > -betterGain && delay < -max(latencyChange, unsure):
		return VerdictBetter
	}
	return VerdictNeutral
}

// littleDelay is how long a call takes by Little's law. Unlike the mean it knows of calls that hang
// inside the upstream and have not ended. It holds only while the permits are all in use.
func littleDelay(c *observe.CallSignals) float64 {
	if c.Rate <= 0 {
		return 0
	}
	return c.MeanInFlight / c.Rate
}

func badRatio(c *observe.CallSignals) float64 {
	return c.Outcomes.FailedRatio() + c.Outcomes.RefusedRatio()
}

func change(before, after float64) float64 {
	if before <= 0 {
		return 0
	}
	return after/before - 1
}

func measuredFlow(b, a *Flow) string {
	return fmt.Sprintf("goodput %.1f/s to %.1f/s, the time to an answer %.0f ms to %.0f ms (of which waiting %.0f ms to %.0f ms), failed or given up %.1f %% to %.1f %%, %.1f to %.1f requests a call",
		b.goodput(), a.goodput(), 1e3*b.answer(), 1e3*a.answer(), 1e3*b.wait(), 1e3*a.wait(),
		100*(b.failedRatio()+b.lost()), 100*(a.failedRatio()+a.lost()), b.batch(), a.batch())
}

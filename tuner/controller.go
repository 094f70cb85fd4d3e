package tuner

import (
	"time"

	"penstock/observe"
)

// Outcome is what became of a proposal that was carried out.
type Outcome struct {
	Rule     string
	From, To float64
	Verdict  Verdict
	// RolledBack: the knob stands at From again.
	RolledBack bool
}

// pauseAfter is how long a rule waits after the outcome of a try, and until when: not at all after one that was
// better, else twice as long each time.
func pauseAfter(last *Outcome, pause time.Duration, now time.Time) (time.Duration, time.Time) {
	if last.Verdict == VerdictBetter {
		return 0, time.Time{}
	}
	pause = nextWait(pause)
	return pause, now.Add(pause)
}

// Proposal is what a controller wants.
type Proposal struct {
	// To is the value wanted; equal to the value in force: nothing to do.
	To float64
	// Rule names the rule that spoke, also when it holds.
	Rule string
	// Reason is one plain sentence with the numbers in it.
	Reason string
	// Expected says what the change should bring; empty when holding.
	Expected string
}

// signalMap is what the ledger keeps of the signals behind a decision.
func signalMap(c *observe.CallSignals) map[string]float64 {
	return map[string]float64{
		"calls":          float64(c.Count),
		"goodput":        c.Goodput,
		"mean_in_flight": c.MeanInFlight,
		"mean_seconds":   c.Mean.Seconds(),
		"p95_seconds":    c.P95.Seconds(),
		"overload_ratio": c.Outcomes.OverloadRatio(),
		"failed_ratio":   c.Outcomes.FailedRatio(),
		"refused_ratio":  c.Outcomes.RefusedRatio(),
	}
}

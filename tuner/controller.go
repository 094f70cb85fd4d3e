package tuner

import (
	"time"

	"penstock/knob"
	"penstock/observe"
)

// Input is what a controller may look at.
type Input struct {
	Now time.Time
	// Spec and Value are the knob's.
	Spec  knob.Spec
	Value float64
	// Calls are the signals of the upstream's calls under Value, never fewer than the loop's
	// MinSamples.
	Calls observe.CallSignals
	// Last is the outcome of the controller's last proposal if that was judged since the last step,
	// else nil.
	Last *Outcome
}

// Outcome is what became of a proposal that was carried out.
type Outcome struct {
	Rule     string
	From, To float64
	Verdict  Verdict
	// RolledBack: the knob stands at From again.
	RolledBack bool
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

package tuner

import (
	"cmp"
	"time"
)

// Appetite is how bold the controllers are. The presets aggressive, balanced and conservative set it by
// the tuning section of the configuration, where each number is documented; ratios are 0..1. A zero
// field has the balanced value; a negative one switches off what it bounds.
type Appetite struct {
	// StepRatio is the most that a controller of this package changes a knob by at once, as a share of its value.
	StepRatio float64 `json:"step_ratio"`
	// ProbeRatio is the share of permits or of traffic that experiments may take.
	ProbeRatio float64 `json:"probe_ratio"`
	// StaleRatio is the share of answers that may be older than the upstream's.
	StaleRatio float64 `json:"stale_ratio"`
	// LatencyRiseRatio and ErrorRiseRatio are the rise of the mean time of a call, and of the share of failed
	// or refused calls, by which a change is judged worse.
	LatencyRiseRatio float64 `json:"latency_rise_ratio"`
	ErrorRiseRatio   float64 `json:"error_rise_ratio"`
	// LatencyLimit and ErrorLimitRatio are absolute guardrails: while the p95 of an upstream's calls or the
	// share of them that failed is over it, its knobs move only to spare it. 0: no latency limit.
	LatencyLimit    time.Duration `json:"latency_limit_ns"`
	ErrorLimitRatio float64       `json:"error_limit_ratio"`
	// CoolDown is the least time between two changes of a knob, Evaluation how long a change is measured
	// before it is judged, at least.
	CoolDown   time.Duration `json:"cool_down_ns"`
	Evaluation time.Duration `json:"evaluation_ns"`
	// MinSamples is the least number of samples that a decision or a verdict rests on.
	MinSamples int `json:"min_samples"`
}

// Balanced is the appetite of the preset balanced.
func Balanced() Appetite {
	return Appetite{
		StepRatio: 0.5, ProbeRatio: 0.03, StaleRatio: 0.01, LatencyRiseRatio: 0.25, ErrorRiseRatio: 0.02,
		ErrorLimitRatio: 0.5, CoolDown: 5 * time.Second, Evaluation: 10 * time.Second, MinSamples: 30,
	}
}

// withDefaults fills what is zero with the balanced value.
func (a Appetite) withDefaults() Appetite {
	d := Balanced()
	a.StepRatio = cmp.Or(a.StepRatio, d.StepRatio)
	a.ProbeRatio = cmp.Or(a.ProbeRatio, d.ProbeRatio)
	a.StaleRatio = cmp.Or(a.StaleRatio, d.StaleRatio)
	a.LatencyRiseRatio = cmp.Or(a.LatencyRiseRatio, d.LatencyRiseRatio)
	a.ErrorRiseRatio = cmp.Or(a.ErrorRiseRatio, d.ErrorRiseRatio)
	a.ErrorLimitRatio = cmp.Or(a.ErrorLimitRatio, d.ErrorLimitRatio)
	a.CoolDown = cmp.Or(a.CoolDown, d.CoolDown)
	a.Evaluation = cmp.Or(a.Evaluation, d.Evaluation)
	a.MinSamples = cmp.Or(max(a.MinSamples, 0), d.MinSamples)
	return a
}

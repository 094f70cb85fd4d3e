package configs

import "time"

// Tuning is the tuner. Its numbers below interval are its appetite, which the preset sets.
type Tuning struct {
	Mode     string            `koanf:"mode" enum:"off,shadow,active" doc:"active turns knobs, shadow only records what it would do, off does neither."`
	Modes    map[string]string `koanf:"modes" key:"knobs" enum:"off,shadow,active" doc:"The modes of single knobs, by name or by a pattern that ends in .* such as cache.ttl.*; the name beats the longest pattern, and none allows more than mode."`
	Interval time.Duration     `koanf:"interval" min:"100ms" max:"1h" doc:"How often the tuner looks; more often follows changes faster, less often sees less noise."`

	StepRatio        float64       `koanf:"step_ratio" min:"0.01" max:"4" doc:"The most that one move changes a knob by, as a share of its value; more arrives sooner, less shakes the service less."`
	ProbeRatio       float64       `koanf:"probe_ratio" min:"0" max:"0.5" doc:"The share of permits and of traffic that experiments may take; more finds changes sooner, less costs less."`
	StaleRatio       float64       `koanf:"stale_ratio" min:"0.0001" max:"0.5" doc:"The freshness target: the share of answers that may be older than what the upstream has; more saves calls, less shows changes sooner."`
	LatencyRiseRatio float64       `koanf:"latency_rise_ratio" min:"0.01" max:"10" doc:"A change after which calls take longer by this share is judged worse and rolled back; more tolerates more, less rolls back sooner."`
	ErrorRiseRatio   float64       `koanf:"error_rise_ratio" min:"0.001" max:"1" doc:"A change after which the share of failed or refused calls rose by this much is judged worse and rolled back."`
	LatencyLimit     time.Duration `koanf:"latency_limit" min:"0s" max:"24h" doc:"While the p95 of an upstream's calls is over this, its knobs move only to spare it; 0: no limit."`
	ErrorLimitRatio  float64       `koanf:"error_limit_ratio" min:"0.001" max:"1" doc:"While this share of an upstream's calls fails, its knobs move only to spare it; 1: never."`
	CoolDown         time.Duration `koanf:"cool_down" min:"0s" max:"24h" doc:"The least time between two changes of one knob; longer is calmer, shorter arrives sooner."`
	Evaluation       time.Duration `koanf:"evaluation" min:"1s" max:"24h" doc:"How long a change is measured before it is judged, at least; longer judges surer, shorter rolls back sooner."`
	MinSamples       int           `koanf:"min_samples" min:"5" max:"1000000" doc:"The least number of samples that a decision or a verdict rests on; more is surer, fewer act at less traffic."`
}

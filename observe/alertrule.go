package observe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// AlertScope says what a rule judges.
type AlertScope string

// The scopes.
const (
	ScopeProcess  AlertScope = "process"  // the process as a whole
	ScopeUpstream AlertScope = "upstream" // each upstream by itself
	ScopeRoute    AlertScope = "route"    // each route by itself
)

// AlertRule says when something is wrong. Hysteresis comes from two thresholds and two durations, so
// that a value at the edge does not make an alert come and go.
type AlertRule struct {
	// Name is unique: "ErrorRatio".
	Name string
	// Signal is what is judged: one of [AlertSignals].
	Signal string
	// Scope says whether the process, each upstream or each route is judged; default ScopeUpstream.
	// Upstream and Route, if set, leave only that one.
	Scope           AlertScope
	Upstream, Route string
	// Threshold is what the signal must be over (or, with Below, under) to be wrong, in the signal's
	// unit; with AgainstPast it is a multiple of the signal's own past.
	Threshold float64
	Below     bool
	// Hysteresis, 0..1, is how far back over the threshold the signal must come for the alert to end,
	// as a share of it: with 0.1 and a threshold of 10 (above) that is 9. More keeps an alert from
	// coming and going, less ends it sooner.
	Hysteresis float64
	// AgainstPast divides the signal by the median of its own last hour. It judges nothing before ten
	// minutes of past are known.
	AgainstPast bool
	// Floor is a value of the signal: while it and its past are both under Floor nothing is judged,
	// so that three times next to nothing is no alarm. Only with AgainstPast.
	Floor float64
	// For is how long the signal must be wrong before the alert fires, ClearFor how long it must be
	// right before it ends; 0: at once.
	For, ClearFor time.Duration
	// MinCount is the number of requests in the sample's window below which the rule judges nothing,
	// so that one failure among two requests is no alarm.
	MinCount uint64
	// Severity is "info", "warning" or "critical".
	Severity string
	// Labels go with the alert to whom it is sent.
	Labels map[string]string
	// Summary is one sentence for people.
	Summary string
	// Off: the rule is not judged.
	Off bool
	// Custom marks a rule that the configuration made or changed.
	Custom bool
}

// Severities lists what a rule's severity may be.
func Severities() []string { return []string{"info", "warning", "critical"} }

// DefaultAlertRules returns the rules that hold without configuration.
func DefaultAlertRules() []AlertRule {
	return []AlertRule{
		{
			Name: "ErrorRatio", Signal: "error_ratio", Scope: ScopeUpstream, Threshold: .10, Hysteresis: .5, For: time.Minute, ClearFor: time.Minute, MinCount: 20,
			Severity: "critical", Summary: "More than 10 % of the requests to the upstream fail.",
		},
		{
			Name: "RefusedRatio", Signal: "refused_ratio", Scope: ScopeUpstream, Threshold: .05, Hysteresis: .6, For: time.Minute, ClearFor: time.Minute, MinCount: 20,
			Severity: "warning", Summary: "The upstream refuses more than 5 % of the calls for its quota.",
		},
		{
			Name: "SlowerThanUsual", Signal: "p99_seconds", Scope: ScopeUpstream, AgainstPast: true, Threshold: 3, Hysteresis: .4, Floor: .25,
			For: 2 * time.Minute, ClearFor: 2 * time.Minute, MinCount: 50,
			Severity: "warning", Summary: "The slowest one in a hundred requests takes three times as long as in the last hour.",
		},
		{
			Name: "HitRatioFell", Signal: "hit_ratio", Scope: ScopeRoute, AgainstPast: true, Below: true, Threshold: .5, Hysteresis: .4, Floor: .2,
			For: 5 * time.Minute, ClearFor: 5 * time.Minute, MinCount: 50,
			Severity: "warning", Summary: "The cache answers less than half of what it answered in the last hour.",
		},
		{
			Name: "QuotaNearlyUsed", Signal: "quota_used_ratio", Scope: ScopeUpstream, Threshold: .9, Hysteresis: .1, For: 30 * time.Second, ClearFor: 30 * time.Second,
			Severity: "warning", Summary: "More than 90 % of a quota window of a minute or longer is used up.",
		},
		{
			Name: "BreakerOpen", Signal: "breaker_open", Scope: ScopeUpstream, For: 5 * time.Second, ClearFor: 5 * time.Second,
			Severity: "critical", Summary: "The breaker is open: the upstream fails and is given a rest.",
		},
		{
			Name: "TunerRolledBack", Signal: "rollbacks", Scope: ScopeUpstream,
			Severity: "info", Summary: "The tuner took back a change that had made things worse, in the last ten minutes.",
		},
		{
			Name: "ReloadFailed", Signal: "reload_failed", Scope: ScopeProcess,
			Severity: "warning", Summary: "The last reload of the configuration failed; the one before is still in force.",
		},
		{
			Name: "DiskNearlyFull", Signal: "disk_used_ratio", Scope: ScopeProcess, Threshold: .9, Hysteresis: .02, For: time.Minute, ClearFor: time.Minute,
			Severity: "critical", Summary: "More than 90 % of the disk of data_dir is used; when it is full, pins and decisions can't be kept.",
		},
	}
}

// Validate reports what is wrong with the rule.
func (r AlertRule) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("alert "+r.Name+": "+format, args...))
	}
	if r.Name == "" || r.Signal == "" {
		return errors.New("an alert rule needs a name and a signal")
	}
	switch r.Scope {
	case ScopeProcess, ScopeUpstream, ScopeRoute:
	default:
		fault("the scope %q is none of process, upstream, route", r.Scope)
	}
	switch {
	case !(r.Threshold >= 0):
		fault("the threshold %v is negative", r.Threshold)
	case !(r.Hysteresis >= 0 && r.Hysteresis <= 1):
		fault("the hysteresis %v is not within 0..1", r.Hysteresis)
	case r.For < 0 || r.ClearFor < 0:
		fault("a duration is negative")
	case r.Below && r.Threshold == 0:
		fault("nothing is below 0")
	}
	if !slices.Contains(Severities(), r.Severity) {
		fault("the severity %q is none of %v", r.Severity, Severities())
	}
	return errors.Join(faults...)
}

// clear is the value at which a firing alert begins to end.
func (r *AlertRule) clear() float64 {
	share := 1 - r.Hysteresis
	if r.Below {
		share = 1 + r.Hysteresis
	}
	// Rounded, so that people are shown 1.8 and not 1.7999999999999998.
	v, _ := strconv.ParseFloat(strconv.FormatFloat(r.Threshold*share, 'g', 12, 64), 64)
	return v
}

func (r *AlertRule) wrong(v float64) bool {
	if r.Below {
		return v < r.Threshold
	}
	return v > r.Threshold
}

func (r *AlertRule) right(v float64) bool {
	if r.Below {
		return v >= r.clear()
	}
	return v <= r.clear()
}

func (r *AlertRule) comparison() string {
	if r.Below {
		return "<"
	}
	return ">"
}

func (r *AlertRule) equal(o *AlertRule) bool {
	a, b := *r, *o
	a.Labels, b.Labels = nil, nil
	return maps.Equal(r.Labels, o.Labels) && fmt.Sprint(a) == fmt.Sprint(b)
}

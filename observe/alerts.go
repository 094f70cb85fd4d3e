package observe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// AlertRule says when something is wrong. Hysteresis comes from two thresholds and two durations.
type AlertRule struct {
	// Name is unique: "ErrorRatio".
	Name string
	// Signal is what is judged: one of the names of [Sample.Value].
	Signal string
	// PerUpstream judges each upstream by itself; else the process as a whole.
	PerUpstream bool
	// Above: the alert becomes pending when the signal is over it, and, while it fires, ends when the
	// signal is at most Clear for as long as For. Clear is at most Above.
	Above, Clear float64
	// For is how long the signal must be over Above before the alert fires; 0: at once.
	For time.Duration
	// Severity is "warning" or "critical".
	Severity string
	// MinCount is the number of requests in the sample's window below which the rule judges nothing,
	// so that one failure among two requests is no alarm.
	MinCount uint64
	// Summary is one sentence for people.
	Summary string
}

// DefaultAlertRules returns the rules that hold without configuration.
func DefaultAlertRules() []AlertRule {
	return []AlertRule{
		{
			Name: "ErrorRatio", Signal: "error_ratio", PerUpstream: true, Above: .10, Clear: .05, For: time.Minute, MinCount: 20,
			Severity: "critical", Summary: "more than 10 % of the requests to the upstream fail",
		},
		{
			Name: "RefusedRatio", Signal: "refused_ratio", PerUpstream: true, Above: .05, Clear: .02, For: time.Minute, MinCount: 20,
			Severity: "warning", Summary: "the upstream refuses more than 5 % of the calls for its quota",
		},
		{
			Name: "SlowRequests", Signal: "p99_seconds", PerUpstream: true, Above: 10, Clear: 5, For: 2 * time.Minute, MinCount: 20,
			Severity: "warning", Summary: "one in a hundred requests takes longer than 10 s",
		},
		{
			Name: "BreakerOpen", Signal: "breaker_open", PerUpstream: true, Above: 0, Clear: 0, For: 5 * time.Second,
			Severity: "critical", Summary: "the breaker is open: the upstream fails and is given a rest",
		},
		{
			Name: "ReloadFailed", Signal: "reload_failed", Above: 0, Clear: 0,
			Severity: "warning", Summary: "the last reload of the configuration failed; the one before is still in force",
		},
	}
}

// Validate reports what is wrong with the rule.
func (r AlertRule) Validate() error {
	switch {
	case r.Name == "" || r.Signal == "":
		return fmt.Errorf("an alert rule needs a name and a signal")
	case r.Clear > r.Above:
		return fmt.Errorf("alert %s: clear %v is over above %v, so it could never rest", r.Name, r.Clear, r.Above)
	case r.For < 0:
		return fmt.Errorf("alert %s: for %s is negative", r.Name, r.For)
	}
	return nil
}

// Value returns a signal of the sample by name: error_ratio, refused_ratio, failed_ratio, hit_ratio,
// rate, goodput, p50_seconds, p95_seconds, p99_seconds, in_flight, or any fact. With an empty upstream it is
// that of the process as a whole. False if there is no such value.
func (s *Sample) Value(signal, upstream string) (float64, bool) {
	if v, ok := s.Facts[factName(signal, upstream)]; ok {
		return v, true
	}
	sig := s.Total
	if upstream != "" {
		var ok bool
		if sig, ok = s.Upstreams[upstream]; !ok {
			return 0, false
		}
	}
	switch signal {
	case "error_ratio":
		return sig.Requests.ErrorRatio, true
	case "refused_ratio":
		return sig.Calls.Outcomes.RefusedRatio(), true
	case "failed_ratio":
		return sig.Calls.Outcomes.FailedRatio(), true
	case "hit_ratio":
		return sig.Requests.HitRatio, true
	case "rate":
		return sig.Requests.Rate, true
	case "goodput":
		return sig.Requests.Goodput, true
	case "p50_seconds":
		return sig.Requests.P50.Seconds(), true
	case "p95_seconds":
		return sig.Requests.P95.Seconds(), true
	case "p99_seconds":
		return sig.Requests.P99.Seconds(), true
	case "in_flight":
		return float64(sig.Requests.InFlight), true
	}
	return 0, false
}

func (s *Sample) count(upstream string) uint64 {
	if upstream == "" {
		return s.Total.Requests.Count
	}
	return s.Upstreams[upstream].Requests.Count
}

// AlertState is where an alert stands.
type AlertState string

// The states. An alert that is none of them is not listed.
const (
	AlertPending AlertState = "pending" // over the threshold, not yet for long enough
	AlertFiring  AlertState = "firing"
)

// Alert is a rule that is violated.
type Alert struct {
	Rule     string     `json:"rule"`
	Upstream string     `json:"upstream,omitempty"`
	State    AlertState `json:"state"`
	Severity string     `json:"severity"`
	Summary  string     `json:"summary"`
	// Value is the signal's last value, Above the threshold.
	Value float64 `json:"value"`
	Above float64 `json:"above"`
	// Since is when the signal went over the threshold; FiredAt when it had been so for long enough.
	Since   time.Time `json:"since"`
	FiredAt time.Time `json:"fired_at,omitzero"`
}

type alertKey struct{ rule, upstream string }

type activeAlert struct {
	Alert
	calmSince time.Time // when the signal fell to Clear, zero while it has not
}

// Alerts judges samples by rules. Give [Alerts.Observe] to a Sampler as OnSample.
type Alerts struct {
	mu     sync.Mutex // guards what follows
	on     bool
	rules  []AlertRule
	active map[alertKey]*activeAlert
}

// NewAlerts returns Alerts with the given rules, the default ones if there are none. Faulty rules are
// an error.
func NewAlerts(on bool, rules ...AlertRule) (*Alerts, error) {
	if len(rules) == 0 {
		rules = DefaultAlertRules()
	}
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, err
		}
	}
	return &Alerts{on: on, rules: rules, active: make(map[alertKey]*activeAlert)}, nil
}

// SetOn switches the alerts on or off while the service runs. Off forgets what is active.
func (a *Alerts) SetOn(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = on
	if !on {
		clear(a.active)
	}
}

// On reports whether the alerts are on.
func (a *Alerts) On() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.on
}

// Observe judges one sample. Samples must come in order of time.
func (a *Alerts) Observe(s Sample) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.on {
		return
	}
	seen := make(map[alertKey]bool)
	for i := range a.rules {
		rule := &a.rules[i]
		for _, upstream := range rule.subjects(&s) {
			key := alertKey{rule.Name, upstream}
			seen[key] = true
			a.judge(rule, key, &s)
		}
	}
	// What a reload removed has no samples any more and can't be wrong.
	maps.DeleteFunc(a.active, func(k alertKey, _ *activeAlert) bool { return !seen[k] })
}

func (r *AlertRule) subjects(s *Sample) []string {
	if !r.PerUpstream {
		return []string{""}
	}
	names := slices.Collect(maps.Keys(s.Upstreams))
	for fact := range s.Facts {
		if upstream, ok := strings.CutPrefix(fact, r.Signal+"/"); ok {
			names = append(names, upstream)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// judge moves one alert on. The caller holds mu.
func (a *Alerts) judge(rule *AlertRule, key alertKey, s *Sample) {
	value, ok := s.Value(rule.Signal, key.upstream)
	judged := ok && s.count(key.upstream) >= rule.MinCount
	over, calm := judged && value > rule.Above, !judged || value <= rule.Clear
	alert := a.active[key]
	if alert == nil {
		if !over {
			return
		}
		alert = &activeAlert{Alert: Alert{
			Rule: rule.Name, Upstream: key.upstream, State: AlertPending, Severity: rule.Severity,
			Summary: rule.Summary, Above: rule.Above, Since: s.At,
		}}
		a.active[key] = alert
	}
	if judged {
		alert.Value = value
	}
	if alert.State == AlertPending {
		switch {
		case !over:
			delete(a.active, key)
		case s.At.Sub(alert.Since) >= rule.For:
			alert.State, alert.FiredAt = AlertFiring, s.At
		}
		return
	}
	switch {
	case !calm:
		alert.calmSince = time.Time{}
	case alert.calmSince.IsZero():
		alert.calmSince = s.At
	}
	if !alert.calmSince.IsZero() && s.At.Sub(alert.calmSince) >= rule.For {
		delete(a.active, key)
	}
}

// Alerts lists what is pending or firing: firing first, then by rule and upstream.
func (a *Alerts) Alerts() []Alert {
	a.mu.Lock()
	out := make([]Alert, 0, len(a.active))
	for _, alert := range a.active {
		out = append(out, alert.Alert)
	}
	a.mu.Unlock()
	slices.SortFunc(out, func(x, y Alert) int {
		return cmp.Or(cmp.Compare(x.State, y.State), cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Upstream, y.Upstream))
	})
	return out
}

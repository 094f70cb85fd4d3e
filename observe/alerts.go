package observe

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// AlertState is where an alert stands.
type AlertState string

// The states. A rule whose subject is in none of them is fine.
const (
	AlertPending AlertState = "pending" // over the threshold, not yet for long enough
	AlertFiring  AlertState = "firing"
)

// Alert is a rule that is violated.
type Alert struct {
	Rule     string     `json:"rule"`
	Upstream string     `json:"upstream,omitempty"`
	Route    string     `json:"route,omitempty"`
	State    AlertState `json:"state"`
	Severity string     `json:"severity"`
	Summary  string     `json:"summary"`
	// Labels are those of the rule together with alertname, severity, upstream and route. Read-only.
	Labels map[string]string `json:"labels"`
	// Fingerprint is a hash of Labels, as Alertmanager makes it.
	Fingerprint string `json:"fingerprint"`
	// Value is what was judged last; it is compared with Threshold, and with Clear for the end.
	Value      float64 `json:"value"`
	Comparison string  `json:"comparison"`
	Threshold  float64 `json:"threshold"`
	Clear      float64 `json:"clear"`
	// Above is Threshold by its older name.
	Above float64 `json:"above"`
	// Unit is that of Value: "ratio", "seconds" and so on, or "times its past".
	Unit string `json:"unit"`
	// Since is when the signal went over the threshold; FiredAt when it had been so for long enough;
	// CalmSince when it came back, while that is not yet for long enough; ResolvedAt when it was over.
	Since      time.Time `json:"since"`
	FiredAt    time.Time `json:"fired_at,omitzero"`
	CalmSince  time.Time `json:"calm_since,omitzero"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
}

// maxResolved is how many ended alerts are remembered.
const maxResolved = 100

type alertKey struct {
	rule string
	of   RouteName
}

// subject is one rule applied to one upstream, route or the process.
type subject struct {
	past   past
	value  float64
	judged bool
	alert  *Alert // nil: fine
	// kept is when it was taken over from an earlier process, until it is seen.
	kept time.Time
}

// Alerts judges samples by rules. Give [Alerts.Observe] to a Sampler as OnSample.
type Alerts struct {
	// notify is told what began to fire and what ended, with no lock held.
	notify func([]Alert)

	mu       sync.Mutex // guards what follows
	on       bool
	rules    []AlertRule
	subjects map[alertKey]*subject
	resolved []Alert // oldest first
	again    []Alert // firing since before the start, not told of yet
	at       time.Time
}

// NewAlerts returns Alerts with the given rules, the default ones if there are none. Faulty rules are
// an error.
func NewAlerts(on bool, rules ...AlertRule) (*Alerts, error) {
	a := &Alerts{on: on, subjects: make(map[alertKey]*subject)}
	if len(rules) == 0 {
		rules = DefaultAlertRules()
	}
	return a, a.SetRules(rules)
}

// Notify has f told of the alerts that begin to fire and of those that fired and ended (ResolvedAt is
// set). It must be quick, and set before the first sample.
func (a *Alerts) Notify(f func([]Alert)) { a.notify = f }

// SetRules puts other rules in force. A rule that stays as it was keeps its alerts and its past; the
// alerts of one that is gone or changed end.
func (a *Alerts) SetRules(rules []AlertRule) error {
	names := make(map[string]*AlertRule, len(rules))
	for i := range rules {
		if err := rules[i].Validate(); err != nil {
			return err
		}
		if names[rules[i].Name] != nil {
			return fmt.Errorf("two alert rules are named %s", rules[i].Name)
		}
		names[rules[i].Name] = &rules[i]
	}
	a.mu.Lock()
	var ended []Alert
	for i := range a.rules {
		old := &a.rules[i]
		if now := names[old.Name]; now == nil || !now.equal(old) {
			ended = append(ended, a.drop(func(k alertKey) bool { return k.rule == old.Name })...)
		}
	}
	a.rules = slices.Clone(rules)
	a.mu.Unlock()
	a.tell(ended)
	return nil
}

// SetOn switches the alerts on or off while the service runs. Off ends what is active.
func (a *Alerts) SetOn(on bool) {
	a.mu.Lock()
	a.on = on
	var ended []Alert
	if !on {
		ended = a.drop(func(alertKey) bool { return true })
	}
	a.mu.Unlock()
	a.tell(ended)
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
	if !a.on {
		a.mu.Unlock()
		return
	}
	a.at = s.At
	changed := a.again
	a.again = nil
	seen := make(map[alertKey]bool, len(a.subjects))
	for i := range a.rules {
		rule := &a.rules[i]
		if rule.Off {
			continue
		}
		for _, of := range rule.subjects(&s) {
			key := alertKey{rule.Name, of}
			seen[key] = true
			sub := a.subjects[key]
			if sub == nil {
				sub = new(subject)
				a.subjects[key] = sub
			}
			sub.kept = time.Time{}
			changed = append(changed, a.judge(rule, of, sub, &s)...)
		}
	}
	// What a reload removed has no samples any more and can't be wrong. After a start, a route has none
	// before its first request either.
	changed = append(changed, a.drop(func(k alertKey) bool { return !seen[k] && s.At.Sub(a.subjects[k].kept) > keptGrace })...)
	a.mu.Unlock()
	a.tell(changed)
}

func (a *Alerts) tell(changed []Alert) {
	if len(changed) > 0 && a.notify != nil {
		a.notify(changed)
	}
}

// drop forgets subjects and returns the firing alerts that ended by it. The caller holds mu.
func (a *Alerts) drop(which func(alertKey) bool) (ended []Alert) {
	for key, sub := range a.subjects {
		if which(key) {
			ended = append(ended, a.resolve(sub, a.at)...)
			delete(a.subjects, key)
		}
	}
	return ended
}

// resolve ends a subject's alert and returns it if it fired. The caller holds mu.
func (a *Alerts) resolve(sub *subject, at time.Time) []Alert {
	alert := sub.alert
	sub.alert = nil
	if alert == nil || alert.State != AlertFiring {
		return nil
	}
	alert.ResolvedAt = at
	if len(a.resolved) == maxResolved {
		a.resolved = slices.Delete(a.resolved, 0, 1)
	}
	a.resolved = append(a.resolved, *alert)
	return []Alert{*alert}
}

// subjects lists what the rule judges in this sample.
func (r *AlertRule) subjects(s *Sample) []RouteName {
	var all []RouteName
	switch r.Scope {
	case ScopeProcess:
		return []RouteName{{}}
	case ScopeRoute:
		all = slices.Collect(maps.Keys(s.Routes))
	default:
		for name := range s.Upstreams {
			all = append(all, RouteName{Upstream: name})
		}
		for fact := range s.Facts {
			if name, ok := strings.CutPrefix(fact, r.Signal+"/"); ok && s.Upstreams[name].Span == 0 {
				all = append(all, RouteName{Upstream: name})
			}
		}
	}
	all = slices.DeleteFunc(all, func(of RouteName) bool {
		return r.Upstream != "" && of.Upstream != r.Upstream || r.Route != "" && of.Route != r.Route
	})
	slices.SortFunc(all, compareRoutes)
	return slices.Compact(all)
}

func compareRoutes(x, y RouteName) int {
	return cmp.Or(cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Route, y.Route))
}

// value finds what the rule judges, false if there is nothing to judge now.
func (r *AlertRule) value(of RouteName, sub *subject, s *Sample) (float64, bool) {
	v, ok := s.valueOf(r.Signal, of)
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) || r.MinCount > 0 && s.count(of) < r.MinCount {
		return 0, false
	}
	if !r.AgainstPast {
		return v, true
	}
	if sub.alert == nil || s.At.Sub(sub.alert.Since) > pastHold {
		sub.past.add(s.At, v)
	}
	usual, ok := sub.past.usual()
	if !ok || usual <= 0 || max(v, usual) < r.Floor {
		return 0, false
	}
	return v / usual, true
}

// judge moves one alert on and returns it if it began to fire or ended. The caller holds mu.
func (a *Alerts) judge(rule *AlertRule, of RouteName, sub *subject, s *Sample) []Alert {
	value, judged := rule.value(of, sub, s)
	sub.value, sub.judged = value, judged
	wrong, right := judged && rule.wrong(value), !judged || rule.right(value)
	alert := sub.alert
	if alert == nil {
		if !wrong {
			return nil
		}
		alert = rule.alert(of, s.At)
		sub.alert = alert
	}
	if judged {
		alert.Value = value
	}
	if alert.State == AlertPending {
		switch {
		case !wrong:
			sub.alert = nil
		case s.At.Sub(alert.Since) >= rule.For:
			alert.State, alert.FiredAt = AlertFiring, s.At
			return []Alert{*alert}
		}
		return nil
	}
	switch {
	case !right:
		alert.CalmSince = time.Time{}
		return nil
	case alert.CalmSince.IsZero():
		alert.CalmSince = s.At
	}
	if s.At.Sub(alert.CalmSince) < rule.ClearFor {
		return nil
	}
	return a.resolve(sub, s.At)
}

// alert makes a pending alert.
func (r *AlertRule) alert(of RouteName, at time.Time) *Alert {
	labels := map[string]string{}
	maps.Copy(labels, r.Labels)
	labels["alertname"], labels["severity"] = r.Name, r.Severity
	if of.Upstream != "" {
		labels["upstream"] = of.Upstream
	}
	if of.Route != "" {
		labels["route"] = of.Route
	}
	return &Alert{
		Rule: r.Name, Upstream: of.Upstream, Route: of.Route, State: AlertPending, Severity: r.Severity, Summary: r.Summary,
		Labels: labels, Fingerprint: fingerprint(labels), Comparison: r.comparison(), Threshold: r.Threshold, Above: r.Threshold,
		Clear: r.clear(), Unit: r.unit(), Since: at,
	}
}

func (r *AlertRule) unit() string {
	if r.AgainstPast {
		return "times its past"
	}
	s, _ := alertSignal(r.Signal)
	return s.Unit
}

// fingerprint hashes labels as Prometheus does: FNV-1a over the sorted names and values, each followed
// by the byte 0xff.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name + "\xff" + labels[name] + "\xff"))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Alerts lists what is pending or firing: firing first, then by rule and subject.
func (a *Alerts) Alerts() []Alert {
	a.mu.Lock()
	out := []Alert{}
	for _, sub := range a.subjects {
		if sub.alert != nil {
			out = append(out, *sub.alert)
		}
	}
	a.mu.Unlock()
	slices.SortFunc(out, func(x, y Alert) int {
		return cmp.Or(cmp.Compare(x.State, y.State), cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Route, y.Route))
	})
	return out
}

// Resolved lists the last alerts that fired and ended, the newest first.
func (a *Alerts) Resolved() []Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Alert, 0, len(a.resolved))
	for _, alert := range slices.Backward(a.resolved) {
		out = append(out, alert)
	}
	return out
}

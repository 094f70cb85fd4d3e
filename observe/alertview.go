package observe

import (
	"cmp"
	"slices"
)

// maxRuleValues bounds the values listed with each rule.
const maxRuleValues = 50

// RuleView is a rule with where it stands.
type RuleView struct {
	Name            string            `json:"name"`
	Signal          string            `json:"signal"`
	Scope           AlertScope        `json:"scope"`
	Upstream        string            `json:"upstream,omitempty"`
	Route           string            `json:"route,omitempty"`
	Comparison      string            `json:"comparison"`
	Threshold       float64           `json:"threshold"`
	Clear           float64           `json:"clear"`
	AgainstPast     bool              `json:"against_past"`
	Unit            string            `json:"unit"`
	ForSeconds      float64           `json:"for_seconds"`
	ClearForSeconds float64           `json:"clear_for_seconds"`
	MinCount        uint64            `json:"min_count"`
	Severity        string            `json:"severity"`
	Labels          map[string]string `json:"labels"`
	Summary         string            `json:"summary"`
	// Source is "default" or "config".
	Source string `json:"source"`
	// State is the worst of Values: "ok", "pending", "firing", or "off".
	State string `json:"state"`
	// Values are what was judged last, at most 50 of them, the worst first.
	Values []RuleValue `json:"values"`
}

// RuleValue is what a rule judged of one upstream or route last.
type RuleValue struct {
	Upstream string  `json:"upstream,omitempty"`
	Route    string  `json:"route,omitempty"`
	Value    float64 `json:"value"`
	State    string  `json:"state"`
}

var stateOrder = map[string]int{string(AlertFiring): 2, string(AlertPending): 1}

// Rules lists the rules in force, each with its last values.
func (a *Alerts) Rules() []RuleView {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]RuleView, 0, len(a.rules))
	index := make(map[string]int, len(a.rules))
	for i := range a.rules {
		index[a.rules[i].Name] = i
		out = append(out, a.rules[i].view(a.on))
	}
	for key, sub := range a.subjects {
		i, ok := index[key.rule]
		if !ok || !sub.judged && sub.alert == nil {
			continue
		}
		v := RuleValue{Upstream: key.of.Upstream, Route: key.of.Route, Value: sub.value, State: "ok"}
		if sub.alert != nil {
			v.State, v.Value = string(sub.alert.State), sub.alert.Value
		}
		out[i].Values = append(out[i].Values, v)
		if stateOrder[v.State] > stateOrder[out[i].State] {
			out[i].State = v.State
		}
	}
	for i := range out {
		slices.SortFunc(out[i].Values, func(x, y RuleValue) int {
			return cmp.Or(stateOrder[y.State]-stateOrder[x.State], cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Route, y.Route))
		})
		out[i].Values = out[i].Values[:min(len(out[i].Values), maxRuleValues)]
	}
	return out
}

func (r *AlertRule) view(on bool) RuleView {
	v := RuleView{
		Name: r.Name, Signal: r.Signal, Scope: r.Scope, Upstream: r.Upstream, Route: r.Route,
		Comparison: r.comparison(), Threshold: r.Threshold, Clear: r.clear(), AgainstPast: r.AgainstPast, Unit: r.unit(),
		ForSeconds: r.For.Seconds(), ClearForSeconds: r.ClearFor.Seconds(), MinCount: r.MinCount, Severity: r.Severity,
		Labels: r.Labels, Summary: r.Summary, Source: "default", State: "ok", Values: []RuleValue{},
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if r.Custom {
		v.Source = "config"
	}
	if r.Off || !on {
		v.State = "off"
	}
	return v
}

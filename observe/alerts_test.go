package observe

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// judge feeds one value a second and returns the state after each: "-", "pending" or "firing".
func judge(t *testing.T, rule AlertRule, values ...float64) []string {
	t.Helper()
	a, err := NewAlerts(true, rule)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	start := time.Unix(1000, 0)
	for i, v := range values {
		a.Observe(Sample{At: start.Add(time.Duration(i) * time.Second), Facts: map[string]float64{"x": v}})
		state := "-"
		if list := a.Alerts(); len(list) > 0 {
			state = string(list[0].State)
		}
		states = append(states, state)
	}
	return states
}

func expectStates(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the states are %v, want %v", got, want)
		}
	}
}

// simple is a rule about the fact x that fires at once.
func simple(change func(*AlertRule)) AlertRule {
	r := AlertRule{Name: "X", Signal: "x", Scope: ScopeProcess, Severity: "warning"}
	if change != nil {
		change(&r)
	}
	return r
}

var testRule = simple(func(r *AlertRule) {
	r.Threshold, r.Hysteresis, r.For, r.ClearFor = 10, .5, 2*time.Second, 2*time.Second
})

func TestAnAlertFiresOnlyAfterItsDuration(t *testing.T) {
	expectStates(t, judge(t, testRule, 1, 11, 11, 11, 11), "-", "pending", "pending", "firing", "firing")
	expectStates(t, judge(t, testRule, 11, 11, 9, 11), "pending", "pending", "-", "pending")
}

func TestAFiringAlertEndsOnlyWhenItHasBeenCalm(t *testing.T) {
	expectStates(t, judge(t, testRule, 11, 11, 11, 7, 7, 7, 7, 4, 7, 4, 4, 4),
		"pending", "pending", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "-")
}

func TestARuleWithoutDurationFiresAtOnce(t *testing.T) {
	expectStates(t, judge(t, simple(nil), 0, 1, 1, 0), "-", "firing", "firing", "-")
}

func TestTooFewRequestsAreNoAlarm(t *testing.T) {
	a, _ := NewAlerts(true, AlertRule{Name: "E", Signal: "error_ratio", Scope: ScopeUpstream, Threshold: .1, MinCount: 20, Severity: "warning"})
	sample := func(n uint64) Sample {
		return Sample{At: time.Unix(1, 0), Upstreams: map[string]Signals{"m": {Requests: RequestSignals{Count: n, ErrorRatio: .5}}}}
	}
	a.Observe(sample(19))
	if l := a.Alerts(); len(l) != 0 {
		t.Errorf("19 requests gave %v", l)
	}
	a.Observe(sample(20))
	if l := a.Alerts(); len(l) != 1 || l[0].Upstream != "m" || l[0].State != AlertFiring || l[0].Value != .5 {
		t.Errorf("20 requests gave %v", l)
	}
	// The upstream was removed by a reload.
	a.Observe(Sample{At: time.Unix(2, 0)})
	if l := a.Alerts(); len(l) != 0 {
		t.Errorf("a removed upstream still has %v", l)
	}
}

func TestABreakerIsSeenWithoutTraffic(t *testing.T) {
	a, err := NewAlerts(true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		a.Observe(Sample{At: time.Unix(int64(i), 0), Facts: map[string]float64{"breaker_open/m": 1}})
	}
	if l := a.Alerts(); len(l) != 1 || l[0].Rule != "BreakerOpen" || l[0].Upstream != "m" || l[0].State != AlertFiring {
		t.Errorf("the alerts are %+v", l)
	}
}

func TestSwitchedOffAlertsAreSilentAndForget(t *testing.T) {
	a, _ := NewAlerts(true, simple(nil))
	bad := Sample{At: time.Unix(1, 0), Facts: map[string]float64{"x": 1}}
	a.Observe(bad)
	a.SetOn(false)
	a.Observe(bad)
	if l := a.Alerts(); len(l) != 0 || a.On() {
		t.Errorf("switched off: %v", l)
	}
	a.SetOn(true)
	a.Observe(bad)
	if l := a.Alerts(); len(l) != 1 {
		t.Errorf("switched on again: %v", l)
	}
}

func TestFaultyRulesAreRefused(t *testing.T) {
	faulty := map[string]func(*AlertRule){
		"no name":           func(r *AlertRule) { r.Name = "" },
		"no signal":         func(r *AlertRule) { r.Signal = "" },
		"no scope":          func(r *AlertRule) { r.Scope = "world" },
		"negative":          func(r *AlertRule) { r.Threshold = -1 },
		"not a number":      func(r *AlertRule) { r.Threshold = math.NaN() },
		"hysteresis over 1": func(r *AlertRule) { r.Hysteresis = 1.5 },
		"negative duration": func(r *AlertRule) { r.For = -1 },
		"below nothing":     func(r *AlertRule) { r.Below = true },
		"severity":          func(r *AlertRule) { r.Severity = "bad" },
	}
	for name, change := range faulty {
		if _, err := NewAlerts(true, simple(change)); err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
	if _, err := NewAlerts(true, simple(nil), simple(nil)); err == nil {
		t.Error("two rules of one name were accepted")
	}
	if _, err := NewAlerts(true); err != nil {
		t.Errorf("the default rules: %v", err)
	}
}

func TestARuleBelowItsThresholdHasItsHysteresisAboveIt(t *testing.T) {
	rule := simple(func(r *AlertRule) { r.Below, r.Threshold, r.Hysteresis = true, 10, .5 })
	expectStates(t, judge(t, rule, 11, 10, 9, 12, 14, 15, 12), "-", "-", "firing", "firing", "firing", "-", "-")
}

// feed gives a rule one value a second, n times each.
func feed(a *Alerts, at *time.Time, n int, v float64) {
	for range n {
		a.Observe(Sample{At: *at, Facts: map[string]float64{"x": v}})
		*at = at.Add(time.Second)
	}
}

func TestAgainstItsPastASignalFiresByItsOwnMeasure(t *testing.T) {
	rule := simple(func(r *AlertRule) { r.AgainstPast, r.Threshold, r.Hysteresis, r.Floor = true, 3, .5, .5 })
	a, err := NewAlerts(true, rule)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	feed(a, &at, 8*60, .2)
	feed(a, &at, 60, 100)
	if l := a.Alerts(); len(l) != 0 {
		t.Fatalf("it judged without a past: %+v", l)
	}
	feed(a, &at, 20*60, .2)
	feed(a, &at, 1, .4)
	if l := a.Alerts(); len(l) != 0 {
		t.Fatalf("twice the past, and under the floor, gave %+v", l)
	}
	feed(a, &at, 1, .49*3)
	l := a.Alerts()
	if len(l) != 1 || l[0].Unit != "times its past" || math.Abs(l[0].Value-.49*3/.2) > .01 {
		t.Fatalf("seven times the past gave %+v", l)
	}
	// An hour of it does not become the usual.
	feed(a, &at, 3600, .49*3)
	if l := a.Alerts(); len(l) != 1 {
		t.Errorf("after an hour the alert is %+v", l)
	}
	feed(a, &at, 1, .2)
	if l := a.Alerts(); len(l) != 0 {
		t.Errorf("back to the past: %+v", l)
	}
	// A change for good ends its alert at last.
	feed(a, &at, 9*3600, 2)
	if l := a.Alerts(); len(l) != 0 {
		t.Errorf("nine hours later: %+v", l)
	}
}

func TestAlertsAreToldOnceWhenTheyFireAndOnceWhenTheyEnd(t *testing.T) {
	var told []string
	a, err := NewAlerts(true, testRule)
	if err != nil {
		t.Fatal(err)
	}
	a.Notify(func(list []Alert) {
		for _, x := range list {
			word := "fires"
			if !x.ResolvedAt.IsZero() {
				word = "ended"
			}
			told = append(told, word)
			_ = a.Alerts() // no lock is held
		}
	})
	at := time.Unix(0, 0)
	for _, v := range []float64{1, 11, 1, 11, 11, 11, 11, 4, 4, 4, 4} {
		feed(a, &at, 1, v)
	}
	if strings.Join(told, " ") != "fires ended" {
		t.Errorf("told %q", told)
	}
	if r := a.Resolved(); len(r) != 1 || r[0].ResolvedAt.IsZero() || r[0].Rule != "X" {
		t.Errorf("resolved are %+v", r)
	}
	for i, end := range []func(){func() { a.SetOn(false); a.SetOn(true) }, func() { _ = a.SetRules(nil) }} {
		told = nil
		feed(a, &at, 4, 11)
		end()
		feed(a, &at, 1, 1)
		if strings.Join(told, " ") != "fires ended" {
			t.Errorf("%d: told %q", i, told)
		}
	}
}

func TestAReloadKeepsTheAlertsOfRulesThatStay(t *testing.T) {
	a, err := NewAlerts(true, testRule)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	feed(a, &at, 4, 11)
	since := a.Alerts()[0].Since
	other := simple(func(r *AlertRule) { r.Name = "Y" })
	if err := a.SetRules([]AlertRule{other, testRule}); err != nil {
		t.Fatal(err)
	}
	feed(a, &at, 1, 11)
	if l := a.Alerts(); len(l) != 2 || l[0].Rule != "X" || !l[0].Since.Equal(since) {
		t.Errorf("the alerts are %+v", l)
	}
	if err := a.SetRules([]AlertRule{simple(func(r *AlertRule) { r.Severity = "bad" })}); err == nil {
		t.Error("a faulty rule was accepted")
	}
	if l := a.Alerts(); len(l) != 2 {
		t.Errorf("a faulty reload left %+v", l)
	}
}

func TestRoutesAreJudgedEachByItself(t *testing.T) {
	rule := AlertRule{Name: "R", Signal: "error_ratio", Scope: ScopeRoute, Threshold: .1, Severity: "info", Labels: map[string]string{"team": "films", "route": "no"}}
	a, err := NewAlerts(true, rule)
	if err != nil {
		t.Fatal(err)
	}
	bad := Signals{Requests: RequestSignals{ErrorRatio: .5}}
	a.Observe(Sample{At: time.Unix(1, 0), Routes: map[RouteName]Signals{{"m", "a"}: bad, {"m", "b"}: {}, {"n", "a"}: bad}})
	l := a.Alerts()
	if len(l) != 2 || l[0].Upstream != "m" || l[0].Route != "a" || l[1].Upstream != "n" {
		t.Fatalf("the alerts are %+v", l)
	}
	if l[0].Labels["team"] != "films" || l[0].Labels["route"] != "a" || l[0].Labels["alertname"] != "R" || l[0].Fingerprint == l[1].Fingerprint {
		t.Errorf("the labels are %v", l[0].Labels)
	}
	v := a.Rules()
	if len(v) != 1 || v[0].State != "firing" || len(v[0].Values) != 3 || v[0].Values[2].Route != "b" || v[0].Values[2].State != "ok" {
		t.Errorf("the rules are %+v", v)
	}
	only := rule
	only.Upstream = "n"
	_ = a.SetRules([]AlertRule{only})
	a.Observe(Sample{At: time.Unix(2, 0), Routes: map[RouteName]Signals{{"m", "a"}: bad, {"n", "a"}: bad}})
	if l := a.Alerts(); len(l) != 1 || l[0].Upstream != "n" {
		t.Errorf("with only one upstream: %+v", l)
	}
}

func TestAFingerprintIsThatOfPrometheus(t *testing.T) {
	// FNV-1a, 64 bits, of nothing is its offset basis.
	if got := fingerprint(nil); got != "cbf29ce484222325" {
		t.Errorf("got %s", got)
	}
	if fingerprint(map[string]string{"a": "b", "c": "d"}) != fingerprint(map[string]string{"c": "d", "a": "b"}) {
		t.Error("it depends on the order")
	}
	if fingerprint(map[string]string{"a": "bc"}) == fingerprint(map[string]string{"ab": "c"}) {
		t.Error("names and values run together")
	}
}

func TestEverySignalOfASampleIsListed(t *testing.T) {
	s := Sample{Upstreams: map[string]Signals{"m": {}}, Routes: map[RouteName]Signals{{"m", "r"}: {}}}
	for _, sig := range AlertSignals() {
		if sig.Doc == "" || len(sig.Scopes) == 0 {
			t.Errorf("%s has no description", sig.Name)
		}
		if len(sig.Scopes) < 3 {
			continue // a fact, or of the process
		}
		for _, of := range []RouteName{{}, {Upstream: "m"}, {"m", "r"}} {
			if _, ok := s.valueOf(sig.Name, of); !ok {
				t.Errorf("%s of %+v has no value", sig.Name, of)
			}
		}
	}
	for _, r := range DefaultAlertRules() {
		sig, ok := alertSignal(r.Signal)
		if !ok || !slices.Contains(sig.Scopes, r.Scope) {
			t.Errorf("rule %s judges %s of each %s, which is not listed", r.Name, r.Signal, r.Scope)
		}
	}
}

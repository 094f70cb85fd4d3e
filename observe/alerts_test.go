package observe

import (
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

var testRule = AlertRule{Name: "X", Signal: "x", Above: 10, Clear: 5, For: 2 * time.Second}

func TestAnAlertFiresOnlyAfterItsDuration(t *testing.T) {
	expectStates(t, judge(t, testRule, 1, 11, 11, 11, 11), "-", "pending", "pending", "firing", "firing")
	expectStates(t, judge(t, testRule, 11, 11, 9, 11), "pending", "pending", "-", "pending")
}

func TestAFiringAlertEndsOnlyWhenItHasBeenCalm(t *testing.T) {
	expectStates(t, judge(t, testRule, 11, 11, 11, 7, 7, 7, 7, 4, 7, 4, 4, 4),
		"pending", "pending", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "firing", "-")
}

func TestARuleWithoutDurationFiresAtOnce(t *testing.T) {
	rule := AlertRule{Name: "ReloadFailed", Signal: "x"}
	expectStates(t, judge(t, rule, 0, 1, 1, 0), "-", "firing", "firing", "-")
}

func TestTooFewRequestsAreNoAlarm(t *testing.T) {
	a, _ := NewAlerts(true, AlertRule{Name: "E", Signal: "error_ratio", PerUpstream: true, Above: .1, Clear: .1, MinCount: 20})
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
	a, _ := NewAlerts(true, AlertRule{Name: "X", Signal: "x"})
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
	for _, r := range []AlertRule{{Signal: "x"}, {Name: "x"}, {Name: "x", Signal: "x", Above: 1, Clear: 2}, {Name: "x", Signal: "x", For: -1}} {
		if _, err := NewAlerts(true, r); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

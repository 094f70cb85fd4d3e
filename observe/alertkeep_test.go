package observe

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// routeRule is about a route's errors.
var routeRule = AlertRule{Name: "E", Signal: "error_ratio", Scope: ScopeRoute, Threshold: .1, For: time.Second, ClearFor: 2 * time.Second, Severity: "warning"}

func routeSample(at time.Time, errors float64) Sample {
	return Sample{At: at, Routes: map[RouteName]Signals{{Upstream: "m", Route: "r"}: {Requests: RequestSignals{Count: 100, ErrorRatio: errors}}}}
}

// restarted fires routeRule, saves the alerts, and loads them into new ones with the given rule.
func restarted(t *testing.T, rule AlertRule, start time.Time) (*Alerts, *[]Alert) {
	t.Helper()
	old, err := NewAlerts(true, routeRule)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		old.Observe(routeSample(start.Add(time.Duration(i)*time.Second), .5))
	}
	var saved bytes.Buffer
	if err := old.Save(&saved); err != nil {
		t.Fatal(err)
	}
	a, err := NewAlerts(true, rule)
	if err != nil {
		t.Fatal(err)
	}
	told := new([]Alert)
	a.Notify(func(l []Alert) { *told = append(*told, l...) })
	if err := a.Load(&saved, start.Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return a, told
}

func TestAFiringAlertGoesOnAfterARestart(t *testing.T) {
	start := time.Unix(1000, 0).UTC()
	a, told := restarted(t, routeRule, start)
	at := start.Add(10 * time.Second)
	a.Observe(Sample{At: at}) // nobody has asked the route yet
	if l := a.Alerts(); len(l) != 1 || l[0].State != AlertFiring || !l[0].FiredAt.Equal(start.Add(time.Second)) {
		t.Fatalf("after the restart: %+v", l)
	}
	if len(*told) != 1 || (*told)[0].State != AlertFiring {
		t.Fatalf("told of %+v", *told)
	}
	for i := range 4 {
		a.Observe(routeSample(at.Add(time.Duration(i)*time.Second), 0))
	}
	if l := a.Alerts(); len(l) != 0 || len(a.Resolved()) != 1 {
		t.Errorf("calm again: %+v", l)
	}
	if len(*told) != 2 || (*told)[1].ResolvedAt.IsZero() || (*told)[1].Fingerprint != (*told)[0].Fingerprint {
		t.Errorf("told of %+v", *told)
	}
}

func TestAnAlertOfARouteThatNobodyAsksAnyMoreEnds(t *testing.T) {
	start := time.Unix(1000, 0)
	a, told := restarted(t, routeRule, start)
	a.Observe(Sample{At: start.Add(10*time.Second + keptGrace)})
	if len(a.Alerts()) != 1 {
		t.Error("it ended too early")
	}
	a.Observe(Sample{At: start.Add(11*time.Second + keptGrace)})
	if len(a.Alerts()) != 0 || len(*told) != 2 {
		t.Errorf("%v, told of %v", a.Alerts(), *told)
	}
}

func TestAnAlertOfAChangedRuleIsNotTakenOver(t *testing.T) {
	changed := routeRule
	changed.Threshold = .2
	a, told := restarted(t, changed, time.Unix(1000, 0))
	a.Observe(Sample{At: time.Unix(1010, 0)})
	if len(a.Alerts()) != 0 || len(*told) != 0 {
		t.Errorf("%v, told of %v", a.Alerts(), *told)
	}
}

func TestAPastIsComparedWithAfterARestart(t *testing.T) {
	rule := AlertRule{Name: "P", Signal: "error_ratio", Scope: ScopeRoute, AgainstPast: true, Threshold: 2, Severity: "info"}
	old, err := NewAlerts(true, rule)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1000, 0)
	for range 20 {
		at = at.Add(time.Minute)
		old.Observe(routeSample(at, .1))
	}
	var saved bytes.Buffer
	if err := old.Save(&saved); err != nil {
		t.Fatal(err)
	}
	text := saved.String()
	for gap, firing := range map[time.Duration]int{time.Minute: 1, 25 * time.Hour: 0} {
		a, _ := NewAlerts(true, rule)
		if err := a.Load(strings.NewReader(text), at.Add(gap)); err != nil {
			t.Fatal(err)
		}
		a.Observe(routeSample(at.Add(gap), .5))
		if l := a.Alerts(); len(l) != firing {
			t.Errorf("after %v: %v", gap, l)
		}
	}
}

func TestATornFileOfAlertsChangesNothing(t *testing.T) {
	a, _ := NewAlerts(true, routeRule)
	for _, text := range []string{"", "{", `{"version":9}`, `{"version":1,"subjects":[{"rule":"E"},`} {
		if err := a.Load(strings.NewReader(text), time.Unix(1, 0)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	if len(a.subjects) != 0 {
		t.Errorf("%v", a.subjects)
	}
}

package configs

import (
	"strings"
	"testing"
	"time"

	"penstock/observe"
)

func rulesOf(t *testing.T, text string) map[string]observe.AlertRule {
	t.Helper()
	l, err := Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rules := make(map[string]observe.AlertRule)
	for _, r := range l.Config.Monitoring.AlertRulesInForce() {
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		rules[r.Name] = r
	}
	return rules
}

func TestARuleOfABuiltInNameChangesOnlyWhatItSays(t *testing.T) {
	rules := rulesOf(t, `
monitoring:
  alert_rules:
    ErrorRatio: {threshold: 0.2, labels: {team: films}}
    BreakerOpen: {enabled: false}
    LongQueue: {signal: queue_ratio, threshold: 0.8, for: 30s}
`)
	if len(rules) != len(observe.DefaultAlertRules())+1 {
		t.Errorf("%d rules are in force", len(rules))
	}
	e := rules["ErrorRatio"]
	if e.Threshold != .2 || e.Hysteresis != .5 || e.Severity != "critical" || e.MinCount != 20 || e.Labels["team"] != "films" || !e.Custom || e.Off {
		t.Errorf("ErrorRatio is %+v", e)
	}
	if !rules["BreakerOpen"].Off || rules["ReloadFailed"].Off || rules["ReloadFailed"].Custom {
		t.Errorf("BreakerOpen is %+v, ReloadFailed %+v", rules["BreakerOpen"], rules["ReloadFailed"])
	}
	q := rules["LongQueue"]
	if q.Scope != observe.ScopeUpstream || q.For != 30*time.Second || q.ClearFor != time.Minute || q.Severity != "warning" || q.Below || q.Summary == "" {
		t.Errorf("LongQueue is %+v", q)
	}
}

func TestTheConfigurationCanSayAllThatARuleHas(t *testing.T) {
	for _, want := range observe.DefaultAlertRules() {
		got := alertRuleOf(want).rule(want.Name)
		got.Custom, got.Labels = false, nil
		if !strings.EqualFold(want.Name, got.Name) || got.Validate() != nil {
			t.Errorf("%s became %+v", want.Name, got)
		}
		want.Labels = nil
		if !equalRules(got, want) {
			t.Errorf("%s became\n %+v, want\n %+v", want.Name, got, want)
		}
	}
}

func equalRules(a, b observe.AlertRule) bool {
	return a.Signal == b.Signal && a.Scope == b.Scope && a.Threshold == b.Threshold && a.Below == b.Below && a.Hysteresis == b.Hysteresis &&
		a.AgainstPast == b.AgainstPast && a.Floor == b.Floor && a.For == b.For && a.ClearFor == b.ClearFor && a.MinCount == b.MinCount &&
		a.Severity == b.Severity && a.Summary == b.Summary && a.Off == b.Off
}

func TestAVariableFindsABuiltInRule(t *testing.T) {
	l, err := Load(LoadOptions{Env: []string{"PENSTOCK_MONITORING__ALERT_RULES__ERRORRATIO__THRESHOLD=0.3"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := l.Config.Monitoring.AlertRules["ErrorRatio"]; r.Threshold != .3 || r.Signal != "error_ratio" {
		t.Errorf("the rules are %+v", l.Config.Monitoring.AlertRules)
	}
}

func TestFaultyAlertsAndTokensAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		"monitoring: {alert_rules: {X: {threshold: 1}}}":                                          "alert_rules.X.signal: is needed",
		"monitoring: {alert_rules: {X: {signal: eror_ratio}}}":                                    `did you mean "error_ratio"?`,
		"monitoring: {alert_rules: {X: {signal: reload_failed}}}":                                 "alert_rules.X.scope: must be one of [process]",
		"monitoring: {alert_rules: {X: {signal: rate, comparison: below}}}":                       "threshold: must be over 0",
		"monitoring: {alert_rules: {X: {signal: rate, floor: 3}}}":                                "against_past",
		"monitoring: {alert_rules: {X: {signal: rate, upstream: nope}}}":                          `there is no upstream "nope"`,
		"monitoring: {alert_rules: {X: {signal: rate, route: r}}}":                                "scope: route",
		"monitoring: {alert_rules: {X: {signal: rate, severity: bad}}}":                           "info, warning, critical",
		"monitoring: {alert_rules: {a-b: {signal: rate}}}":                                        "not a usable name of an alert",
		"monitoring: {alert_rules: {X: {signal: rate, labels: {alertname: x}}}}":                  "not a usable label",
		"monitoring: {alert_webhooks: {ops: {}}}":                                                 "exactly one of url",
		"monitoring: {alert_webhooks: {ops: {url: 'http://a', url_env: B}}}":                      "exactly one of url",
		"monitoring: {alert_webhooks: {ops: {url: 'hooks.example/s3cret'}}}":                      "must be a URL",
		"monitoring: {alert_webhooks: {ops: {url: 'http://a/', credential: {query: k, env: B}}}}": "send the secret in a header",
		"admin: {tokens: {ada: {}}}":                                                              "needs env or file",
		"admin: {tokens: {ada: {env: A, file: /b}}}":                                              "needs env or file",
		"admin: {tokens: {Ada: {env: A}}}":                                                        "not a usable name",
	} {
		_, err := Parse("c.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s\n gives %v, want %q", text, err, want)
		}
	}
}

func TestSecretsOfWebhooksAndTokensAreReadAndNeverShown(t *testing.T) {
	if _, err := Load(LoadOptions{Env: []string{"PENSTOCK_HOOK=https://hooks.example/s3cret"}}); err == nil {
		t.Fatal("a variable that nothing names was accepted")
	}
	l, err := Parse("c.yaml", []byte(`
admin: {tokens: {ada: {env: PENSTOCK_ADA_X}}}
monitoring: {alert_webhooks: {ops: {url: "https://hooks.example/s3cret"}, b: {url_file: /nowhere/url}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range Effective(l) {
		if strings.Contains(e.Value, "s3cret") {
			t.Errorf("%s shows %s", e.Key, e.Value)
		}
	}
	faults := l.CheckSecrets()
	for _, want := range []string{"admin.tokens.ada: the environment variable PENSTOCK_ADA_X is not set", "alert_webhooks.b: the secret's file"} {
		if faults == nil || !strings.Contains(faults.Error(), want) {
			t.Errorf("the faults are %v, want %q", faults, want)
		}
	}
	if refs := strings.Join(l.References(), " "); refs != "/nowhere/url" {
		t.Errorf("the references are %s", refs)
	}
}

package configs

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"penstock/observe"
)

// AlertRule is one rule, or what is changed of a built-in one.
type AlertRule struct {
	Enabled     bool              `koanf:"enabled" doc:"Whether the rule is judged; false switches a built-in rule off."`
	Signal      string            `koanf:"signal" type:"signal" doc:"What is judged; docs/monitoring.md lists the signals."`
	Scope       string            `koanf:"scope" enum:"process,upstream,route" doc:"Whether the process as a whole is judged, or each upstream or each route by itself."`
	Upstream    string            `koanf:"upstream" doc:"The one upstream to judge; empty: all."`
	Route       string            `koanf:"route" doc:"The one route to judge, with scope route; empty: all."`
	Comparison  string            `koanf:"comparison" enum:"above,below" doc:"Whether the signal is wrong above or below the threshold."`
	Threshold   float64           `koanf:"threshold" min:"0" max:"1000000000000" doc:"The value, in the signal's unit (ratios are 0 to 1); with against_past a multiple of the signal's own past. Nearer to the usual notices more, further away cries wolf less."`
	Hysteresis  float64           `koanf:"hysteresis" min:"0" max:"1" doc:"How far back the signal must come for the alert to end, as a share of the threshold; more keeps alerts from coming and going, less ends them sooner."`
	AgainstPast bool              `koanf:"against_past" doc:"Whether the signal is divided by the median of its own last hour."`
	Floor       float64           `koanf:"floor" min:"0" max:"1000000000000" doc:"With against_past: while the signal and its past are both under this nothing is judged; more ignores more of what is small."`
	For         time.Duration     `koanf:"for" min:"0s" max:"24h" doc:"How long it must be wrong before the alert fires; longer ignores spikes, shorter tells sooner; 0: at once."`
	ClearFor    time.Duration     `koanf:"clear_for" min:"0s" max:"24h" doc:"How long it must be right before the alert ends; longer bridges gaps, shorter ends sooner; 0: at once."`
	MinCount    int               `koanf:"min_count" min:"0" max:"1000000" doc:"The fewest requests in the last seconds for anything to be judged; more ignores chance, fewer watches quiet upstreams."`
	Severity    string            `koanf:"severity" enum:"info,warning,critical" doc:"How bad it is; goes along as a label."`
	Labels      map[string]string `koanf:"labels" key:"label" doc:"Further labels that go along with the alert."`
	Summary     string            `koanf:"summary" doc:"One sentence for people."`
}

// AlertWebhook is one receiver of notices.
type AlertWebhook struct {
	URL            string        `koanf:"url" type:"webhook" secret:"true" doc:"Where notices are posted to; shown nowhere. If it holds a key, url_env or url_file keep that out of this file."`
	URLEnv         string        `koanf:"url_env" doc:"The environment variable that holds the URL."`
	URLFile        string        `koanf:"url_file" doc:"The file that holds the URL."`
	Credential     Credential    `koanf:"credential" doc:"A secret sent with each notice, as a header."`
	GroupWait      time.Duration `koanf:"group_wait" min:"1s" max:"1h" doc:"How long the first alert of a name waits for others of it; longer makes fewer notices, shorter tells sooner."`
	GroupInterval  time.Duration `koanf:"group_interval" min:"1s" max:"24h" doc:"The least time between notices of one name when something changes; longer makes fewer, shorter tells sooner."`
	RepeatInterval time.Duration `koanf:"repeat_interval" min:"1m" max:"168h" doc:"When what goes on unchanged is told again; longer nags less, shorter reminds more."`
	Timeout        time.Duration `koanf:"timeout" min:"100ms" max:"1m" doc:"How long the receiver may take to answer; longer suits slow ones, shorter tries again sooner."`
	SendResolved   bool          `koanf:"send_resolved" doc:"Whether it is told that alerts ended."`
}

// Secret is where the URL comes from; zero: it stands in URL.
func (w AlertWebhook) Secret() Secret { return Secret{Env: w.URLEnv, File: w.URLFile} }

func defaultWebhook() AlertWebhook {
	return AlertWebhook{
		GroupWait: 10 * time.Second, GroupInterval: time.Minute, RepeatInterval: 4 * time.Hour,
		Timeout: 10 * time.Second, SendResolved: true,
	}
}

// defaultAlertRule is the built-in rule of that name, or what a rule has that sets nothing.
func defaultAlertRule(name string) AlertRule {
	for _, r := range observe.DefaultAlertRules() {
		if r.Name == name {
			return alertRuleOf(r)
		}
	}
	return AlertRule{
		Enabled: true, Scope: string(observe.ScopeUpstream), Comparison: "above", Hysteresis: 0.1,
		For: time.Minute, ClearFor: time.Minute, Severity: "warning", Labels: map[string]string{},
	}
}

func alertRuleOf(r observe.AlertRule) AlertRule {
	c := AlertRule{
		Enabled: !r.Off, Signal: r.Signal, Scope: string(r.Scope), Upstream: r.Upstream, Route: r.Route, Comparison: "above",
		Threshold: r.Threshold, Hysteresis: r.Hysteresis, AgainstPast: r.AgainstPast, Floor: r.Floor, For: r.For, ClearFor: r.ClearFor,
		MinCount: int(r.MinCount), Severity: r.Severity, Labels: map[string]string{}, Summary: r.Summary,
	}
	if r.Below {
		c.Comparison = "below"
	}
	return c
}

// AlertRulesInForce are the built-in rules with what the configuration changes of them, and its own behind
// them in order of name.
func (m Monitoring) AlertRulesInForce() []observe.AlertRule {
	rules := observe.DefaultAlertRules()
	for _, name := range slices.Sorted(maps.Keys(m.AlertRules)) {
		r := m.AlertRules[name].rule(name)
		if i := slices.IndexFunc(rules, func(o observe.AlertRule) bool { return o.Name == name }); i >= 0 {
			rules[i] = r
			continue
		}
		rules = append(rules, r)
	}
	return rules
}

func (c AlertRule) rule(name string) observe.AlertRule {
	return observe.AlertRule{
		Name: name, Signal: c.Signal, Scope: observe.AlertScope(c.Scope), Upstream: c.Upstream, Route: c.Route,
		Threshold: c.Threshold, Below: c.Comparison == "below", Hysteresis: c.Hysteresis, AgainstPast: c.AgainstPast, Floor: c.Floor,
		For: c.For, ClearFor: c.ClearFor, MinCount: uint64(max(c.MinCount, 0)), Severity: c.Severity, Labels: c.Labels,
		Summary: cmp.Or(c.Summary, defaultSummary(c)), Off: !c.Enabled, Custom: true,
	}
}

func defaultSummary(c AlertRule) string {
	what := fmt.Sprintf("%s is %s %v", c.Signal, c.Comparison, c.Threshold)
	if c.AgainstPast {
		what += " times its past"
	}
	return what + "."
}

var (
	alertPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	// reservedLabels are set by the alert itself.
	reservedLabels = []string{"alertname", "severity", "upstream", "route"}
)

// alerts checks rules and webhooks.
func (c *checks) alerts(m Monitoring, cfg *Config) {
	for _, name := range slices.Sorted(maps.Keys(m.AlertRules)) {
		c.alertRule("monitoring.alert_rules."+name, m.AlertRules[name], cfg)
	}
	for _, name := range slices.Sorted(maps.Keys(m.AlertWebhooks)) {
		c.webhook("monitoring.alert_webhooks."+name, m.AlertWebhooks[name])
	}
}

func (c *checks) alertRule(path string, r AlertRule, cfg *Config) {
	var names []string
	var found *observe.AlertSignal
	for _, s := range observe.AlertSignals() {
		names = append(names, s.Name)
		if s.Name == r.Signal {
			found = &s
		}
	}
	switch {
	case r.Signal == "":
		c.fault(path+".signal", "is needed, since no built-in rule has this name; take one of %s", strings.Join(names, ", "))
		return
	case found == nil:
		c.suggest(path+".signal", nearest(r.Signal, names), "is not a signal; there are %s", strings.Join(names, ", "))
		return
	case !slices.Contains(found.Scopes, observe.AlertScope(r.Scope)):
		c.fault(path+".scope", "must be one of %v for the signal %s, not %s", found.Scopes, r.Signal, r.Scope)
	}
	if _, known := cfg.Upstreams[r.Upstream]; r.Upstream != "" && !known {
		c.suggest(path+".upstream", nearest(r.Upstream, cfg.UpstreamNames()), "there is no upstream %q", r.Upstream)
	}
	if r.Route != "" && r.Scope != "route" {
		c.fault(path+".route", "has no effect with scope %s; make it scope: route", r.Scope)
	}
	if r.Comparison == "below" && r.Threshold == 0 {
		c.fault(path+".threshold", "must be over 0 with comparison below; no signal is negative")
	}
	if r.Floor > 0 && !r.AgainstPast {
		c.fault(path+".floor", "has no effect without against_past")
	}
}

func (c *checks) webhook(path string, w AlertWebhook) {
	given := 0
	for _, s := range []string{w.URL, w.URLEnv, w.URLFile} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		c.fault(path, "needs exactly one of url, url_env and url_file")
	}
	c.envName(path+".url_env", w.URLEnv)
	if w.Credential != (Credential{}) {
		c.credential(path+".credential", w.Credential)
		if w.Credential.Query != "" {
			c.fault(path+".credential.query", "can't be used here; send the secret in a header, or keep the whole URL in url_env or url_file")
		}
	}
}

// webhookURL checks an address and never shows it.
func (c *checks) webhookURL(path, text string) {
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") || len(text) < len("http://a") {
		c.fault(path, "must be a URL that begins with http:// or https://")
	}
}

package app

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"penstock/configs"
	"penstock/observe"
	"penstock/observe/webhook"
	"penstock/scheduler"
	"penstock/tuner"
	"penstock/upstream"
)

// newAlerts makes the alerts of the first configuration and who is told of them.
func (a *App) newAlerts(c *configs.Config) (err error) {
	if a.alerts, err = observe.NewAlerts(c.Monitoring.Alerts, c.Monitoring.AlertRulesInForce()...); err != nil {
		return err
	}
	a.webhooks = webhook.New(a.log)
	a.alerts.Notify(a.webhooks.Tell)
	return nil
}

// applyAlerts puts rules and webhooks in force, which plan has checked.
func (a *App) applyAlerts(c *configs.Config, hooks []webhook.Options) {
	if err := errors.Join(a.alerts.SetRules(c.Monitoring.AlertRulesInForce()), a.webhooks.Apply(hooks)); err != nil {
		a.log.Error("the alerts did not take the configuration", "error", err)
	}
	a.alerts.SetOn(c.Monitoring.Alerts)
}

// webhookOptions reads the webhooks with their secrets. No error shows an address.
func webhookOptions(l *configs.Loaded) ([]webhook.Options, error) {
	m := l.Config.Monitoring
	var all []webhook.Options
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(m.AlertWebhooks)) {
		w, key := m.AlertWebhooks[name], "monitoring.alert_webhooks."+name
		o := webhook.Options{
			Name: name, URL: w.URL, GroupWait: w.GroupWait, GroupInterval: w.GroupInterval, RepeatInterval: w.RepeatInterval,
			Timeout: w.Timeout, SkipResolved: !w.SendResolved,
		}
		if m.PublicURL != "" {
			o.ExternalURL = strings.TrimSuffix(m.PublicURL, "/") + "/"
		}
		if s := w.Secret(); !s.IsZero() {
			url, err := l.Secret(s)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", key, err))
				continue
			}
			o.URL = url
		}
		header, err := secretHeader(l, key, []configs.Credential{w.Credential})
		if err != nil {
			faults = append(faults, err)
			continue
		}
		o.Header = header
		if err := o.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
		all = append(all, o)
	}
	return all, errors.Join(faults...)
}

// secretHeader makes the headers of credentials.
func secretHeader(l *configs.Loaded, key string, list []configs.Credential) (http.Header, error) {
	header := make(http.Header)
	for _, c := range list {
		if c.Header == "" {
			continue
		}
		v, err := l.Secret(c.Secret())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		header.Add(c.Header, c.Prefix+v)
	}
	return header, nil
}

// alertsView is what GET /admin/v1/alerts answers.
type alertsView struct {
	Enabled  bool               `json:"enabled"`
	Alerts   []observe.Alert    `json:"alerts"`
	Resolved []observe.Alert    `json:"resolved"`
	Rules    []observe.RuleView `json:"rules"`
	Webhooks []webhook.Status   `json:"webhooks"`
}

func (a *App) viewAlerts() alertsView {
	return alertsView{
		Enabled: a.alerts.On(), Alerts: a.alerts.Alerts(), Resolved: a.alerts.Resolved(), Rules: a.alerts.Rules(), Webhooks: a.webhooks.Status(),
	}
}

// facts are the numbers for alerts and the history that no window measures.
func (a *App) facts() []observe.Fact {
	f := []observe.Fact{{Signal: "reload_failed", Value: truth(a.lastReloadFailed())}}
	if used, ok := a.disk.used(); ok {
		f = append(f, observe.Fact{Signal: "disk_used_ratio", Value: used})
	}
	rollbacks := a.rollbacks(time.Now())
	for name, n := range a.table.Load().nodes {
		add := func(signal string, v float64) {
			f = append(f, observe.Fact{Signal: signal, Upstream: name, Value: v})
		}
		st, q := n.client.State(), n.scheduler.Stats()
		add("breaker_open", truth(st.Breaker == upstream.BreakerOpen))
		add("connections", float64(st.Connections))
		add("queued", float64(q.Queued))
		if q.QueueLength > 0 {
			add("queue_ratio", float64(q.Queued)/float64(q.QueueLength))
		}
		if q.Permits > 0 {
			add("permits_ratio", float64(q.InFlight)/float64(q.Permits))
		}
		if used, ok := quotaUsed(q.Rates, q.Quotas); ok {
			add("quota_used_ratio", used)
		}
		add("rollbacks", float64(rollbacks[name]))
	}
	return f
}

// quotaPeriod is the shortest window of a quota for which it matters that it is nearly used up: a
// window of a second is full whenever it does its work.
const quotaPeriod = time.Minute

// quotaUsed is how much is used of the fullest quota window, configured, told or learned; false if there
// is none long enough. A window's tokens go to below 0 or above its burst for nobody, but floating points
// are floating points.
func quotaUsed(rates []scheduler.RateStats, quotas []scheduler.QuotaStats) (used float64, ok bool) {
	window := func(per, limit, left float64) {
		if per >= quotaPeriod.Seconds() && limit > 0 {
			ok = true
			used = max(used, min(max(1-left/limit, 0), 1))
		}
	}
	for _, r := range rates {
		window(r.Per, float64(r.Burst), r.Tokens)
	}
	for _, q := range quotas {
		if !q.Expire {
			window(q.Per, q.Limit, q.Left)
		}
	}
	return used, ok
}

// rollbackSpan is how long a rollback counts for the alert about it.
const rollbackSpan = 10 * time.Minute

// rollbacks counts what the tuner took back lately, by upstream.
func (a *App) rollbacks(now time.Time) map[string]int {
	count := make(map[string]int)
	for _, d := range a.tuner.Decisions(tuner.Filter{Verdict: tuner.VerdictWorse, Since: now.Add(-2 * rollbackSpan)}) {
		if d.RolledBack && now.Sub(d.JudgedAt) < rollbackSpan {
			count[d.Upstream]++
		}
	}
	return count
}

// registerAlertMetrics makes
//
//	penstock_alerts{state}
//	penstock_alert_notices_total{result}
func (a *App) registerAlertMetrics() {
	s := a.metrics.Process()
	s.Help("penstock_alerts", "Alerts that are pending or firing.")
	for _, state := range []observe.AlertState{observe.AlertPending, observe.AlertFiring} {
		s.With("state", string(state)).Gauge("penstock_alerts", func() float64 {
			n := 0
			for _, al := range a.alerts.Alerts() {
				if al.State == state {
					n++
				}
			}
			return float64(n)
		})
	}
	s.Help("penstock_alert_notices_total", "Notices sent to webhooks: taken, or failed attempts.")
	sum := func(of func(webhook.Totals) uint64) func() float64 {
		return func() float64 { return float64(of(a.webhooks.Totals())) }
	}
	s.With("result", "sent").CounterFunc("penstock_alert_notices_total", sum(func(t webhook.Totals) uint64 { return t.Sent }))
	s.With("result", "failed").CounterFunc("penstock_alert_notices_total", sum(func(t webhook.Totals) uint64 { return t.Failed }))
	s.Help("penstock_data_disk_used_ratio", "How full the disk of data_dir is; 0 without data_dir.")
	s.Gauge("penstock_data_disk_used_ratio", func() float64 { used, _ := a.disk.used(); return used })
}

package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// alertsVersion is of the form that Save writes.
const alertsVersion = 1

// maxAlertsBytes bounds what Load reads.
const maxAlertsBytes = 64 << 20

// keptPast is how old a kept past may be. What was usual a day ago says little of now.
const keptPast = 24 * time.Hour

// keptGrace is how long after a start an alert waits for the first sample of its subject.
const keptGrace = 5 * time.Minute

// keptAlerts is what outlives the process.
type keptAlerts struct {
	Version  int           `json:"version"`
	Subjects []keptSubject `json:"subjects"`
	Resolved []Alert       `json:"resolved"`
}

type keptSubject struct {
	Rule    string    `json:"rule"`
	Of      RouteName `json:"of"`
	Alert   *Alert    `json:"alert,omitempty"`
	Begin   time.Time `json:"begin,omitzero"`
	Buckets []float64 `json:"buckets,omitempty"`
}

// Save writes what is pending, firing and ended, and the past that rules compare with, as JSON.
func (a *Alerts) Save(w io.Writer) error {
	kept := keptAlerts{Version: alertsVersion}
	a.mu.Lock()
	kept.Resolved = slices.Clone(a.resolved)
	for key, sub := range a.subjects {
		if sub.alert == nil && len(sub.past.buckets) == 0 {
			continue
		}
		s := keptSubject{Rule: key.rule, Of: key.of, Begin: sub.past.begin, Buckets: slices.Clone(sub.past.buckets)}
		if sub.alert != nil {
			alert := *sub.alert
			s.Alert = &alert
		}
		kept.Subjects = append(kept.Subjects, s)
	}
	a.mu.Unlock()
	return json.NewEncoder(w).Encode(kept)
}

// Load takes over what an earlier process saved; call it before the first sample. An alert goes on if
// its rule is in force as it was: a firing one is told of again with the first sample, so that its end
// will be told of too. Nothing is taken over if r can't be read.
func (a *Alerts) Load(r io.Reader, now time.Time) error {
	var kept keptAlerts
	if err := json.NewDecoder(io.LimitReader(r, maxAlertsBytes)).Decode(&kept); err != nil {
		return err
	}
	if kept.Version != alertsVersion {
		return fmt.Errorf("it has version %d, not %d", kept.Version, alertsVersion)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resolved = kept.Resolved[max(len(kept.Resolved)-maxResolved, 0):]
	for _, s := range kept.Subjects {
		i := slices.IndexFunc(a.rules, func(rule AlertRule) bool { return rule.Name == s.Rule })
		if i < 0 || a.rules[i].Off {
			continue
		}
		sub := &subject{kept: now}
		if s.Alert != nil && s.Alert.of(&a.rules[i]) {
			sub.alert = s.Alert
			if s.Alert.State == AlertFiring {
				a.again = append(a.again, *s.Alert)
			}
		}
		if now.Sub(s.Begin) < keptPast {
			sub.past = past{begin: s.Begin, buckets: s.Buckets[max(len(s.Buckets)-pastBuckets, 0):]}
		}
		a.subjects[alertKey{s.Rule, s.Of}] = sub
	}
	return nil
}

// of reports whether the rule, as it is, would have raised the alert.
func (l *Alert) of(r *AlertRule) bool {
	return l.Severity == r.Severity && l.Comparison == r.comparison() && l.Threshold == r.Threshold && l.Clear == r.clear() && l.Unit == r.unit() &&
		(l.State == AlertPending || l.State == AlertFiring)
}

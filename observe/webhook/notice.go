package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/observe"
)

// notice is the body of a webhook: Alertmanager's form, version 4.
type notice struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []noticeAlert     `json:"alerts"`
}

type noticeAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

const (
	statusFiring   = "firing"
	statusResolved = "resolved"
)

// newNotice writes the notice of a group. alerts is never empty.
func newNotice(o *Options, group string, alerts []observe.Alert) []byte {
	n := notice{
		Version: "4", GroupKey: `{}:{alertname="` + group + `"}`, Status: statusResolved, Receiver: o.Name,
		GroupLabels: map[string]string{"alertname": group}, ExternalURL: o.ExternalURL,
	}
	if over := len(alerts) - maxInNotice; over > 0 {
		n.TruncatedAlerts, alerts = over, alerts[:maxInNotice]
	}
	for i := range alerts {
		a := newNoticeAlert(o, &alerts[i])
		if a.Status == statusFiring {
			n.Status = statusFiring
		}
		n.Alerts = append(n.Alerts, a)
	}
	n.CommonLabels = common(n.Alerts, func(a *noticeAlert) map[string]string { return a.Labels })
	n.CommonAnnotations = common(n.Alerts, func(a *noticeAlert) map[string]string { return a.Annotations })
	b, _ := json.Marshal(n) // strings and times always encode
	return b
}

func newNoticeAlert(o *Options, a *observe.Alert) noticeAlert {
	n := noticeAlert{
		Status: statusFiring, Labels: a.Labels, StartsAt: a.FiredAt, EndsAt: a.ResolvedAt, Fingerprint: a.Fingerprint,
		Annotations: map[string]string{
			"summary": a.Summary,
			"description": "The value is " + number(a.Value) + unit(a.Unit) + "; the alert fires when it is " + a.Comparison + " " +
				number(a.Threshold) + " and ends at " + number(a.Clear) + ".",
			"value": number(a.Value),
		},
	}
	if !a.ResolvedAt.IsZero() {
		n.Status = statusResolved
	}
	if o.ExternalURL != "" {
		n.GeneratorURL = o.ExternalURL + "alerts"
	}
	return n
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func unit(u string) string {
	if u == "" || u == "ratio" {
		return ""
	}
	return " " + u
}

// common are the names that all alerts have with the same value.
func common(alerts []noticeAlert, of func(*noticeAlert) map[string]string) map[string]string {
	shared := maps.Clone(of(&alerts[0]))
	for i := range alerts[1:] {
		other := of(&alerts[i+1])
		maps.DeleteFunc(shared, func(name, value string) bool { v, ok := other[name]; return !ok || v != value })
	}
	if shared == nil {
		shared = map[string]string{}
	}
	return shared
}

// ordered puts what fires before what ended, the longest first.
func ordered(alerts map[string]*member) []observe.Alert {
	list := make([]observe.Alert, 0, len(alerts))
	for _, m := range alerts {
		list = append(list, m.alert)
	}
	slices.SortFunc(list, func(x, y observe.Alert) int {
		if a, b := x.ResolvedAt.IsZero(), y.ResolvedAt.IsZero(); a != b {
			if a {
				return -1
			}
			return 1
		}
		if c := x.FiredAt.Compare(y.FiredAt); c != 0 {
			return c
		}
		return strings.Compare(x.Fingerprint, y.Fingerprint)
	})
	return list
}

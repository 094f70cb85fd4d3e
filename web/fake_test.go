package web

import (
	"math"
	"strings"
	"time"
)

// fake is a Source with a little of everything, and text that must be escaped.
type fake struct {
	now                     Now
	queues                  []Queue
	cache                   Cache
	conf                    Config
	tuning, preload, alerts any
	decisions               []Decision
	jobs                    Jobs
	streams                 []Stream
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const hostile = `<script>alert("x")</script>`

func newFake() *fake {
	money, twelve := 12.5, 12.0
	d := Decision{ID: "d1", Time: noon.Add(-time.Minute), Knob: "workers.movies", Upstream: "movies", From: 8, To: 12, FromText: "8", ToText: "12",
		Rule: "grow", Reason: "one more slot raised throughput " + hostile, Signals: map[string]float64{"p95_seconds": .25},
		Expected: "more", Mode: "active", Verdict: "better", Measured: "throughput rose", JudgedAt: noon.Add(-30 * time.Second)}
	return &fake{
		now: Now{At: noon, Version: "v1.2.3", UptimeSeconds: 3700, IntervalSeconds: 1, Status: "ready", Tuning: TuningMode{Mode: "active"},
			Reload: &Reload{At: noon, Error: "penstock.yaml:3 nonsense: unknown key " + hostile},
			Totals: Totals{Rate: 12.34, HitRatio: .875, P95: .123, CallsSaved: 12345, MoneySaved: &money, ResidentBytes: 5 << 20, ErrorRatio: .2},
			Upstreams: []Upstream{{Name: "movies", Binding: "permits", Breaker: "open", RetryAfter: 4, Permits: 16, InFlight: 4, QueueLength: 100,
				BindingShares: map[string]float64{"permits": .75, "none": .25}, Outcomes: map[string]uint64{"ok": 9, "refused": 1},
				Rates: []Rate{{Limit: 10, Per: 1, Burst: 10, Tokens: 4}}}},
			Routes: []Route{{Upstream: "movies", Name: "movie", Rate: 3, CallsSaved: 7, MoneySaved: &money}},
			Knobs: []Knob{{Name: "workers.movies", Kind: "int", Unit: "permits", Value: &twelve, Text: "12", Min: "1", Max: "64", Source: "pin",
				Pin: &Pin{Text: "12", Note: "for the sale " + hostile, Until: noon.Add(time.Hour)}}, {Name: "cache.ttl.movie", Text: "30s", Source: "tuner", Base: "1m0s", BaseSource: "file"}},
			Decisions: []Decision{d}, Alerts: []Alert{{Rule: "ErrorRatio", Upstream: "movies", State: "firing", Severity: "critical", Summary: "many fail"}},
		},
		queues: []Queue{{Upstream: "movies", Queued: 3, Length: 100, ByUrgency: [8]int{0, 1, 0, 2}, NewestFirst: []int{7},
			Waiting: []Waiting{{Tenant: "acme " + hostile, ByUrgency: [8]int{0, 1, 0, 2}, Total: 3}}, Refused: map[string]uint64{"queue full": 5}}},
		cache: Cache{Enabled: true, Entries: 7, Bytes: 1 << 20, MaxBytes: 1 << 30, Hits: 40, Collapsed: 2,
			Routes: []CacheRoute{{Upstream: "movies", Route: "movie", Hits: 40, HitRatio: .8, Saved: 42, Money: &money}},
			Top:    []TopKey{{Key: "movies movie id=" + hostile, Route: "movie", Saved: 17}}},
		conf: Config{File: "penstock.yaml", Entries: []ConfigEntry{{Key: "cache.enabled", Value: "true", Source: "default"}, {Key: "cache.max_bytes", Value: "1GiB", Source: "file", File: "penstock.yaml", Line: 4}},
			Changes: []ConfigChange{{Key: "cache.max_bytes", From: "1GiB", To: "2GiB"}, {Key: "server.listen", From: ":1", To: ":2", RestartNeeded: true}}},
		tuning: map[string]any{"mode": "active", "frozen": false, "knobs": []any{
			map[string]any{"knob": "workers.movies", "upstream": "movies", "mode": "shadow", "reason": "flat", "model": map[string]any{"kind": "curve", "chosen": 12, "knee": 14, "fit": map[string]any{"knee_low": 10, "knee_high": 18, "line": []any{map[string]any{"concurrency": 1, "throughput": 10}, map[string]any{"concurrency": 16, "throughput": 95}}},
				"points": []any{map[string]any{"concurrency": 4, "throughput": 40, "seconds": .1, "calls": 100}, map[string]any{"concurrency": 12, "throughput": 90, "seconds": .13}}}},
			map[string]any{"knob": "cache.ttl.movie", "mode": "active", "model": map[string]any{"kind": "ttl", "changes_per_second": .001, "low": .0005, "high": .002, "looks": 100, "changed": 4, "expected_stale_ratio": .008, "target_stale_ratio": .01}},
			map[string]any{"knob": "rate.movies", "upstream": "movies", "mode": "active", "model": map[string]any{"kind": "quota", "windows": []any{map[string]any{"name": "minute", "kind": "fixed", "limit": 100, "period_seconds": 60, "used": 80, "remaining": 20, "reset_seconds": 12, "source": "headers", "confidence": .9}}}},
		}},
		preload: map[string]any{"enabled": true, "sources": []any{map[string]any{"source": "sequence", "state": "on", "issued": 9, "used": 7, "precision_ratio": .78}},
			"totals": map[string]any{"issued": 9, "used": 7, "precision_ratio": .78},
			"graph": map[string]any{"nodes": []any{map[string]any{"id": "1", "label": "movie?id=" + hostile, "route": "movie"}, map[string]any{"id": "2", "route": "movie"}},
				"edges": []any{map[string]any{"from": "1", "to": "2", "source": "sequence", "weight": .8, "count": 12, "seconds": 1.2}}}},
		alerts: map[string]any{"enabled": true, "alerts": []any{map[string]any{"rule": "ErrorRatio", "upstream": "movies", "state": "firing", "severity": "critical", "summary": "many fail " + hostile, "value": .2, "threshold": .1, "comparison": ">"}},
			"rules":    []any{map[string]any{"name": "ErrorRatio", "signal": "error_ratio", "comparison": ">", "threshold": .1, "clear": .05, "for_seconds": 60, "severity": "critical", "state": "firing", "source": "default"}},
			"resolved": []any{map[string]any{"rule": "BreakerOpen", "state": "resolved", "fired_at": noon, "resolved_at": noon}},
			"webhooks": []any{map[string]any{"name": "pager", "url": "https://pager.example/***", "sent": 3}}},
		decisions: []Decision{d},
		jobs: Jobs{Counts: map[string]int{"dead": 1, "queued": 1234567}, Tenants: []JobTenant{{Tenant: "acme " + hostile, Counts: map[string]int{"dead": 1}}}, Next: "j7",
			List: []Job{{ID: "j1", State: "dead", Tenant: "acme " + hostile, Route: "movie", Urgency: 5, Attempts: 3, Created: noon, Ended: noon},
				{ID: "j2", State: "queued", Route: "movie", RunAt: noon.Add(time.Hour)}},
			Dead: []Job{{ID: "j1", State: "dead", Tenant: hostile, Route: "movie", Attempts: 3, Error: "no connection " + hostile, Params: `{"id":"` + hostile + `"}`, Ended: noon}},
			One:  &Job{ID: "j1", State: "dead", Tenant: hostile, Route: "movie", Attempts: 3, MaxAttempts: 3, Error: "no connection " + hostile, Params: hostile, Status: 503, Bytes: 12, Ended: noon}},
		streams: []Stream{{ID: "s1", Route: "movie", Tenant: hostile, State: "running", Read: 5000, Lines: 5000, Failed: 7, Bytes: 250, Size: 1000, Duration: 10 * time.Second},
			{ID: "s2", Route: "movie", State: "broken", Lines: 12, Duration: time.Second}},
	}
}

func (f *fake) Now() *Now { return &f.now }

func (f *fake) History(signals []string, from, to time.Time, points int) Past {
	past := Past{Times: []time.Time{from, from.Add(to.Sub(from) / 2), to}}
	for _, s := range signals {
		past.Series = append(past.Series, Series{strings.ReplaceAll(s, "*", "workers.movies"), []float32{1, float32(math.NaN()), 3}})
	}
	return past
}

func (f *fake) Mean(string, time.Time, time.Time) (float64, bool) { return 2, true }

func (f *fake) Decisions(knob string, _ time.Time, _ int) (list []Decision) {
	for _, d := range f.decisions {
		if knob == "" || d.Knob == knob {
			list = append(list, d)
		}
	}
	return list
}

func (f *fake) Decision(id string) (Decision, bool) {
	for _, d := range f.decisions {
		if d.ID == id {
			return d, true
		}
	}
	return Decision{}, false
}

func (f *fake) Queues() []Queue   { return f.queues }
func (f *fake) Cache() Cache      { return f.cache }
func (f *fake) Config() Config    { return f.conf }
func (f *fake) Streams() []Stream { return f.streams }
func (f *fake) Jobs(q JobQuery) Jobs {
	if j := f.jobs; j.Counts != nil {
		if q.ID == "" {
			j.One = nil
		}
		return j
	}
	return Jobs{Off: "set data_dir"}
}
func (f *fake) Tuning() any  { return f.tuning }
func (f *fake) Preload() any { return f.preload }
func (f *fake) Alerts() any  { return f.alerts }

package app

import (
	"cmp"
	"slices"
	"time"

	"penstock/batcher"
	"penstock/cache"
	"penstock/engine"
	"penstock/observe"
	"penstock/scheduler"
	"penstock/tuner"
	"penstock/upstream"
)

// signalsSpan is the window of the signals that /v1/stats and the page show.
const signalsSpan = 10 * time.Second

// Stats is what GET /v1/stats answers.
type Stats struct {
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	Ready         bool    `json:"ready"`
	// Total, and each route's, are the signals of the last seconds.
	Total     observe.Signals          `json:"total"`
	Upstreams map[string]UpstreamStats `json:"upstreams"`
	Routes    []RouteStats             `json:"routes"`
	Cache     cache.Stats              `json:"cache"`
	Process   observe.Process          `json:"process"`
	// Engine is what keeps pins and decisions.
	Engine engine.Status `json:"engine"`
}

// UpstreamStats is one upstream in [Stats].
type UpstreamStats struct {
	Signals   observe.Signals `json:"signals"`
	Scheduler scheduler.Stats `json:"scheduler"`
	Batcher   batcher.Stats   `json:"batcher"`
	Transport TransportStats  `json:"transport"`
	Tuner     *tuner.Status   `json:"tuner,omitempty"`
}

// TransportStats is the state of an upstream's connections, breaker and retry budget.
type TransportStats struct {
	Breaker           string    `json:"breaker"`
	BreakerSince      time.Time `json:"breaker_since,omitzero"`
	RetryAfterSeconds float64   `json:"breaker_retry_after_seconds,omitempty"`
	InFlight          int       `json:"in_flight"`
	RetryBudget       float64   `json:"retry_budget"`
	Connections       int       `json:"connections"`
}

// RouteStats is one route that had traffic in [Stats].
type RouteStats struct {
	Upstream string          `json:"upstream"`
	Route    string          `json:"route"`
	Signals  observe.Signals `json:"signals"`
}

// Stats returns a snapshot of everything.
func (a *App) Stats() Stats {
	snap := a.window.Signals(signalsSpan)
	ready, _ := a.Ready()
	s := Stats{
		Version: a.o.Version, UptimeSeconds: time.Since(a.started).Seconds(), Ready: ready, Total: snap.Total,
		Upstreams: make(map[string]UpstreamStats), Routes: []RouteStats{}, Cache: a.cache.Stats(), Process: observe.ReadProcess(),
		Engine: a.keeper.status(),
	}
	status := a.tuner.Status()
	for name, n := range a.table.Load().nodes {
		st := n.client.State()
		u := UpstreamStats{
			Signals: snap.Upstreams[name], Scheduler: n.scheduler.Stats(), Batcher: n.batcher.Stats(),
			Transport: TransportStats{
				Breaker: string(st.Breaker), BreakerSince: st.BreakerSince, RetryAfterSeconds: st.BreakerRetryAfter.Seconds(),
				InFlight: st.InFlight, RetryBudget: st.RetryBudget, Connections: st.Connections,
			},
		}
		if i := slices.IndexFunc(status, func(t tuner.Status) bool { return t.Knob == "workers."+name }); i >= 0 {
			u.Tuner = &status[i]
		}
		s.Upstreams[name] = u
	}
	for name, sig := range snap.Routes {
		s.Routes = append(s.Routes, RouteStats{Upstream: name.Upstream, Route: name.Route, Signals: sig})
	}
	slices.SortFunc(s.Routes, func(x, y RouteStats) int {
		return cmp.Or(cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Route, y.Route))
	})
	return s
}

func (u UpstreamStats) binding() string {
	if u.Transport.Breaker == string(upstream.BreakerOpen) {
		return "breaker"
	}
	return u.Scheduler.Binding
}

package app

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"penstock/batcher"
	"penstock/cache"
	"penstock/engine"
	"penstock/observe"
	"penstock/scheduler"
	"penstock/tuner"
	"penstock/upstream"
	"penstock/web"
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

// limit is what GET /admin/v1/limits says of one upstream.
type limit struct {
	Upstream string `json:"upstream"`
	// Binding is what keeps requests waiting now; Shares the share of the last half minute of each.
	Binding string             `json:"binding"`
	Shares  map[string]float64 `json:"shares"`
	Queued  int                `json:"queued"`
	Permits int                `json:"permits"`
	// Tuner says what the tuner's last look at it came to.
	Tuner *tuner.Status `json:"tuner,omitempty"`
}

func (a *App) limits() map[string]any {
	s := a.Stats()
	list := []limit{}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		list = append(list, limit{
			Upstream: name, Binding: u.binding(), Shares: u.Scheduler.BindingShares,
			Queued: u.Scheduler.Queued, Permits: u.Scheduler.Permits, Tuner: u.Tuner,
		})
	}
	return map[string]any{"limits": list}
}

func (u UpstreamStats) binding() string {
	if u.Transport.Breaker == string(upstream.BreakerOpen) {
		return "breaker"
	}
	return u.Scheduler.Binding
}

// pageData fills the web page.
func (a *App) pageData() web.Page {
	s := a.Stats()
	p := web.Page{
		Version: s.Version, Uptime: time.Since(a.started), Status: "ready",
		Totals: web.Totals{
			Rate: s.Total.Requests.Rate, HitRatio: s.Total.Requests.HitRatio, ErrorRatio: s.Total.Requests.ErrorRatio,
			P50: s.Total.Requests.P50, P95: s.Total.Requests.P95, P99: s.Total.Requests.P99,
			InFlight: s.Total.Requests.InFlight, CallsSaved: s.Cache.Hits + s.Cache.StaleHits + s.Cache.Collapsed,
			CacheEntries: s.Cache.Entries, CacheBytes: s.Cache.Bytes, MemoryBytes: s.Process.ResidentBytes,
		},
	}
	if !s.Ready {
		p.Status = "draining"
	}
	if last := a.LastReload(); last != nil && last.Err != nil {
		p.Warning = "The last reload failed, the configuration before is in force: " + last.Err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		calls := u.Signals.Calls
		p.Upstreams = append(p.Upstreams, web.Upstream{
			Name: name, Binding: u.binding(), Breaker: u.Transport.Breaker, InFlight: u.Scheduler.InFlight,
			Permits: u.Scheduler.Permits, Queued: u.Scheduler.Queued, Length: u.Scheduler.QueueLength,
			CallRate: calls.Rate, ErrorRatio: calls.Outcomes.FailedRatio(), P50: calls.P50, P95: calls.P95,
			Connections: u.Transport.Connections,
		})
	}
	for _, r := range s.Routes {
		q := r.Signals.Requests
		p.Routes = append(p.Routes, web.Route{
			Upstream: r.Upstream, Name: r.Route, Rate: q.Rate, HitRatio: q.HitRatio, ErrorRatio: q.ErrorRatio,
			P50: q.P50, P95: q.P95, P99: q.P99,
		})
	}
	a.pageKnobs(&p)
	for _, al := range a.alerts.Alerts() {
		p.Alerts = append(p.Alerts, web.Alert{
			State: string(al.State), Severity: al.Severity, Name: al.Rule, Upstream: al.Upstream, Summary: al.Summary,
		})
	}
	return p
}

func (a *App) pageKnobs(p *web.Page) {
	format := make(map[string]func(float64) string)
	for _, k := range a.knobs.All() {
		st := k.State()
		format[st.Spec.Name] = st.Spec.Format
		w := web.Knob{
			Name: st.Spec.Name, Value: st.Spec.Format(st.Value), Min: st.Spec.Format(st.Spec.Min),
			Max: st.Spec.Format(st.Spec.Max), Source: string(st.Source), Doc: st.Spec.Doc,
		}
		if st.Pin != nil {
			w.Note = st.Pin.Note
		}
		p.Knobs = append(p.Knobs, w)
	}
	for _, d := range a.tuner.Decisions(tuner.Filter{Limit: 10}) {
		f := format[d.Knob]
		if f == nil {
			continue // its upstream was removed
		}
		effect := string(d.Verdict)
		if d.RolledBack {
			effect += ", rolled back"
		}
		p.Decisions = append(p.Decisions, web.Decision{
			At: d.Time, Knob: d.Knob, From: f(d.From), To: f(d.To), Rule: d.Rule, Why: d.Reason, Effect: effect,
		})
	}
}

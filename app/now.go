package app

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
	"penstock/tuner"
	"penstock/web"
)

// lastSeen is the last sample, and what was made of it for those who look.
type lastSeen struct {
	mu     sync.Mutex // guards what follows
	last   observe.Sample
	values map[string]float64
	saved  uint64 // calls saved at savedAt
	at     time.Time

	making sync.Mutex // held while a snapshot is made; guards now
	now    *web.Now
}

func (s *lastSeen) sample(last observe.Sample, values map[string]float64) {
	s.mu.Lock()
	s.last, s.values = last, values
	s.mu.Unlock()
}

// forget drops the snapshot, since an operator has changed something after it was made.
func (s *lastSeen) forget() {
	s.making.Lock()
	s.now = nil
	s.making.Unlock()
}

// savedRate is how many calls were saved per second since it was asked last; false: it was not asked yet.
func (s *lastSeen) savedRate(saved uint64, at time.Time) (float64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, since := s.saved, s.at
	s.saved, s.at = saved, at
	d := at.Sub(since).Seconds()
	if since.IsZero() || d <= 0 || saved < before {
		return 0, false
	}
	return float64(saved-before) / d, true
}

// now is everything at a glance, made once per sample.
func (a *App) now() *web.Now {
	a.seen.mu.Lock()
	last, values := a.seen.last, a.seen.values
	a.seen.mu.Unlock()
	a.seen.making.Lock()
	defer a.seen.making.Unlock()
	if a.seen.now == nil || last.At.IsZero() || !a.seen.now.At.Equal(last.At) {
		a.seen.now = a.makeNow(last, values)
	}
	return a.seen.now
}

func (a *App) makeNow(last observe.Sample, values map[string]float64) *web.Now {
	s := a.Stats()
	c := a.current.Load().Config
	at := last.At
	if at.IsZero() {
		at = time.Now()
	}
	n := &web.Now{
		At: at, Version: s.Version, UptimeSeconds: s.UptimeSeconds, IntervalSeconds: c.Monitoring.SamplingInterval.Seconds(),
		Status: "ready", ReadOnly: c.Admin.ReadOnly, Tuning: a.tuningMode(), Signals: values,
		Knobs: a.webKnobs(), Decisions: a.webDecisions(tuner.Filter{Limit: 10}), Alerts: []web.Alert{},
	}
	if !s.Ready {
		n.Status = "draining"
	}
	if r := a.LastReload(); r != nil {
		n.Reload = &web.Reload{At: r.At, OK: r.Err == nil}
		if r.Err != nil {
			n.Reload.Error = r.Err.Error()
		}
	}
	n.Degraded, n.Nodes = a.degraded(), a.webNodes()
	for _, x := range a.alerts.Alerts() {
		n.Alerts = append(n.Alerts, web.Alert{
			Rule: x.Rule, Upstream: x.Upstream, Route: x.Route, State: string(x.State), Severity: x.Severity, Summary: x.Summary,
			Labels: x.Labels, Value: finite(x.Value), Comparison: x.Comparison, Threshold: finite(x.Threshold), Unit: x.Unit,
			Since: x.Since, FiredAt: x.FiredAt, ResolvedAt: x.ResolvedAt,
		})
	}
	saved := a.savings(s.Cache)
	n.Totals = a.webTotals(s, saved, last, values)
	n.Upstreams, n.Routes = webUpstreams(s), webRoutes(s, saved)
	for _, u := range s.Upstreams {
		for i, waiting := range u.Scheduler.QueuedByUrgency {
			n.QueueByUrgency[i] += waiting
		}
		n.Background += u.Scheduler.Background
		n.Totals.Queued += u.Scheduler.Queued
		n.Totals.UpstreamConnections += u.Transport.Connections
	}
	return n
}

func (a *App) tuningMode() web.TuningMode {
	v := a.tuner.View()
	return web.TuningMode{Mode: string(v.Mode), Frozen: v.Frozen}
}

func (a *App) webTotals(s Stats, saved savings, last observe.Sample, values map[string]float64) web.Totals {
	q := s.Total.Requests
	t := web.Totals{
		Rate: q.Rate, Goodput: q.Goodput, ErrorRatio: q.ErrorRatio, HitRatio: q.HitRatio, SavedRatio: q.SavedRatio,
		P50: q.P50.Seconds(), P95: q.P95.Seconds(), P99: q.P99.Seconds(), InFlight: q.InFlight,
		CallsSaved: saved.calls, CallsSavedRate: values["calls_saved_rate"], MoneySaved: saved.money,
		CacheEntries: s.Cache.Entries, CacheBytes: s.Cache.Bytes, CacheMaxBytes: s.Cache.MaxBytes,
		ResidentBytes: s.Process.ResidentBytes, CPURatio: last.Process.CPURatio, MaxProcs: s.Process.MaxProcs,
		Goroutines: s.Process.Goroutines, OpenFDs: s.Process.OpenFDs, MaxFDs: s.Process.MaxFDs,
	}
	if a.data != nil {
		t.ClientConnections = a.data.open.Load()
	}
	return t
}

func webUpstreams(s Stats) []web.Upstream {
	out := []web.Upstream{}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		c, q, t := u.Signals.Calls, u.Scheduler, u.Transport
		w := web.Upstream{
			Name: name, Binding: u.binding(), BindingShares: q.BindingShares, Breaker: t.Breaker, BreakerSince: t.BreakerSince,
			RetryAfter: t.RetryAfterSeconds, InFlight: q.InFlight, Permits: q.Permits, Held: q.Held, Queued: q.Queued,
			QueueLength: q.QueueLength, CallRate: c.Rate, Throughput: c.Throughput, FailedRatio: c.Outcomes.FailedRatio(),
			RefusedRatio: c.Outcomes.RefusedRatio(), P50: c.P50.Seconds(), P95: c.P95.Seconds(), P99: c.P99.Seconds(),
			Connections: t.Connections, Pace: q.Pace, RetryBudget: t.RetryBudget, ServiceTime: q.ServiceTime, BatchSize: q.BatchSize,
			Rates: []web.Rate{}, Outcomes: outcomesOf(c.Outcomes),
		}
		for _, r := range q.Rates {
			w.Rates = append(w.Rates, web.Rate{Limit: r.Limit, Per: r.Per, Burst: r.Burst, Tokens: r.Tokens})
		}
		out = append(out, w)
	}
	return out
}

func outcomesOf(o observe.Outcomes) map[string]uint64 {
	return map[string]uint64{
		"ok": o.OK, "client": o.Client, "refused": o.Refused, "overload": o.Overload,
		"error": o.Error, "timeout": o.Timeout, "down": o.Down, "cancelled": o.Canceled,
	}
}

// webRoutes lists the routes that had traffic lately or saved calls, by upstream and name.
func webRoutes(s Stats, saved savings) []web.Route {
	list := []web.Route{}
	listed := make(map[observe.RouteName]bool)
	for _, r := range s.Routes {
		q := r.Signals.Requests
		name := observe.RouteName{Upstream: r.Upstream, Route: r.Route}
		listed[name] = true
		list = append(list, web.Route{
			Upstream: r.Upstream, Name: r.Route, Rate: q.Rate, HitRatio: q.HitRatio, ErrorRatio: q.ErrorRatio,
			P50: q.P50.Seconds(), P95: q.P95.Seconds(), P99: q.P99.Seconds(), InFlight: q.InFlight,
			CallsSaved: saved.routes[name].calls, MoneySaved: saved.routes[name].money,
		})
	}
	for name, x := range saved.routes {
		if !listed[name] && (x.calls > 0 || x.money != nil) {
			list = append(list, web.Route{Upstream: name.Upstream, Name: name.Route, CallsSaved: x.calls, MoneySaved: x.money})
		}
	}
	slices.SortFunc(list, func(x, y web.Route) int {
		return cmp.Or(cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Name, y.Name))
	})
	return list
}

func (a *App) webKnobs() []web.Knob {
	list := []web.Knob{}
	for _, k := range a.knobs.All() {
		st := k.State()
		w := web.Knob{
			Name: st.Spec.Name, Kind: string(st.Spec.Kind), Unit: st.Spec.Unit, Doc: st.Spec.Doc, Text: written(st.Spec, st.Value),
			Min: written(st.Spec, st.Spec.Min), Max: written(st.Spec, st.Spec.Max), Default: written(st.Spec, st.Spec.Default),
			Source: string(st.Source), Base: written(st.Spec, st.Base), BaseSource: string(st.BaseSource),
		}
		if st.Spec.Kind == knob.KindDuration {
			w.Unit = "" // the text has its own
		}
		if !math.IsInf(st.Value, 0) {
			w.Value = &st.Value
		}
		if p := st.Pin; p != nil {
			w.Pin = &web.Pin{Text: written(st.Spec, p.Value), Note: p.Note, Author: p.Author, Until: p.Until, FromFile: p.FromFile}
		}
		list = append(list, w)
	}
	return list
}

// webDecisions lists decisions, newest first, with their values as people write them.
func (a *App) webDecisions(f tuner.Filter) []web.Decision {
	specs := make(map[string]knob.Spec)
	for _, k := range a.knobs.All() {
		specs[k.Spec().Name] = k.Spec()
	}
	list := []web.Decision{}
	for _, d := range a.ledger.Decisions(f) {
		list = append(list, webDecision(d, specs[d.Knob]))
	}
	return list
}

func webDecision(d tuner.Decision, s knob.Spec) web.Decision {
	return web.Decision{
		ID: d.ID, Time: d.Time, Knob: d.Knob, Upstream: d.Upstream, From: finite(d.From), To: finite(d.To),
		FromText: written(s, d.From), ToText: written(s, d.To), Rule: d.Rule, Reason: d.Reason, Signals: d.Signals,
		Expected: d.Expected, Mode: string(d.Mode), Author: d.Author, Verdict: string(d.Verdict), Measured: d.Measured,
		JudgedAt: d.JudgedAt, RolledBack: d.RolledBack, Repeats: d.Repeats,
	}
}

// written is a knob's value without the zeros that Go's durations have: "1h", not "1h0m0s"; a number that the
// tuner computed with four digits.
func written(s knob.Spec, v float64) string {
	switch s.Kind {
	case knob.KindFloat:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case knob.KindDuration:
		text := s.Format(v)
		if short := strings.TrimSuffix(text, "0s"); strings.HasSuffix(short, "m") {
			text = short
			if short = strings.TrimSuffix(text, "0m"); strings.HasSuffix(short, "h") {
				text = short
			}
		}
		return text
	}
	return s.Format(v)
}

// finite makes a number that JSON can say: infinity becomes the largest.
func finite(v float64) float64 { return min(max(v, -math.MaxFloat64), math.MaxFloat64) }

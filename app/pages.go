package app

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"penstock/configs"
	"penstock/knob"
	"penstock/observe"
	"penstock/tuner"
	"penstock/web"
)

// pages is the App as the pages see it.
type pages struct{ a *App }

var _ web.Source = pages{}

func (p pages) Now() *web.Now { return p.a.now() }

func (p pages) History(signals []string, from, to time.Time, points int) web.Past {
	r := p.a.history.Query(observe.HistoryQuery{Signals: signals, From: from, To: to, Step: to.Sub(from) / time.Duration(max(points, 1))})
	past := web.Past{Times: r.Times}
	for _, s := range r.Series {
		past.Series = append(past.Series, web.Series{Signal: s.Signal, Values: s.Values})
	}
	return past
}

func (p pages) Mean(signal string, from, to time.Time) (float64, bool) {
	mean, n := p.a.history.Mean(signal, from, to)
	return mean, n > 0
}

func (p pages) Decisions(knob string, since time.Time, limit int) []web.Decision {
	return p.a.webDecisions(tuner.Filter{Knob: knob, Since: since, Limit: limit})
}

func (p pages) Decision(id string) (web.Decision, bool) {
	d, ok := p.a.ledger.Decision(id)
	if !ok {
		return web.Decision{}, false
	}
	var spec knob.Spec
	if k, ok := p.a.knobs.Lookup(d.Knob); ok {
		spec = k.Spec()
	}
	return webDecision(d, spec), true
}

// shownTenants bounds the tenants that the queue page lists.
const shownTenants = 50

func (p pages) Queues() []web.Queue {
	var list []web.Queue
	for name, n := range p.a.table.Load().nodes {
		st := n.scheduler.Stats()
		q := web.Queue{
			Upstream: name, Queued: st.Queued, Length: st.QueueLength, Background: st.Background, ByUrgency: st.QueuedByUrgency,
			PredictedWait: st.PredictedWait, Dispatched: st.Dispatched, Expired: st.Expired, Cancelled: st.Cancelled, Refused: st.Refused,
		}
		for _, u := range st.NewestFirst {
			q.NewestFirst = append(q.NewestFirst, int(u))
		}
		for _, w := range n.scheduler.Waiting(shownTenants) {
			q.Waiting = append(q.Waiting, web.Waiting(w))
		}
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b web.Queue) int { return cmp.Compare(a.Upstream, b.Upstream) })
	return list
}

// shownKeys is how many of the keys that save most the cache page lists.
const shownKeys = 25

func (p pages) Cache() web.Cache {
	st := p.a.cache.Stats()
	saved := p.a.savings(st)
	c := web.Cache{
		Enabled: st.Enabled, Entries: st.Entries, Bytes: st.Bytes, MaxBytes: st.MaxBytes, CompressionRatio: st.CompressionRatio,
		Hits: st.Hits, StaleHits: st.StaleHits, StaleErrors: st.StaleErrors, Misses: st.Misses, Collapsed: st.Collapsed,
		Bypasses: st.Bypasses, Stored: st.Stored, Revalidated: st.Revalidated, Evictions: st.Evictions,
		Expirations: st.Expirations, Purged: st.Purged, ShareFilled: st.ShareExceeded,
	}
	for _, r := range st.Routes {
		x := saved.routes[observe.RouteName{Upstream: r.Upstream, Route: r.Route}]
		c.Routes = append(c.Routes, web.CacheRoute{
			Upstream: r.Upstream, Route: r.Route, Hits: r.Hits, Stale: r.StaleHits, StaleErrors: r.StaleErrors,
			Misses: r.Misses, Collapsed: r.Collapsed, HitRatio: r.HitRatio, Saved: x.calls, Money: x.money,
		})
	}
	routes := p.a.current.Load().Config.Routes
	for _, k := range p.a.topKeys.Top(shownKeys) {
		top := web.TopKey{Upstream: k.Upstream, Route: k.Route, Saved: k.Count, Error: k.Error}
		top.Key, top.Masked = web.Mask(k.Key)
		if price := routes[k.Route].PricePerCall; price > 0 {
			money := float64(k.Count) * price
			top.Money = &money
		}
		c.Top = append(c.Top, top)
	}
	return c
}

func (p pages) Config() web.Config {
	c := web.Config{File: p.a.o.Config.Path}
	for _, e := range configs.Effective(p.a.current.Load()) {
		c.Entries = append(c.Entries, web.ConfigEntry{Key: e.Key, Value: fmt.Sprint(e.Value), Source: string(e.Source), File: e.File, Line: e.Line})
	}
	changes, err := p.a.Diff()
	if faults, ok := errors.AsType[*configs.Faults](err); ok {
		for _, f := range faults.List {
			c.Faults = append(c.Faults, f.String())
		}
	} else if err != nil {
		c.Faults = []string{err.Error()}
	}
	for _, x := range changes {
		c.Changes = append(c.Changes, web.ConfigChange{Key: x.Key, From: cmp.Or(x.From, "–"), To: cmp.Or(x.To, "–"), RestartNeeded: x.RestartNeeded})
	}
	return c
}

func (p pages) Tuning() any  { return p.a.tuner.View() }
func (p pages) Preload() any { return p.a.preload.View() }
func (p pages) Alerts() any  { return p.a.viewAlerts() }

// newPages makes the pages.
func (a *App) newPages() *web.Handler { return web.NewHandler(pages{a}) }

// renew has the pages show a change of the operator at once, not with the next sample.
func (a *App) renew(admin http.Handler, pages *web.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admin.ServeHTTP(w, r)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			a.seen.forget()
			pages.Changed()
		}
	})
}

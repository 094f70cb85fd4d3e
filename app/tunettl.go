package app

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/cache"
	"penstock/configs"
	"penstock/knob"
	"penstock/request"
	"penstock/tuner"
)

// heuristicDay is the base of the TTL knob of a route whose mode is http: the bound that RFC 9111's rule of a
// tenth has. While the knob stands there, that rule decides; moved, the knob does.
const heuristicDay = 24 * time.Hour

// ttlBook holds what is known of how often each route's answers change. It lives over reloads. Safe for
// concurrent use.
type ttlBook struct {
	early  atomic.Uint64 // the share of copies that are looked at early, as bits
	routes sync.Map      // routeID to *tuner.TTLEvidence
}

type routeID struct{ upstream, route string }

// ttlKeys is how many keys all routes together may have learned one by one; routes share it evenly.
const ttlKeys = 4 * tuner.DefaultTTLKeys

// of finds the evidence of a route, made at its first mention in a configuration of so many routes.
func (b *ttlBook) of(id routeID, routes int) *tuner.TTLEvidence {
	if e, ok := b.routes.Load(id); ok {
		return e.(*tuner.TTLEvidence)
	}
	keys := min(max(ttlKeys/max(routes, 1), 64), tuner.DefaultTTLKeys)
	e, _ := b.routes.LoadOrStore(id, tuner.NewTTLEvidence(keys))
	return e.(*tuner.TTLEvidence)
}

// retain forgets the routes that are not configured any more.
func (b *ttlBook) retain(t *table) {
	b.routes.Range(func(id, _ any) bool {
		r := id.(routeID)
		route := t.routes[r.route]
		if r.route == request.ProxyRoute {
			route = t.proxies[r.upstream]
		}
		if route == nil || route.Upstream != r.upstream || route.Cache.Keyed == nil {
			b.routes.Delete(id)
		}
		return true
	})
}

// onLook hands a look of the cache's to the route's evidence.
func (b *ttlBook) onLook(l cache.Look) {
	e, ok := b.routes.Load(routeID{l.Upstream, l.Route})
	if !ok {
		return
	}
	e.(*tuner.TTLEvidence).Look(tuner.TTLLook{
		Key: l.Key, At: l.At, First: l.First, Since: l.Since, Changed: l.Changed, Age: l.Age,
		Uses: l.Uses, Kept: l.Kept, Early: l.Early,
	})
}

// keyedTTL is the freshness of a route's keys: a request.KeyedFreshness.
type keyedTTL struct {
	knob      *knob.Knob
	table     *tuner.TTLTable
	early     *atomic.Uint64
	heuristic bool
}

func (k *keyedTTL) Freshness(key uint64) (ttl, window time.Duration, ok bool) {
	value := k.knob.Value()
	if !k.knob.Pinned() {
		if ttl, window, ok = k.table.Freshness(key, value); ok {
			return ttl, window, true
		}
	}
	// Without a plan the knob holds for all keys; a route with a TTL of its own reads it by itself.
	if k.heuristic && value != heuristicDay.Seconds() {
		return knob.Duration{Knob: k.knob}.Get(), 0, true
	}
	return 0, 0, false
}

// chosen reports whether an operator wrote the TTL down.
func (k *keyedTTL) chosen() bool {
	switch k.knob.State().BaseSource {
	case knob.SourceFile, knob.SourceEnv, knob.SourceFlag:
		return true
	}
	return false
}

func (k *keyedTTL) EarlyRatio() float64 { return math.Float64frombits(k.early.Load()) }

// keyTTLs gives the routes of a table, which is not in force yet, freshness by key.
func (a *App) keyTTLs(t *table) {
	give := func(r *request.Route) {
		k, ok := a.knobs.Lookup(ttlKnob(r.Upstream, r.Name))
		if !ok || r.Cache.Mode == request.CacheOff { // its knob goes with the table that is in force now
			return
		}
		e := a.ttls.of(routeID{r.Upstream, r.Name}, len(t.list)+len(t.proxies))
		r.Cache.Keyed = &keyedTTL{
			knob: k, table: e.Table(), early: &a.ttls.early, heuristic: r.Cache.Mode == request.CacheHTTP,
		}
	}
	for _, r := range t.list {
		give(r)
	}
	for _, r := range t.proxies {
		give(r)
	}
}

// ttlPlugs look after the TTL knobs of the table in force.
func (a *App) ttlPlugs(c *configs.Config) []tuner.Plug {
	early := c.Tuning.ProbeRatio
	if c.Tuning.Mode == string(tuner.ModeOff) {
		early = 0
	}
	a.ttls.early.Store(math.Float64bits(early))
	t := a.table.Load()
	a.ttls.retain(t)
	var plugs []tuner.Plug
	add := func(r *request.Route) {
		k, ok := r.Cache.Keyed.(*keyedTTL)
		if !ok {
			return
		}
		id, kind := routeID{r.Upstream, r.Name}, "ttl"
		if k.heuristic {
			kind = "ttl-heuristic"
		}
		plugs = append(plugs, tuner.Plug{
			Knob: k.knob.Spec().Name, Kind: kind, Upstream: r.Upstream, Route: r.Name, Safer: 1,
			Slow: tuner.TTLRule(tuner.TTLSource{
				Evidence: a.ttls.of(id, len(t.list)+len(t.proxies)), Value: k.knob.Value,
				Window: func() time.Duration { return a.staleWindow(id) }, Heuristic: k.heuristic, Chosen: k.chosen(),
			}),
		})
	}
	for _, r := range t.list {
		add(r)
	}
	for _, name := range slices.Sorted(maps.Keys(t.proxies)) {
		add(t.proxies[name])
	}
	return plugs
}

// staleWindow is how long past its TTL an answer of the route may be used while it is refreshed, as configured.
func (a *App) staleWindow(id routeID) time.Duration {
	t := a.table.Load()
	r := t.routes[id.route]
	if id.route == request.ProxyRoute {
		r = t.proxies[id.upstream]
	}
	if r == nil || r.Cache.Mode != request.CacheTTL {
		return 0
	}
	return r.Cache.StaleWhileRevalidate
}

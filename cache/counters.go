package cache

import (
	"cmp"
	"slices"
	"sync"

	"penstock/observe"
)

// counter is a metric that also gives its value; *metrics.Counter of VictoriaMetrics is one.
type counter interface {
	Inc()
	Get() uint64
}

// routeCounters are the kept pointers to one route's metrics.
type routeCounters struct {
	upstream, route                                       string
	hits, staleHits, staleErrors, misses, bypasses, joins counter
	memory                                                routeMemory
}

// counters are the metrics of the cache.
type counters struct {
	scope *observe.Scope
	// routes maps a routeName to its *routeCounters.
	routes                                     sync.Map
	stored, revalidated, purged, shareExceeded counter
	ahead, rested                              counter

	secondHits, secondMisses, secondStored, secondFailed, secondDropped, secondTooLarge counter
}

type routeName struct{ upstream, route string }

func newCounters(s *observe.Scope) *counters {
	for name, text := range help {
		s.Help(name, text)
	}
	second := func(result string) counter { return s.With("result", result).Counter("penstock_cache_second_total") }
	return &counters{
		secondHits: second("hit"), secondMisses: second("miss"), secondStored: second("stored"), secondFailed: second("failed"),
		secondDropped: second("dropped"), secondTooLarge: second("too_large"),
		scope:       s,
		stored:      s.Counter("penstock_cache_stored_total"),
		revalidated: s.Counter("penstock_cache_revalidated_total"),
		purged:      s.Counter("penstock_cache_purged_total"),

		shareExceeded: s.Counter("penstock_cache_tenant_share_exceeded_total"),
		ahead:         s.Counter("penstock_cache_refreshed_ahead_total"),
		rested:        s.Counter("penstock_cache_error_backoff_total"),
	}
}

// of returns the counters of a route, made at its first request.
func (c *counters) of(upstream, route string) *routeCounters {
	name := routeName{upstream, route}
	if rc, ok := c.routes.Load(name); ok {
		return rc.(*routeCounters)
	}
	s := c.scope.With("upstream", upstream, "route", route)
	requests := func(outcome string) counter {
		return s.With("outcome", outcome).Counter("penstock_cache_requests_total")
	}
	rc := &routeCounters{
		upstream: upstream, route: route,
		hits: requests("hit"), staleHits: requests("stale"), staleErrors: requests("stale-error"),
		misses: requests("miss"), bypasses: requests("bypass"),
		joins: s.Counter("penstock_cache_collapsed_total"),
	}
	kept, _ := c.routes.LoadOrStore(name, rc)
	return kept.(*routeCounters)
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	o, s := c.settings.Load(), c.store
	st := Stats{
		Enabled: o.Enabled, Entries: s.entries.Load(), Variants: s.variants.Load(),
		Bytes: s.bytes.Load(), MaxBytes: o.MaxBytes,
		RawBytes: s.rawBytes.Load(), StoredBytes: s.storedBytes.Load(), CompressionRatio: 1,
		Stored: c.counters.stored.Get(), Revalidated: c.counters.revalidated.Get(), Purged: c.counters.purged.Get(),
		ShareExceeded: c.counters.shareExceeded.Get(),
		Evictions:     s.evictions.Load(), Expirations: s.expirations.Load(),
		InFlight: c.flights.count.Load(),
	}
	if st.RawBytes > 0 {
		st.CompressionRatio = float64(st.StoredBytes) / float64(st.RawBytes)
	}
	c.counters.routes.Range(func(_, v any) bool {
		r := v.(*routeCounters).snapshot()
		st.Hits += r.Hits
		st.StaleHits += r.StaleHits
		st.StaleErrors += r.StaleErrors
		st.Misses += r.Misses
		st.Bypasses += r.Bypasses
		st.Collapsed += r.Collapsed
		st.Routes = append(st.Routes, r)
		return true
	})
	st.HitRatio = hitRatio(st.Hits+st.StaleHits, st.Misses)
	slices.SortFunc(st.Routes, func(a, b RouteStats) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Route, b.Route))
	})
	return st
}

func (r *routeCounters) snapshot() RouteStats {
	s := RouteStats{
		Upstream: r.upstream, Route: r.route,
		Hits: r.hits.Get(), StaleHits: r.staleHits.Get(), StaleErrors: r.staleErrors.Get(),
		Misses: r.misses.Get(), Bypasses: r.bypasses.Get(), Collapsed: r.joins.Get(),
	}
	s.HitRatio = hitRatio(s.Hits+s.StaleHits, s.Misses)
	return s
}

func hitRatio(hits, misses uint64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

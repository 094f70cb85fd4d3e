package cache

import "penstock/observe"

// help says what each metric of the cache counts.
var help = map[string]string{
	"penstock_cache_requests_total":              "Requests by what the cache did: hit, stale (served while it is refreshed), stale-error (served in place of a failure), miss, bypass.",
	"penstock_cache_collapsed_total":             "Requests that were answered by another request's upstream call.",
	"penstock_cache_stored_total":                "Answers stored.",
	"penstock_cache_revalidated_total":           "Stored answers that a 304 renewed.",
	"penstock_cache_purged_total":                "Keys removed by a purge or by an unsafe method.",
	"penstock_cache_evictions_total":             "Keys that gave way to others for want of room.",
	"penstock_cache_expirations_total":           "Keys removed after all their windows had passed.",
	"penstock_cache_tenant_share_exceeded_total": "Answers not stored because their tenant had used its share up.",
	"penstock_cache_refreshed_ahead_total":       "Hot keys fetched anew before they expired.",
	"penstock_cache_error_backoff_total":         "Requests not forwarded because their key failed several times in a row.",
	"penstock_cache_second_total":                "What the cache that nodes share did, by result: hit, miss (asked, and nothing usable was there), stored, failed, dropped (too many changes waited), too_large.",
	"penstock_cache_entries":                     "Keys stored.",
	"penstock_cache_bytes":                       "Bytes that keys, headers, bodies as stored and overhead take.",
	"penstock_cache_max_bytes":                   "The bound on penstock_cache_bytes (cache.max_bytes).",
	"penstock_cache_body_raw_bytes":              "Bytes of the stored bodies as they are served.",
	"penstock_cache_body_stored_bytes":           "Bytes of the stored bodies as they are kept, some of them compressed.",
	"penstock_cache_flights":                     "Upstream calls under way on behalf of the cache.",
}

// expose registers what is asked for at each scrape.
func (c *Cache) expose(s *observe.Scope) {
	s.Gauge("penstock_cache_entries", func() float64 { return float64(c.store.entries.Load()) })
	s.Gauge("penstock_cache_bytes", func() float64 { return float64(c.store.bytes.Load()) })
	s.Gauge("penstock_cache_max_bytes", func() float64 { return float64(c.settings.Load().MaxBytes) })
	s.Gauge("penstock_cache_body_raw_bytes", func() float64 { return float64(c.store.rawBytes.Load()) })
	s.Gauge("penstock_cache_body_stored_bytes", func() float64 { return float64(c.store.storedBytes.Load()) })
	s.Gauge("penstock_cache_flights", func() float64 { return float64(c.flights.count.Load()) })
	s.CounterFunc("penstock_cache_evictions_total", func() float64 { return float64(c.store.evictions.Load()) })
	s.CounterFunc("penstock_cache_expirations_total", func() float64 { return float64(c.store.expirations.Load()) })
}

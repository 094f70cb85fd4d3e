package cache

// Stats is a snapshot of what the cache did since the process began, and of what it holds.
type Stats struct {
	Enabled bool `json:"enabled"`
	// Entries is the number of keys; Variants the number of stored answers (Vary).
	Entries  int64 `json:"entries"`
	Variants int64 `json:"variants"`
	// Bytes is the weight of all entries: keys, headers, bodies as stored, overhead.
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	// RawBytes is the size of the bodies as answered, StoredBytes as stored.
	RawBytes    int64 `json:"raw_bytes"`
	StoredBytes int64 `json:"stored_bytes"`
	// CompressionRatio is StoredBytes/RawBytes; 1 when nothing is stored.
	CompressionRatio float64 `json:"compression_ratio"`

	// Hits counts fresh answers, StaleHits stale ones that were served while refreshing, and
	// StaleErrors stale ones that stood in for a failure. Misses counts forwarded requests.
	Hits        uint64 `json:"hits"`
	StaleHits   uint64 `json:"stale_hits"`
	StaleErrors uint64 `json:"stale_errors"`
	Misses      uint64 `json:"misses"`
	// Bypasses counts requests that no cache rule applies to (unsafe methods, no key).
	Bypasses uint64 `json:"bypasses"`
	// HitRatio is the share of Hits and StaleHits among all but Bypasses; 0 before any.
	HitRatio float64 `json:"hit_ratio"`
	// Collapsed counts answers that came from another request's call.
	Collapsed uint64 `json:"collapsed"`
	// Stored counts stored answers, Revalidated those whose freshness a 304 renewed.
	Stored      uint64 `json:"stored"`
	Revalidated uint64 `json:"revalidated"`
	// Evictions counts keys that gave way to others, Expirations those past all their windows,
	// Purged those that a purge or an unsafe method removed.
	Evictions   uint64 `json:"evictions"`
	Expirations uint64 `json:"expirations"`
	Purged      uint64 `json:"purged"`
	// ShareExceeded counts answers that were not stored since their tenant's share was used up.
	ShareExceeded uint64 `json:"tenant_share_exceeded"`
	// InFlight is the number of flights now.
	InFlight int64 `json:"in_flight"`

	// Routes are the same counts by route, in order of upstream and route.
	Routes []RouteStats `json:"routes,omitempty"`
}

// RouteStats is the share of one route in [Stats].
type RouteStats struct {
	Upstream    string  `json:"upstream"`
	Route       string  `json:"route"`
	Hits        uint64  `json:"hits"`
	StaleHits   uint64  `json:"stale_hits"`
	StaleErrors uint64  `json:"stale_errors"`
	Misses      uint64  `json:"misses"`
	Bypasses    uint64  `json:"bypasses"`
	Collapsed   uint64  `json:"collapsed"`
	HitRatio    float64 `json:"hit_ratio"`
}

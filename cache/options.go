package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"penstock/observe"
	"penstock/request"
)

// Defaults of [Options], used for zero values.
const (
	DefaultMaxBytes       = 64 << 20
	DefaultMaxObjectBytes = 8 << 20
)

// maxObjectLimit is the largest MaxObjectBytes: a stored body is one slice, and its weight must fit
// the store's 32 bits.
const maxObjectLimit = 1 << 30

// Options are the settings of a Cache. All but PersistPath, Scope, OnAccess and Logger can change
// while it runs.
type Options struct {
	// Enabled off: nothing is looked up or stored; identical requests in flight still share a call.
	Enabled bool
	// MaxEntries bounds how many keys are stored; 0: only MaxBytes bounds. The store knows one
	// bound, so each key counts for at least MaxBytes/MaxEntries bytes: both bounds hold, and a
	// cache of a few large and many small bodies may be full before MaxBytes is reached.
	MaxEntries int
	// MaxBytes bounds the sum of keys, headers, bodies as stored, and overhead. 0:
	// DefaultMaxBytes. More: more hits. Less: less memory.
	MaxBytes int64
	// CompressMinBytes is the size from which bodies without Content-Encoding are stored
	// compressed (zstd) if that saves at least a tenth; 0: never.
	CompressMinBytes int
	// MaxObjectBytes is the longest body that is stored, up to 1 GiB. 0: DefaultMaxObjectBytes.
	MaxObjectBytes int64
	// RefreshAhead is the last share of a lifetime, 0..0.5, in which an entry that is asked for often
	// is fetched anew before it expires; each entry's differs by up to a half. More: fewer hits must
	// wait or be stale. Less: fewer calls. 0: never.
	RefreshAhead float64
	// ErrorBackoff is the first rest that a key is given whose calls have failed three times in a row;
	// each further failure doubles it, up to ErrorBackoffMax. Meanwhile a stale copy or the error is
	// answered at once. 0: none.
	ErrorBackoff, ErrorBackoffMax time.Duration
	// ErrorRecovery lets a stale copy stand in for a failing upstream.
	ErrorRecovery bool
	// PersistPath is the file that keeps the cache over a restart; empty: none.
	PersistPath string
	// PersistInterval is how often it is written besides at Close; 0: only at Close.
	PersistInterval time.Duration
	// CleanupInterval is how often expired entries are looked for; the store also does so by
	// itself, about once a second while in use. 0: only that.
	CleanupInterval time.Duration

	// TenantShare gives the share of MaxBytes, 0..1, that may be stored on behalf of a tenant; nil: 1
	// for all. An answer over it is passed on and not stored. A shared answer counts for the tenant
	// who had it stored. A smaller share takes effect as what is stored goes. It must be quick and
	// safe for concurrent use, and must not call the cache.
	TenantShare func(tenant string) float64

	// RouteShare gives the ceiling of a route, as a share of MaxBytes, 0..1; nil, or 1: it may fill the store. A
	// route over its ceiling lets its own least valuable answers go. A lower one takes effect as the route
	// stores, and at each clean-up. It must be quick and safe for concurrent use, and must not call the cache.
	RouteShare func(upstream, route string) float64
	// SampleKeys measures what memory is worth to each route on one key of so many, rounded up to a power
	// of two, and on fewer where a route has many; 0: nothing is measured. More: less work, less known.
	SampleKeys int

	// Second is a second level that other caches share; nil: none. It is asked by a call that is about to go
	// to the upstream, for SecondWait at most (0: DefaultSecondWait), and is given answers of up to
	// SecondMaxBytes (0: DefaultSecondMaxBytes) after they were stored here. It stays as it was given to New.
	Second         SecondLevel
	SecondWait     time.Duration
	SecondMaxBytes int64

	// Scope takes the metrics; nil: they are discarded.
	Scope *observe.Scope
	// OnAccess, if not nil, hears of each cacheable request. It must be quick, and may be called
	// at once from many goroutines.
	OnAccess func(Access)
	// OnLook, if not nil, hears of each fetch of what the upstream does not give an explicit freshness to. It
	// must be quick, and may be called at once from many goroutines. It stays as it was given to New.
	OnLook func(Look)
	// OnEvict, if not nil, hears of each stored answer that gave way to others: for which tenant it was
	// stored, and its key. It runs under a lock of the store: it must be quick and must not call the cache.
	OnEvict func(tenant, key string)
	// Logger takes what an operator should know; nil: slog.Default().
	Logger *slog.Logger
}

// Access is one cacheable request as the cache saw it.
type Access struct {
	// Request is read-only and valid during the call.
	Request *request.Request
	Key     string
	// Route, Upstream and Tenant name what the request names.
	Route, Upstream, Tenant string
	// Hit: answered from the store, fresh or stale. Stale: the copy was stale.
	Hit, Stale bool
	// Prefetch: the request itself was a prefetch (request.Request.Background).
	Prefetch bool
	// ExpiresAt is when the copy's freshness ends; zero on a miss.
	ExpiresAt time.Time
	// Bytes is the length of the body; 0 on a miss.
	Bytes int64
}

// Validate reports every fault of o, joined, each naming its setting.
func (o Options) Validate() error {
	var faults []error
	if o.MaxEntries < 0 {
		faults = append(faults, fmt.Errorf("cache.max_entries: %d is negative; use 0 for no bound", o.MaxEntries))
	}
	if o.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("cache.max_bytes: %d is negative", o.MaxBytes))
	}
	if o.CompressMinBytes < 0 {
		faults = append(faults, fmt.Errorf("cache.compress_min_bytes: %d is negative; use 0 for no compression", o.CompressMinBytes))
	}
	if o.MaxObjectBytes < 0 || o.MaxObjectBytes > maxObjectLimit {
		faults = append(faults, fmt.Errorf("cache.max_object_bytes: %d is not within 0 and %d", o.MaxObjectBytes, maxObjectLimit))
	}
	if !(o.RefreshAhead >= 0 && o.RefreshAhead <= 0.5) {
		faults = append(faults, fmt.Errorf("cache.refresh_ahead: %v is not within 0 and 0.5", o.RefreshAhead))
	}
	if o.ErrorBackoff < 0 || o.ErrorBackoffMax < 0 {
		faults = append(faults, errors.New("cache.error_backoff and cache.error_backoff_max must not be negative"))
	}
	if o.PersistInterval < 0 {
		faults = append(faults, fmt.Errorf("cache.persist_interval: %v is negative", o.PersistInterval))
	}
	if o.SampleKeys < 0 {
		faults = append(faults, fmt.Errorf("cache: SampleKeys %d is negative; use 0 for no measurement", o.SampleKeys))
	}
	if o.CleanupInterval < 0 {
		faults = append(faults, fmt.Errorf("cache.cleanup_interval: %v is negative", o.CleanupInterval))
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxObjectBytes == 0 {
		o.MaxObjectBytes = DefaultMaxObjectBytes
	}
	o.ErrorBackoffMax = max(o.ErrorBackoffMax, o.ErrorBackoff)
	o.MaxObjectBytes = min(o.MaxObjectBytes, o.MaxBytes)
	if o.SecondWait <= 0 {
		o.SecondWait = DefaultSecondWait
	}
	if o.SecondMaxBytes <= 0 {
		o.SecondMaxBytes = DefaultSecondMaxBytes
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// entryFloor is what each entry weighs at least, in bytes, so that MaxEntries holds.
func (o Options) entryFloor() uint32 {
	if o.MaxEntries == 0 {
		return 0
	}
	return uint32(min(o.MaxBytes/int64(o.MaxEntries), math.MaxUint32))
}

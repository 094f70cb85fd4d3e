package web

import (
	"slices"
	"time"
)

// Source is where the pages get what they show. Its methods are called for each page rendered, at once by
// several goroutines, and must be quick.
type Source interface {
	// Now is everything at a glance, one and the same for one sample.
	Now() *Now
	// History gives signals of the past; "*" in a name matches one part. points is about how many values are wanted.
	History(signals []string, from, to time.Time, points int) Past
	// Mean is a signal's mean over [from, to); false: there is no value.
	Mean(signal string, from, to time.Time) (float64, bool)
	// Decisions are the newest about a knob (empty: all), at most limit, newest first.
	Decisions(knob string, since time.Time, limit int) []Decision
	// Decision finds one.
	Decision(id string) (Decision, bool)
	Queues() []Queue
	Cache() Cache
	Config() Config
	Jobs(q JobQuery) Jobs
	// Streams are those under way and the last that ended, newest first.
	Streams() []Stream
	// Tuning, Preload and Alerts are what the admin API answers under these names, to be read by its
	// JSON; nil: it does not.
	Tuning() any
	Preload() any
	Alerts() any
}

// Past is an answer of the history: all series have the same times.
type Past struct {
	Times  []time.Time
	Series []Series
}

// crop takes away what lies before the first value, so that a young process is not drawn as a speck at the
// end, and tells the first time that is left.
func (p *Past) crop() time.Time {
	first := len(p.Times)
	for _, s := range p.Series {
		if i := slices.IndexFunc(s.Values, func(v float32) bool { return v == v }); i >= 0 {
			first = min(first, i)
		}
	}
	if first == len(p.Times) {
		return time.Time{}
	}
	p.Times = p.Times[first:]
	for i := range p.Series {
		p.Series[i].Values = p.Series[i].Values[first:]
	}
	return p.Times[0]
}

// Series is one signal; NaN where there is no value.
type Series struct {
	Signal string
	Values []float32
}

// Queue is what waits for one upstream.
type Queue struct {
	Upstream      string
	Queued        int
	Length        int
	Background    int
	ByUrgency     [8]int
	PredictedWait [8]float64 // seconds
	// NewestFirst are the urgencies that are overloaded and so serve the newest first.
	NewestFirst []int
	// Waiting are the tenants that have something queued, most first.
	Waiting []Waiting
	// Dispatched and the others are counts since the start; Refused by reason.
	Dispatched, Expired, Cancelled uint64
	Refused                        map[string]uint64
}

// Waiting is one tenant's share of a queue.
type Waiting struct {
	Tenant    string
	ByUrgency [8]int
	Total     int
}

// Cache is what the cache holds and what it saved.
type Cache struct {
	Enabled                                     bool
	Entries, Bytes, MaxBytes                    int64
	CompressionRatio                            float64
	Hits, StaleHits, StaleErrors, Misses        uint64
	Collapsed, Bypasses, Stored, Revalidated    uint64
	Evictions, Expirations, Purged, ShareFilled uint64
	Routes                                      []CacheRoute
	// Top are the keys that saved most calls since the start; an estimate, never too low by more than Error.
	Top []TopKey
}

// CacheRoute is one route's share.
type CacheRoute struct {
	Upstream, Route                             string
	Hits, Stale, StaleErrors, Misses, Collapsed uint64
	HitRatio                                    float64
	Saved                                       uint64
	Money                                       *float64
}

// TopKey is a key that saved calls.
type TopKey struct {
	Key, Upstream, Route string
	// Masked: a part of the key looks like a secret and is not shown.
	Masked bool
	Saved  uint64
	// Error is by how much Saved may be too high.
	Error uint64
	Money *float64
}

// Config is the configuration in force, and what a reload would change.
type Config struct {
	File    string
	Entries []ConfigEntry
	Changes []ConfigChange
	// Faults say why the file can't be loaded now; empty: it can.
	Faults []string
}

// ConfigEntry is one effective value. Secrets come masked.
type ConfigEntry struct {
	Key, Value, Source, File string
	Line                     int
}

// ConfigChange is one difference between the values in force and the file.
type ConfigChange struct {
	Key, From, To string
	RestartNeeded bool
}

package tuner

import (
	"math"
	"sync"
	"time"
)

// MemoryCount is what the cache counted for one route since it began.
type MemoryCount struct {
	Upstream, Route string
	// Share is the route's ceiling, Bytes what it has stored.
	Share, Bytes float64
	Hits, Misses float64
	// Gained and Lost are estimates: the misses that one band more of memory would have made hits, and the hits
	// that one band less would have made misses, with their variances.
	Gained, Lost, GainedVariance, LostVariance float64
}

// MemoryRoute is a route in a MemorySeen.
type MemoryRoute struct {
	Upstream string  `json:"upstream"`
	Route    string  `json:"route"`
	Share    float64 `json:"share"`
	Bytes    float64 `json:"bytes"`
	memorySums
}

type memorySums struct {
	Hits           float64 `json:"hits"`
	Misses         float64 `json:"misses"`
	Gained         float64 `json:"gained"`
	Lost           float64 `json:"lost"`
	GainedVariance float64 `json:"gained_variance"`
	LostVariance   float64 `json:"lost_variance"`
}

func (s *memorySums) add(b *memorySums) {
	s.Hits += b.Hits
	s.Misses += b.Misses
	s.Gained += b.Gained
	s.Lost += b.Lost
	s.GainedVariance += b.GainedVariance
	s.LostVariance += b.LostVariance
}

// MemorySeen is what the cache did in a span of time.
type MemorySeen struct {
	Seconds float64 `json:"seconds"`
	// MaxBytes is the cache's bound, Bytes what it holds, Band the memory that Gained and Lost are about.
	MaxBytes float64 `json:"max_bytes"`
	Bytes    float64 `json:"bytes"`
	Band     float64 `json:"band"`
	// Self is the place in Routes of the route whose knob is looked after; -1: it was not asked for.
	Self   int           `json:"self"`
	Routes []MemoryRoute `json:"routes"`
}

// requests are all that were answered from the store or could have been.
func (m *MemorySeen) requests() (n float64) {
	for i := range m.Routes {
		n += m.Routes[i].Hits + m.Routes[i].Misses
	}
	return n
}

// MemoryMeter keeps what the cache counted, over time. Safe for concurrent use. It has one history for each
// route, so it is bounded by the configuration; routes that are gone are forgotten.
type MemoryMeter struct {
	mu     sync.Mutex // guards what follows
	routes map[[2]string]*memoryHistory
	noted  time.Time
}

type memoryHistory struct {
	last MemoryCount
	sums history[memorySums, *memorySums]
}

// NewMemoryMeter returns an empty MemoryMeter.
func NewMemoryMeter() *MemoryMeter { return &MemoryMeter{routes: make(map[[2]string]*memoryHistory)} }

// MemoryCounts is what the cache counted since it began.
type MemoryCounts struct {
	// MaxBytes is the cache's bound, Bytes what it holds, Band the memory that Gained and Lost are about.
	MaxBytes, Bytes, Band float64
	Routes                []MemoryCount
}

// Measure takes the cache's counters of now, and gives what happened in the whole seconds of [from, to), for the
// knob of one route. What the counters rose by since the last call counts as of now.
func (m *MemoryMeter) Measure(now time.Time, c MemoryCounts, upstream, route string, from, to time.Time) MemorySeen {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(now, c.Routes)
	seen := MemorySeen{
		Seconds: max(to.Sub(from).Seconds(), 1), MaxBytes: c.MaxBytes, Bytes: c.Bytes, Band: c.Band,
		Self: -1, Routes: make([]MemoryRoute, len(c.Routes)),
	}
	for i, r := range c.Routes {
		seen.Routes[i] = MemoryRoute{Upstream: r.Upstream, Route: r.Route, Share: r.Share, Bytes: r.Bytes}
		if h := m.routes[[2]string{r.Upstream, r.Route}]; h != nil {
			seen.Routes[i].memorySums = h.sums.between(from, to)
		}
		if r.Upstream == upstream && r.Route == route {
			seen.Self = i
		}
	}
	return seen
}

// note takes the counters, at most once a second.
func (m *MemoryMeter) note(now time.Time, counts []MemoryCount) {
	if now.Sub(m.noted) < time.Second {
		return
	}
	m.noted = now
	old := m.routes
	m.routes = make(map[[2]string]*memoryHistory, len(counts))
	for _, c := range counts {
		id := [2]string{c.Upstream, c.Route}
		h := old[id]
		if h == nil {
			m.routes[id] = &memoryHistory{last: c}
			continue
		}
		m.routes[id] = h
		rise := memorySums{
			c.Hits - h.last.Hits, c.Misses - h.last.Misses, c.Gained - h.last.Gained, c.Lost - h.last.Lost,
			c.GainedVariance - h.last.GainedVariance, c.LostVariance - h.last.LostVariance,
		}
		if rise.Gained < 0 || rise.Lost < 0 { // measuring began anew
			rise.Gained, rise.Lost, rise.GainedVariance, rise.LostVariance = 0, 0, 0, 0
		}
		h.last = c
		h.sums.at(now, func(s *memorySums) { s.add(&rise) })
	}
}

// hitRatios are the hit ratios of two spans over all routes, at the same mix of routes, with the standard deviation
// of their difference. A route that was asked for in one span only says nothing.
func hitRatios(before, after *MemorySeen) (b, a, deviation float64) {
	type key struct{ upstream, route string }
	old := make(map[key]*MemoryRoute, len(before.Routes))
	for i := range before.Routes {
		r := &before.Routes[i]
		old[key{r.Upstream, r.Route}] = r
	}
	var weight, variance float64
	for i := range after.Routes {
		now := &after.Routes[i]
		was := old[key{now.Upstream, now.Route}]
		if was == nil {
			continue
		}
		n, k := was.Hits+was.Misses, now.Hits+now.Misses
		if n < 1 || k < 1 {
			continue
		}
		w, p, q := n+k, was.Hits/n, now.Hits/k
		b, a, weight = b+w*p, a+w*q, weight+w
		both := (was.Hits + now.Hits + 1) / (n + k + 2)
		variance += w * w * both * (1 - both) * (1/n + 1/k)
	}
	if weight == 0 {
		return 0, 0, 1
	}
	return b / weight, a / weight, math.Sqrt(variance) / weight
}

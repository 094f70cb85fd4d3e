package cache

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"penstock/request"
)

// MemoryBand is the share of MaxBytes for which the marginal hits of a route are measured.
const MemoryBand = 0.05

// RouteMemory is what one route has of the store, and what a little more or less of it would do. All
// but Bytes counts since the start.
type RouteMemory struct {
	Upstream, Route string
	// Bytes is the weight of what is stored for the route.
	Bytes int64
	// Hits and Misses are requests that were answered from the store, fresh or stale, and that were not.
	Hits, Misses uint64
	// Gained is an estimate of the misses that would have been hits with MemoryBand*MaxBytes more for
	// this route, Lost of the hits that would have been misses with so much less. They are measured on
	// a sample of the keys; the variances say how well.
	Gained, Lost, GainedVariance, LostVariance float64
}

// Memory is how the store's memory is divided.
type Memory struct {
	// MaxBytes is the bound, Bytes what counts towards it.
	MaxBytes, Bytes int64
	// Routes are those that were asked for, by upstream and name.
	Routes []RouteMemory
}

// Memory tells how the store's memory is divided now. The estimates stay 0 while Options.SampleKeys is.
func (c *Cache) Memory() Memory {
	var list []RouteMemory
	c.counters.routes.Range(func(_, v any) bool {
		rc := v.(*routeCounters)
		s := rc.snapshot()
		m := RouteMemory{
			Upstream: s.Upstream, Route: s.Route, Bytes: rc.memory.bytes.Load(), Hits: s.Hits + s.StaleHits, Misses: s.Misses,
		}
		if g := rc.memory.ghosts.Load(); g != nil {
			g.mu.Lock()
			m.Gained, m.Lost, m.GainedVariance, m.LostVariance = g.gained, g.lost, g.gainedVariance, g.lostVariance
			g.mu.Unlock()
		}
		list = append(list, m)
		return true
	})
	slices.SortFunc(list, func(a, b RouteMemory) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Route, b.Route))
	})
	return Memory{MaxBytes: c.settings.Load().MaxBytes, Bytes: int64(c.store.otter.WeightedSize()), Routes: list}
}

// routeMemory is the part of the store that one route has.
type routeMemory struct {
	bytes atomic.Int64 // of its records, as they count
	// queue orders the keys of a route with a ceiling; nil: it has none. ghosts measure; nil: nothing does.
	queue  atomic.Pointer[queue]
	ghosts atomic.Pointer[ghosts]
}

// memory is the account of the record's route, nil if it has none.
func (r *record) memory() *routeMemory {
	if rc := r.variants[0].counters; rc != nil {
		return &rc.memory
	}
	return nil
}

// asked tells that some variant was asked for since the last call.
func (r *record) asked() bool {
	asked := false
	for _, e := range r.variants {
		if e.heat != nil && e.heat.asked.Load() {
			e.heat.asked.Store(false)
			asked = true
		}
	}
	return asked
}

// ceilingOf is how many bytes a route may have stored.
func (c *Cache) ceilingOf(upstream, route string) int64 {
	o := c.settings.Load()
	if o.RouteShare == nil {
		return noLimit
	}
	share := o.RouteShare(upstream, route)
	if share >= 1 {
		return noLimit
	}
	return int64(max(share, 0) * float64(o.MaxBytes))
}

// confine keeps the route of what was just stored under key within its ceiling: its own least valuable
// answers go, and not others'.
func (c *Cache) confine(key string, rc *routeCounters, weight int64) {
	m := &rc.memory
	limit := c.ceilingOf(rc.upstream, rc.route)
	if limit == noLimit {
		if m.queue.Load() != nil {
			m.queue.Store(nil)
		}
		return
	}
	q := c.queueOf(m)
	q.add(key)
	if weight > limit {
		c.store.remove(key) // it would push out all others, and not fit even then
		return
	}
	c.store.shrink(m, q, limit, 2*weight)
}

// confineAll does so for all routes, whether something is stored for them or not.
func (c *Cache) confineAll() {
	if c.settings.Load().RouteShare == nil {
		return
	}
	c.counters.routes.Range(func(_, v any) bool {
		rc := v.(*routeCounters)
		if limit := c.ceilingOf(rc.upstream, rc.route); limit != noLimit {
			c.store.shrink(&rc.memory, c.queueOf(&rc.memory), limit, noLimit)
		}
		return true
	})
}

// queueOf is the route's queue, at first made of what is stored.
func (c *Cache) queueOf(m *routeMemory) *queue {
	if q := m.queue.Load(); q != nil {
		return q
	}
	q := newQueue()
	if !m.queue.CompareAndSwap(nil, q) {
		return c.queueOf(m)
	}
	for key, r := range c.store.all() {
		if r.memory() == m {
			q.add(key)
		}
	}
	return q
}

// hurry is how many answers in a row may be spared for having been asked for. Then the next one goes all the same,
// so that the work for one answer is bounded.
const hurry = 256

// shrink lets answers of a route go until it is within limit, or most bytes went.
func (s *store) shrink(m *routeMemory, q *queue, limit, most int64) {
	spared := 0
	for gone := int64(0); gone < most && m.bytes.Load() > limit; {
		key, ok := q.next()
		if !ok {
			return
		}
		e, ok := s.otter.GetEntryQuietly(key)
		if !ok {
			q.remove(key)
			continue
		}
		if e.Value.asked() && spared < hurry {
			spared++
			continue
		}
		spared = 0
		if s.giveWay(key, e.Value) {
			gone += e.Value.charge
		}
	}
}

// measured counts a request that went to the upstream for a key of which nothing fresh was stored.
func (c *Cache) measured(r *request.Request, rc *routeCounters, key string, o *Options) {
	if o.SampleKeys == 0 || r.Background {
		return
	}
	g := rc.memory.ghosts.Load()
	if g == nil {
		return // nothing was stored yet
	}
	if hash := c.tracks.hash(key); g.samples(hash) {
		g.mu.Lock()
		g.missed(hash, time.Now().UnixNano(), float64(rc.memory.bytes.Load()), MemoryBand*float64(o.MaxBytes))
		g.mu.Unlock()
	}
}

// touched counts a hit on an entry that is a sample. It waits for nobody: a hit that finds the ghosts in use is not
// counted, and that is of a busy key, whose hits tell nothing of the margin.
func (c *Cache) touched(e *entry, key string, o *Options) {
	g := e.counters.memory.ghosts.Load()
	if g == nil || o.SampleKeys == 0 {
		return
	}
	hash := c.tracks.hash(key)
	if g.samples(hash) && g.mu.TryLock() {
		g.hit(hash, float64(e.counters.memory.bytes.Load()), MemoryBand*float64(o.MaxBytes))
		g.mu.Unlock()
	}
}

// sample makes e, which is to be stored under key, one of the sample if its key is one.
func (c *Cache) sample(key string, e *entry) {
	o := c.settings.Load()
	m := &e.counters.memory
	if o.SampleKeys == 0 {
		if m.ghosts.Load() != nil {
			m.ghosts.Store(nil)
		}
		e.sampled = false
		return
	}
	g := m.ghosts.Load()
	if g == nil {
		m.ghosts.CompareAndSwap(nil, newGhosts(uint64(o.SampleKeys)))
		if g = m.ghosts.Load(); g == nil {
			return
		}
	}
	hash := c.tracks.hash(key)
	if e.sampled = g.samples(hash); e.sampled {
		g.mu.Lock()
		g.stored(hash, e.weight()+int64(len(key)), e.birth+int64(e.lifetime), float64(m.bytes.Load())+MemoryBand*float64(o.MaxBytes))
		g.mu.Unlock()
	}
}

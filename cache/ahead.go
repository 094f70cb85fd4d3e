package cache

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"penstock/request"
)

// aheadHits is how often an entry must have been asked for in its lifetime to be refreshed before that
// ends: then it is likely to be asked for in the next one too, and the call is not wasted.
const aheadHits = 3

// heat tells whether an entry is worth a refresh before it expires. It is safe for concurrent use.
type heat struct {
	hits  atomic.Uint32
	begun atomic.Bool
	// asked is set by hits, and taken back by the queue of a route with a ceiling.
	asked atomic.Bool
	// spread is 0.5..1.5, drawn once, so that what was stored together is not refreshed together.
	spread float32
}

func newHeat() *heat { return &heat{spread: 0.5 + rand.Float32()} }

// due counts one hit, and reports, once, that the entry is hot and its last stretch has begun. ratio is
// the last stretch's share of the lifetime, on average.
func (h *heat) due(lifetime, age time.Duration, ratio float64) bool {
	if h == nil || ratio <= 0 {
		return false
	}
	if h.hits.Load() < aheadHits && h.hits.Add(1) < aheadHits {
		return false
	}
	left := lifetime - age
	return left > 0 && left < time.Duration(ratio*float64(h.spread)*float64(lifetime)) && h.begun.CompareAndSwap(false, true)
}

// ahead fetches a hot entry anew while it is still fresh, on permits that nobody else wants.
func (c *Cache) ahead(r *request.Request, e *entry, o *Options) {
	key := c.storeKey(r)
	listed := flightKey(r.Method, key, r.Header, e.vary)
	s := c.flights.shard(key)
	s.mu.Lock()
	if s.m[listed] != nil {
		s.mu.Unlock()
		return
	}
	f := c.newFlight(context.Background(), unsteered(r, e), questionOf(r, o.Enabled, &directives{}), key, e)
	f.req.Background, f.req.Interim, f.interim = true, nil, nil
	f.req.SetUrgency(request.LeastUrgent)
	f.req.Deadline = time.Time{}
	f.listed = listed
	f.waiters[&waiter{ctx: context.Background(), header: f.selectors, leader: true, keeper: true}] = struct{}{}
	s.m[listed] = f
	s.mu.Unlock()
	c.counters.ahead.Inc()
	c.start(f)
}

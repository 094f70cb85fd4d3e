package cache

import (
	"time"

	"penstock/request"
)

// Fresh reports until when r would be answered from the store as things are. It neither counts nor
// counts as a use of what is stored.
func (c *Cache) Fresh(r *request.Request) (until time.Time, ok bool) {
	o := c.settings.Load()
	if !o.Enabled || r.Route.Cache.Mode == request.CacheOff || !cacheable(r) {
		return time.Time{}, false
	}
	x, ok := c.store.otter.GetEntryQuietly(c.storeKey(r))
	if !ok {
		return time.Time{}, false
	}
	e := x.Value.find(r.Header)
	if e == nil {
		return time.Time{}, false
	}
	now := time.Now()
	left := e.lifetime - e.age(now)
	return now.Add(left), left > 0
}

// watchEvictions has the store tell o.OnEvict, if there is one.
func (c *Cache) watchEvictions(o *Options) {
	if o.OnEvict == nil {
		return
	}
	c.store.evicted = func(key string, r *record) {
		for _, e := range r.variants {
			o.OnEvict(e.tenant, key)
		}
	}
}

package cache

import (
	"time"

	"penstock/request"
)

// Recall answers r if a fresh copy is stored that may be used as it is; else nil, and nothing has
// been counted. It implements [request.Recaller].
func (c *Cache) Recall(r *request.Request, now time.Time) *request.Response {
	o := c.settings.Load()
	if !o.Enabled || r.Route.Cache.Mode == request.CacheOff || !cacheable(r) || partial(r.Header) {
		return nil
	}
	d := requestDirectives(r.Header)
	if d.noStore {
		return nil
	}
	e, use := c.find(c.storeKey(r), r, &d, now)
	if e == nil || use != useFresh {
		return nil
	}
	return c.hit(r, e, now, o, request.CacheStatus{Hit: true})
}

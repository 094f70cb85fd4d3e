package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// PurgeRequest says what to forget. The fields that are set must all match; without any, and
// without All, nothing does.
type PurgeRequest struct {
	Key      string `json:"key,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Route    string `json:"route,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	// Tag is a surrogate key: one of the words of an answer's Surrogate-Key or Cache-Tag.
	Tag string `json:"tag,omitempty"`
	All bool   `json:"all,omitempty"`
	// Soft: what matches is kept as stale, for as long as it may be served so, or validated.
	Soft bool `json:"soft,omitempty"`
}

// Purge forgets what p matches and returns how many keys it changed. A call in flight at that time
// is not stored, nor joined by later requests; a purge by tag assumes the worst of those whose tags
// are not known yet.
func (c *Cache) Purge(p PurgeRequest) int {
	if p == (PurgeRequest{Soft: p.Soft}) {
		return 0
	}
	if p == (PurgeRequest{Key: p.Key}) {
		return c.purgeKey(p.Key)
	}
	c.second.hideAll()
	defer c.second.forgetAll()
	c.disk.forget(p.matches)
	c.flights.purge(p.matchesFlight)
	n := 0
	for key, rec := range c.store.all() {
		if p.matches(key, rec) && c.drop(key, &p) {
			n++
		}
	}
	c.countPurged(n)
	return n
}

// drop forgets key, or makes it stale, and reports whether there was anything to do.
func (c *Cache) drop(key string, p *PurgeRequest) (done bool) {
	if !p.Soft {
		return c.store.remove(key)
	}
	now := time.Now()
	c.store.update(key, func(old *record) *record {
		if old == nil || !p.matches(key, old) {
			return nil
		}
		done = true
		return old.stale(key, now)
	})
	return done
}

// stale returns a record whose variants are fresh no longer.
func (r *record) stale(key string, now time.Time) *record {
	n := &record{route: r.route, upstream: r.upstream, variants: make([]*entry, len(r.variants))}
	for i, e := range r.variants {
		old := *e
		old.lifetime = min(e.lifetime, e.age(now))
		n.variants[i] = &old
	}
	n.measure(key)
	return n
}

func (p *PurgeRequest) matches(key string, rec *record) bool {
	return p.matchesPlace(key, rec.route, rec.upstream) &&
		(p.Tag == "" || slices.ContainsFunc(rec.variants, func(e *entry) bool { return tagged(e.header, p.Tag) }))
}

func (p *PurgeRequest) matchesFlight(f *flight) bool {
	return p.matchesPlace(f.key, f.req.Route.Name, f.req.Route.Upstream) &&
		(p.Tag == "" || !f.answered() || f.response == nil || tagged(f.response.Header, p.Tag))
}

func (p *PurgeRequest) matchesPlace(key, route, upstream string) bool {
	if p.Key != "" {
		if base, _, _ := strings.Cut(key, credentialMark); base != p.Key {
			return false
		}
	}
	return strings.HasPrefix(key, p.Prefix) &&
		(p.Route == "" || p.Route == route) && (p.Upstream == "" || p.Upstream == upstream)
}

// tagged reports whether an answer has a surrogate key: a word of Surrogate-Key, or a member of the
// list in Cache-Tag.
func tagged(h http.Header, tag string) bool {
	for _, line := range h["Surrogate-Key"] {
		for word := range strings.FieldsSeq(line) {
			if word == tag {
				return true
			}
		}
	}
	for _, line := range h["Cache-Tag"] {
		for member := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(member) == tag {
				return true
			}
		}
	}
	return false
}

// purgeKey forgets one key, for all credentials.
func (c *Cache) purgeKey(key string) int {
	p := PurgeRequest{Key: key}
	c.second.hide(key)
	defer c.second.forget(key)
	c.disk.forget(p.matches)
	n := 0
	c.flights.purgeKey(key, func() {
		if c.store.remove(key) {
			n++
		}
	})
	if c.split.Load() {
		c.second.hideAll()
		defer c.second.forgetAll()
		c.flights.purge(p.matchesFlight)
		for stored, rec := range c.store.all() {
			if p.matches(stored, rec) && c.store.remove(stored) {
				n++
			}
		}
	}
	c.countPurged(n)
	return n
}

func (c *Cache) countPurged(n int) {
	for range n {
		c.counters.purged.Inc()
	}
}

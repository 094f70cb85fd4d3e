package cache

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// Prepare checks o; commit puts it in force and can't fail. PersistPath, Scope, OnAccess and
// Logger stay as they were given to New.
func (c *Cache) Prepare(o Options) (commit func(), err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	return func() {
		old := c.settings.Load()
		o.PersistPath, o.Scope, o.OnAccess, o.Logger = old.PersistPath, old.Scope, old.OnAccess, old.Logger
		c.settings.Store(&o)
		if o.MaxBytes != old.MaxBytes || o.entryFloor() != old.entryFloor() {
			c.store.resize(o.MaxBytes, o.entryFloor())
		}
		if o.PersistInterval != old.PersistInterval || o.CleanupInterval != old.CleanupInterval {
			c.disk.wake()
		}
	}, nil
}

// Apply is Prepare and commit in one.
func (c *Cache) Apply(o Options) error {
	commit, err := c.Prepare(o)
	if err != nil {
		return err
	}
	commit()
	return nil
}

// Purge forgets what p matches and returns how many keys it removed. A call in flight at that time
// is not stored, nor joined by later requests.
func (c *Cache) Purge(p PurgeRequest) int {
	if p == (PurgeRequest{}) {
		return 0
	}
	if p == (PurgeRequest{Key: p.Key}) {
		return c.purgeKey(p.Key)
	}
	c.disk.forget(p.matches)
	c.flights.purge(func(f *flight) bool {
		return p.matches(f.key, f.req.Route.Name, f.req.Route.Upstream)
	})
	n := 0
	for key, rec := range c.store.all() {
		if p.matches(key, rec.route, rec.upstream) && c.store.remove(key) {
			n++
		}
	}
	c.countPurged(n)
	return n
}

func (p *PurgeRequest) matches(key, route, upstream string) bool {
	if p.Key != "" {
		if base, _, _ := strings.Cut(key, credentialMark); base != p.Key {
			return false
		}
	}
	return strings.HasPrefix(key, p.Prefix) &&
		(p.Route == "" || p.Route == route) && (p.Upstream == "" || p.Upstream == upstream)
}

// purgeKey forgets one key, for all credentials.
func (c *Cache) purgeKey(key string) int {
	p := PurgeRequest{Key: key}
	c.disk.forget(p.matches)
	n := 0
	c.flights.purgeKey(key, func() {
		if c.store.remove(key) {
			n++
		}
	})
	if c.split.Load() {
		c.flights.purge(func(f *flight) bool { return p.matches(f.key, "", "") })
		for stored := range c.store.all() {
			if p.matches(stored, "", "") && c.store.remove(stored) {
				n++
			}
		}
	}
	c.countPurged(n)
	return n
}

// invalidate forgets what an unsafe method has changed (RFC 9111, section 4.4): its own target, and
// Location and Content-Location where they are paths, and so surely of the same origin.
func (c *Cache) invalidate(r *request.Request, h http.Header) {
	if r.Route.Name != request.ProxyRoute {
		if r.Key != "" {
			c.purgeKey(r.Key)
		}
		return
	}
	c.purgeKey(cmp.Or(r.Key, proxyKey(r.Route.Upstream, r.Path, r.RawQuery)))
	for _, name := range []string{"Location", "Content-Location"} {
		path, query, _ := strings.Cut(h.Get(name), "?")
		path, _, _ = strings.Cut(path, "#")
		query, _, _ = strings.Cut(query, "#")
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
			c.purgeKey(proxyKey(r.Route.Upstream, path, query))
		}
	}
}

// proxyKey is the key that api gives to a GET of that target on the proxy path.
func proxyKey(upstream, path, query string) string {
	if query == "" {
		return upstream + " " + path
	}
	return upstream + " " + path + "?" + query
}

func (c *Cache) countPurged(n int) {
	for range n {
		c.counters.purged.Inc()
	}
}

// maintain cleans up and saves at their intervals, until Close.
func (c *Cache) maintain() {
	var lastSave, lastClean = time.Now(), time.Now()
	for {
		o := c.settings.Load()
		next := time.Hour
		if o.CleanupInterval > 0 {
			next = min(next, time.Until(lastClean.Add(o.CleanupInterval)))
		}
		if o.PersistInterval > 0 && o.PersistPath != "" {
			next = min(next, time.Until(lastSave.Add(o.PersistInterval)))
		}
		timer := time.NewTimer(max(next, 0))
		select {
		case <-c.base.Done():
			timer.Stop()
			return
		case <-c.disk.changed:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if o.CleanupInterval > 0 && time.Since(lastClean) >= o.CleanupInterval {
			c.store.otter.CleanUp()
			lastClean = time.Now()
		}
		if o.PersistInterval > 0 && o.PersistPath != "" && time.Since(lastSave) >= o.PersistInterval {
			if err := c.Save(c.base); err != nil && c.base.Err() == nil {
				c.log.Error("cache: saving failed; check the directory of data_dir", "path", o.PersistPath, "error", err)
			}
			lastSave = time.Now()
		}
	}
}

// Save writes the cache to PersistPath; without one it does nothing.
func (c *Cache) Save(ctx context.Context) error { return c.disk.save(ctx) }

// Close ends the flights, waits for them, and saves the cache. Requests after it fail with
// ProblemShuttingDown unless stored. It may be called more than once.
func (c *Cache) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.tasks.Wait()
	if !first {
		return nil
	}
	err := c.Save(context.Background())
	c.store.close()
	c.memos.close()
	return err
}

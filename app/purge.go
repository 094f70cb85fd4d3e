package app

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/time/rate"

	"penstock/api"
	"penstock/cache"
	"penstock/tuner"
)

// Purges by hand are few, those by a program may be thousands a minute: so many are written into the
// ledger one by one, the others are counted there.
const (
	purgesPerSecond = 0.1
	purgesAtOnce    = 20
)

// adminCache is the cache as the admin plane sees it.
type adminCache struct {
	a *App

	mu    sync.Mutex
	lines *rate.Limiter
	more  int // purges since the last line
}

func newAdminCache(a *App) *adminCache {
	return &adminCache{a: a, lines: rate.NewLimiter(purgesPerSecond, purgesAtOnce)}
}

func (c *adminCache) Stats() any { return c.a.cache.Stats() }

// Purge removes entries, and tells the log and the ledger who did.
func (c *adminCache) Purge(ctx context.Context, p api.PurgeRequest) (int, error) {
	n := c.a.cache.Purge(cache.PurgeRequest(p))
	c.a.purges.tell(cache.PurgeRequest(p))
	author := api.AuthorOf(ctx)
	c.a.log.Info("cache purged", "key", p.Key, "prefix", p.Prefix, "route", p.Route, "upstream", p.Upstream, "tag", p.Tag, "all", p.All, "soft", p.Soft, "purged", n, "author", author)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lines.Allow() {
		c.more++
		return n, nil
	}
	reason := purgeReason(p, n) + " by " + author
	if c.more > 0 {
		reason += fmt.Sprintf("; %d purges before it are in the log only", c.more)
	}
	c.more = 0
	c.a.ledger.Record(tuner.Decision{Knob: "cache", Upstream: p.Upstream, Rule: "purge", Reason: reason, Author: author})
	return n, nil
}

// purgeReason says what was purged. Keys may hold what the ledger must not show.
func purgeReason(p api.PurgeRequest, n int) string {
	what := "everything"
	switch {
	case p.Key != "":
		what = "one key"
	case p.Prefix != "":
		what = "the keys with one beginning"
	case p.Route != "":
		what = "the route " + p.Route
	case p.Upstream != "":
		what = "the upstream " + p.Upstream
	case p.Tag != "":
		what = fmt.Sprintf("the tag %.60q", p.Tag)
	}
	done := "removed"
	if p.Soft {
		done = "made stale"
	}
	return fmt.Sprintf("%s of the cache: %d entries were %s", what, n, done)
}

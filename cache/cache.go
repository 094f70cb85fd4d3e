package cache

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock/request"
)

// errClosed is the cause of the contexts of flights that Close ended.
var errClosed = errors.New("the cache was closed")

// Cache is the cache stage. Make it with [New] and end it with [Cache.Close].
type Cache struct {
	next     request.Doer
	log      *slog.Logger
	settings atomic.Pointer[Options]
	store    *store
	flights  *flightTable
	memos    *memos
	habits   *habits
	failing  *failing
	tracks   *tracks
	counters *counters
	disk     *disk
	codec    codec
	second   *second // nil: there is none
	// split: entries under keys with credentials may exist (see storeKey).
	split atomic.Bool

	base context.Context // ends the flights
	stop context.CancelFunc

	mu     sync.Mutex // guards closed, and tasks against growing after it
	closed bool
	tasks  sync.WaitGroup
}

// New returns a Cache in front of next. A file at o.PersistPath is read in the background; one
// that is torn or of another version is skipped.
func New(o Options, next request.Doer) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	st, err := newStore(o.MaxBytes, o.entryFloor())
	if err != nil {
		return nil, err
	}
	memos, err := newMemos()
	if err != nil {
		st.close()
		return nil, err
	}
	habits, err := newHabits()
	if err != nil {
		st.close()
		memos.close()
		return nil, err
	}
	failing, err := newFailing()
	if err != nil {
		st.close()
		memos.close()
		habits.close()
		return nil, err
	}
	c := &Cache{
		next: next, log: o.Logger, store: st, flights: newFlightTable(), memos: memos, habits: habits,
		failing: failing, tracks: newTracks(), counters: newCounters(o.Scope),
	}
	c.settings.Store(&o)
	c.watchEvictions(&o)
	c.base, c.stop = context.WithCancel(context.Background())
	c.disk = newDisk(c, o.PersistPath)
	c.expose(o.Scope)
	if o.Second != nil {
		c.second = newSecond(c, o.Second)
		c.tasks.Go(c.second.run)
	}
	c.tasks.Go(c.disk.load)
	c.tasks.Go(c.maintain)
	return c, nil
}

// Do answers r from the store or by next.
func (c *Cache) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	o := c.settings.Load()
	if !cacheable(r) {
		return c.pass(ctx, r, o)
	}
	d := requestDirectives(r.Header)
	useStore := o.Enabled && r.Route.Cache.Mode != request.CacheOff
	part := partial(r.Header)
	if part && useStore && !d.noStore {
		if resp := c.answerPart(ctx, r, o, &d); resp != nil {
			return resp, nil
		}
	}
	if d.noStore || part || !useStore && conditional(r.Header) {
		c.bypassed(r)
		return c.alone(ctx, r, questionOf(r, o.Enabled, &d), "bypass")
	}
	key := c.storeKey(r)
	fwd := "bypass"
	var e *entry
	var use wants
	if useStore {
		now := time.Now()
		e, use = c.find(key, r, &d, now)
		if e != nil && use != mustValidate {
			if resp := c.answer(ctx, r, key, e, use, now, o, &d); resp != nil {
				return resp, nil
			}
			e = nil
		}
		fwd = c.reason(key, e, now)
	}
	k := &call{
		ctx: ctx, r: r, d: d, q: questionOf(r, o.Enabled, &d), o: o, key: key, useStore: useStore,
		stale: e, fwd: fwd, counters: c.counters.of(r.Route.Upstream, r.Route.Name),
	}
	if useStore {
		k.counters.misses.Inc()
		c.measured(r, k.counters, key, o)
		c.report(r, o, Access{})
	} else {
		k.counters.bypasses.Inc()
	}
	if d.onlyIfCached {
		return nil, request.Errorf(request.ProblemOnlyIfCached, "nothing usable is stored and the request says only-if-cached; ask again without it")
	}
	return c.forward(k)
}

// answer serves what the store has; nil: it can't be read.
func (c *Cache) answer(ctx context.Context, r *request.Request, key string, e *entry, use wants, now time.Time, o *Options, d *directives) *request.Response {
	if use == useFresh {
		resp := c.hit(r, e, now, o, request.CacheStatus{Hit: true})
		if resp == nil {
			c.purgeKey(key)
		} else if e.used(now) {
			c.look(&call{ctx: ctx, r: r, d: *d, q: questionOf(r, o.Enabled, d), o: o, key: key, stale: e})
		}
		return resp
	}
	resp := c.hit(r, e, now, o, request.CacheStatus{Hit: true, Detail: "served-stale-while-revalidating"})
	if resp == nil {
		c.purgeKey(key)
		return nil
	}
	e.used(now)
	c.refresh(&call{ctx: ctx, r: r, d: *d, q: questionOf(r, o.Enabled, d), o: o, key: key, stale: e})
	return resp
}

// hit serves e and counts it.
func (c *Cache) hit(r *request.Request, e *entry, now time.Time, o *Options, status request.CacheStatus) *request.Response {
	resp := c.serve(r, e, now, status)
	if resp == nil {
		return nil
	}
	if e.heat != nil && !e.heat.asked.Load() {
		e.heat.asked.Store(true)
	}
	if e.sampled && !r.Background {
		c.touched(e, c.storeKey(r), o)
	}
	stale := resp.Cache.TTL <= 0
	if !stale && !r.Background && r.Method == http.MethodGet && e.heat.due(e.lifetime, resp.Cache.Age, o.RefreshAhead) {
		c.ahead(r, e, o)
	}
	if stale {
		e.counters.staleHits.Inc()
	} else {
		e.counters.hits.Inc()
	}
	if o.OnAccess != nil {
		c.report(r, o, Access{Hit: true, Stale: stale, ExpiresAt: time.Unix(0, e.birth).Add(e.lifetime), Bytes: e.size})
	}
	return resp
}

func (c *Cache) report(r *request.Request, o *Options, a Access) {
	if o.OnAccess == nil {
		return
	}
	a.Request, a.Key, a.Tenant, a.Prefetch = r, r.Key, r.Tenant, r.Background
	a.Route, a.Upstream = r.Route.Name, r.Route.Upstream
	o.OnAccess(a)
}

// find returns the stored entry for r, nil if there is none, and what it is good for.
func (c *Cache) find(key string, r *request.Request, d *directives, now time.Time) (*entry, wants) {
	rec := c.store.get(key)
	if rec == nil {
		return nil, mustValidate
	}
	e := rec.find(r.Header)
	if e == nil {
		return nil, mustValidate
	}
	return e, assess(e, d, e.age(now))
}

// reason is RFC 9211's word for why a request is forwarded.
func (c *Cache) reason(key string, e *entry, now time.Time) string {
	switch {
	case e != nil && e.age(now) < e.lifetime:
		return "request"
	case e != nil:
		return "stale"
	case c.store.get(key) != nil:
		return "vary-miss"
	}
	return "miss"
}

// cacheable reports whether r can be cached or coalesced at all. POST can where an operator
// declared a route for it with a TTL: the key then covers the params of the body.
func cacheable(r *request.Request) bool {
	if r.Key == "" || r.Stream != nil {
		return false
	}
	proxied := r.Route.Name == request.ProxyRoute
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return !proxied || len(r.Data) == 0
	case http.MethodPost:
		return !proxied && r.Route.Cache.Mode == request.CacheTTL
	}
	return false
}

// partial reports whether the request is for a part, or for one certain state, of the answer.
func partial(h http.Header) bool {
	return len(h["Range"]) > 0 || len(h["If-Range"]) > 0 || len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
}

func conditional(h http.Header) bool {
	return len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
}

// storeKey is the key in the store. Under CacheTTL the upstream has no say in what may be shared,
// so what is answered to one set of credentials is kept for these alone.
func (c *Cache) storeKey(r *request.Request) string {
	if r.Route.Cache.Mode != request.CacheTTL || len(r.Header["Authorization"])+len(r.Header["Cookie"]) == 0 {
		return r.Key
	}
	c.split.Store(true)
	return r.Key + credentialMark + credentials(r.Header)
}

// credentialMark parts a key from credentials; a request's key has no such byte.
const credentialMark = "\x00"

// pass lets through what is not cacheable.
func (c *Cache) pass(ctx context.Context, r *request.Request, o *Options) (*request.Response, error) {
	fwd := "bypass"
	if !r.Safe() {
		fwd = "method"
	}
	c.bypassed(r)
	var resp *request.Response
	var err error
	if r.Stream != nil || r.Route.Cancels(r.Method) {
		r.Interim = nil // it would be called on a foreign goroutine
		if resp, err = c.next.Do(ctx, r); err == nil {
			resp.Cache = request.CacheStatus{Fwd: fwd}
		}
	} else {
		resp, err = c.alone(ctx, r, questionOf(r, o.Enabled, &directives{}), fwd)
	}
	if err == nil && !r.Safe() && resp.Status >= 200 && resp.Status < 400 {
		c.invalidate(r, resp.Header)
	}
	return resp, err
}

func (c *Cache) bypassed(r *request.Request) {
	c.counters.of(r.Route.Upstream, r.Route.Name).bypasses.Inc()
}

// start runs a flight on a goroutine of its own.
func (c *Cache) start(f *flight) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		f.fail(request.Errorf(request.ProblemShuttingDown, "the service is shutting down; ask again in a moment"))
		f.cancel(errClosed)
		return
	}
	c.flights.count.Add(1)
	c.tasks.Go(func() {
		defer c.flights.count.Add(-1)
		f.run()
	})
	c.mu.Unlock()
}

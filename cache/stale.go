package cache

import (
	"context"
	"errors"
	"time"

	"penstock/request"
)

// refresh has a stale entry fetched anew behind the client's back, once at a time.
//
// It is one step less urgent than the request it serves, and not background work: under load that
// would wait until the window has passed, and the next client would wait instead.
func (c *Cache) refresh(k *call) {
	key := flightKey(k.r.Method, k.key, k.r.Header, k.stale.vary)
	s := c.flights.shard(k.key)
	s.mu.Lock()
	if s.m[key] != nil {
		s.mu.Unlock()
		return
	}
	if e, use := c.find(k.key, k.r, &k.d, time.Now()); e == nil || use == useFresh {
		s.mu.Unlock()
		return
	}
	f := c.behind(k, key)
	f.req.SetUrgency(min(k.r.Urgency()+1, request.LeastUrgent))
	s.m[key] = f
	s.mu.Unlock()
	c.start(f)
}

// behind makes a flight that goes on behind the client's back until its answer is stored, to be listed
// under key.
func (c *Cache) behind(k *call, key string) *flight {
	f := c.newFlight(context.WithoutCancel(k.ctx), unsteered(k.r, k.stale), k.q, k.key, k.stale)
	f.req.Deadline = time.Time{}
	f.listed = key
	f.waiters[&waiter{ctx: context.Background(), header: k.r.Header, leader: true, keeper: true}] = struct{}{}
	return f
}

// rescue serves a stale copy in place of a failure: an error, or an upstream's status (RFC 5861,
// section 4). nil: there is none that may be used.
func (c *Cache) rescue(k *call, err error, status int) *request.Response {
	if !c.standsIn(k) || err != nil && !recoverable(err) {
		return nil
	}
	e, now := k.stale, time.Now()
	if rec := c.store.get(k.key); rec == nil || rec.find(k.r.Header) == nil {
		return nil // purged in the meantime
	}
	if status == 0 {
		if re, ok := errors.AsType[*request.Error](err); ok {
			status = re.Problem.Status()
		}
	}
	resp := c.serve(k.r, e, now, request.CacheStatus{Fwd: "stale", FwdStatus: status, Detail: "stale-if-error"})
	if resp != nil {
		k.counters.staleErrors.Inc()
	}
	return resp
}

// standsIn reports whether k has a stale copy that may be served in place of a failure now.
func (c *Cache) standsIn(k *call) bool {
	e := k.stale
	return e != nil && !e.strict && k.o.ErrorRecovery && !k.d.noStore && e.age(time.Now()) < e.lifetime+e.staleIfError
}

// heldBody is how much of a body must have come before its answer is given to a client for whom there is a copy that
// stands in for failures. More: more broken bodies are mended. Less: the first byte comes sooner.
const heldBody = 64 << 10

// awaitBody waits until an answer's body is whole, or long enough to be given on as it comes, or has
// broken off: then it gives the error.
func (c *Cache) awaitBody(ctx context.Context, resp *request.Response) error {
	r, ok := resp.Body.(*reader)
	if !ok || resp.ContentLength > heldBody || eventStream(resp.Header) {
		return nil
	}
	return r.b.awaitSize(ctx, heldBody)
}

// recoverable reports whether err is the upstream's failure, or ours to reach it, and not the
// client's.
func recoverable(err error) bool {
	if e, ok := errors.AsType[*request.Error](err); ok {
		return e.Problem.Status() >= 500
	}
	return !errors.Is(err, context.Canceled)
}

package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"penstock/request"
)

// maxJoins bounds how often a request joins flights that come to nothing for it.
const maxJoins = 3

// call is a cacheable request that the store could not answer.
type call struct {
	ctx context.Context
	r   *request.Request
	d   directives
	q   question
	o   *Options
	key string
	// useStore: the store may be read for it. stale is what it holds of use, nil if nothing.
	useStore bool
	stale    *entry
	fwd      string
	counters *routeCounters
}

// forward has the call made, or shares one.
func (c *Cache) forward(k *call) (*request.Response, error) {
	resp, err := c.tryForward(k)
	if err != nil {
		if rescued := c.rescue(k, err, 0); rescued != nil {
			return rescued, nil
		}
		return nil, err
	}
	var broken error
	if !failed(resp.Status) {
		if !c.standsIn(k) {
			return resp, nil
		}
		if broken = c.awaitBody(k.ctx, resp); broken == nil {
			return resp, nil
		}
	}
	if rescued := c.rescue(k, broken, resp.Status); rescued != nil {
		_ = resp.Body.Close()
		rescued.Timing = resp.Timing
		return rescued, nil
	}
	return resp, nil
}

// tryForward has the call made, unless its key is given a rest.
func (c *Cache) tryForward(k *call) (*request.Response, error) {
	if k.o.ErrorBackoff > 0 && k.q.stores() {
		if left := c.failing.resting(restKey(k.key, k.r), time.Now()); left > 0 {
			c.counters.rested.Inc()
			return nil, restFor(left)
		}
	}
	return c.share(k)
}

func (c *Cache) share(k *call) (*request.Response, error) {
	for range maxJoins {
		key := flightKey(k.r.Method, k.key, k.r.Header, c.varyOf(k.key, k.r))
		if c.memos.forbidden(key) || !c.worthWaiting(k) {
			break
		}
		f, w, hit := c.join(k, key)
		if hit != nil {
			return hit, nil
		}
		if w == nil {
			continue // the flight's answer is not for us; by now it is known why
		}
		resp, err := c.await(k, f, w)
		if resp != nil || err != nil {
			return resp, err
		}
		if f.err == nil && !f.verdict.share {
			break
		}
	}
	return c.solo(k)
}

// worthWaiting reports whether k should join others of its key. Where something is stored, or the route
// itself says what may be shared, there is nothing to guess.
func (c *Cache) worthWaiting(k *call) bool {
	return k.q.mode == request.CacheTTL || k.stale != nil || c.habits.worthWaiting(k.r)
}

// solo makes a call that nobody joins. Its answer may be stored all the same, and it asks whether
// what is stored is still right.
func (c *Cache) solo(k *call) (*request.Response, error) {
	if k.useStore && k.stale == nil {
		k.stale, _ = c.find(k.key, k.r, &k.d, time.Now())
	}
	w := &waiter{ctx: k.ctx, header: k.r.Header, leader: true}
	f := c.newFlight(k.ctx, k.r, k.q, k.key, k.stale)
	f.waiters[w] = struct{}{}
	if f.validates == nil { // the answer is for this client, so let it be what he asks for
		for _, name := range []string{"If-None-Match", "If-Modified-Since"} {
			if lines := k.r.Header[name]; len(lines) > 0 {
				f.req.Header[name] = lines
			}
		}
	}
	f.superseded = make(chan struct{})
	c.flights.listAlone(f)
	c.start(f)
	resp, err := c.await(k, f, w)
	if resp == nil && err == nil {
		err = request.Errorf(request.ProblemInternal, "a stored answer could not be read; ask again")
	}
	return resp, err
}

// await waits for a flight's answer to w.
func (c *Cache) await(k *call, f *flight, w *waiter) (*request.Response, error) {
	for superseded := f.superseded; ; superseded = nil {
		ready, err := f.wait(k.ctx, k.r, w, superseded)
		if err != nil {
			return nil, err
		}
		if ready {
			return c.collect(k, f, w)
		}
		if hit := c.overtaken(k); hit != nil {
			f.leave(w)
			return hit, nil
		}
	}
}

// overtaken is the answer that another call has brought for k by now, nil if it is not for k.
func (c *Cache) overtaken(k *call) *request.Response {
	if !k.useStore {
		return nil
	}
	now := time.Now()
	e, use := c.find(k.key, k.r, &k.d, now)
	if e == nil || use != useFresh {
		return nil
	}
	return c.hit(k.r, e, now, k.o, request.CacheStatus{Fwd: k.fwd, Collapsed: true})
}

// wait waits until f is ready, or superseded, and hands w's request the interim answers meanwhile. Its
// error says that the request ended first.
func (f *flight) wait(ctx context.Context, r *request.Request, w *waiter, superseded <-chan struct{}) (ready bool, err error) {
	var interims chan interim
	if w.leader && r.Interim != nil {
		interims = f.interim
	}
	for {
		select {
		case i := <-interims:
			r.Interim.WriteInterim(i.status, i.header)
		case <-f.ready:
			for { // those that came before the answer
				select {
				case i := <-interims:
					r.Interim.WriteInterim(i.status, i.header)
				default:
					return true, nil
				}
			}
		case <-superseded:
			return false, nil
		case <-ctx.Done():
			f.leave(w)
			return false, gone(ctx)
		}
	}
}

// varyOf are the selecting fields that answers to r, whose key that is, are known or likely to have.
func (c *Cache) varyOf(key string, r *request.Request) []string {
	if rec := c.store.get(key); rec != nil {
		return rec.variants[0].vary
	}
	if names, ok := c.memos.varyOf(key); ok {
		return names
	}
	return c.habits.varyOf(r)
}

// join finds the flight of that key or begins it. w is nil if the flight is not for us. hit is an
// answer that was stored in the meantime.
func (c *Cache) join(k *call, key string) (f *flight, w *waiter, hit *request.Response) {
	w = &waiter{ctx: k.ctx, header: k.r.Header}
	s := c.flights.shard(k.key)
	s.mu.Lock()
	if f = s.m[key]; f != nil {
		ok, dead := false, false
		if !(k.d.noCache && f.answered()) {
			ok, dead = f.add(w)
		}
		if !dead {
			s.mu.Unlock()
			if !ok {
				return f, nil, nil
			}
			promote(f.req, k.r)
			k.counters.joins.Inc()
			return f, w, nil
		}
	}
	if k.useStore {
		now := time.Now()
		if e, use := c.find(k.key, k.r, &k.d, now); use == useFresh && e != nil {
			s.mu.Unlock()
			return nil, nil, c.hit(k.r, e, now, k.o, request.CacheStatus{Hit: true})
		}
	}
	w.leader = true
	f = c.newFlight(k.ctx, k.r, k.q, k.key, k.stale)
	f.listed = key
	f.waiters[w] = struct{}{}
	s.m[key] = f
	s.mu.Unlock()
	c.start(f)
	return f, w, nil
}

// promote lets the flight's request count for what waits for it.
func promote(flight, r *request.Request) {
	if r.InBackground() {
		flight.Promote(r.Urgency())
		return
	}
	flight.Join(r.Urgency())
}

// collect makes w's answer from a flight that is ready. Neither answer nor error: the flight came
// to nothing for w, which is to try again.
func (c *Cache) collect(k *call, f *flight, w *waiter) (*request.Response, error) {
	if f.err != nil {
		f.leave(w)
		if !w.leader && leadersOwn(f.req, k.r, f.err) {
			return nil, nil
		}
		return nil, f.err
	}
	status := request.CacheStatus{Fwd: k.fwd, Collapsed: !w.leader}
	if f.renewed != nil {
		f.leave(w)
		if !f.admits(w) {
			return nil, nil
		}
		if f.second {
			status = request.CacheStatus{Hit: true, Collapsed: !w.leader, Detail: "second-level"}
		} else {
			status.FwdStatus, status.Stored, status.Lifetime = http.StatusNotModified, f.verdict.store, f.verdict.left()
		}
		resp := c.serve(k.r, f.renewed, time.Now(), status)
		if resp == nil {
			c.purgeKey(k.key)
			return nil, nil
		}
		resp.Timing = f.response.Timing
		return resp, nil
	}
	if w.reader == nil {
		return nil, nil
	}
	status.Stored, status.Lifetime = f.storable, f.verdict.left()
	return f.answerTo(k.r, w, status), nil
}

// answerTo is the response that w gets of its flight.
func (f *flight) answerTo(r *request.Request, w *waiter, status request.CacheStatus) *request.Response {
	from := f.response
	resp := &request.Response{
		Status: from.Status, Header: from.Header, Body: w.reader,
		ContentLength: from.ContentLength, Cache: status, Timing: from.Timing,
	}
	if f.key != "" && notModified(r.Header, from.Status, from.Header, false) {
		_ = w.reader.Close()
		resp.Status, resp.Header = http.StatusNotModified, notModifiedHeader(from.Header)
		resp.Body, resp.ContentLength = http.NoBody, 0
		resp.Cache.FwdStatus = from.Status
		return resp
	}
	if len(f.trailers) > 0 {
		resp.Trailer = make(http.Header, len(f.trailers))
		for _, name := range f.trailers {
			resp.Trailer[name] = nil
		}
		w.reader.trailer = resp.Trailer
	}
	return resp
}

// alone makes a call that nobody shares and that stores nothing. It still outlives its client if
// the route says so.
func (c *Cache) alone(ctx context.Context, r *request.Request, q question, fwd string) (*request.Response, error) {
	w := &waiter{ctx: ctx, header: r.Header, leader: true}
	f := c.newFlight(ctx, r, q, "", nil)
	f.waiters[w] = struct{}{}
	c.start(f)
	if _, err := f.wait(ctx, r, w, nil); err != nil {
		return nil, err
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.answerTo(r, w, request.CacheStatus{Fwd: fwd}), nil
}

// leadersOwn reports whether a flight failed for what its leader brought with it, so that r, which
// has more time, should not fail with it.
func leadersOwn(leader, r *request.Request, err error) bool {
	if errors.Is(err, errAbandoned) {
		return true
	}
	moreTime := !leader.Deadline.IsZero() && (r.Deadline.IsZero() || r.Deadline.After(leader.Deadline))
	e, ok := errors.AsType[*request.Error](err)
	if !ok {
		return moreTime && errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) && !errors.Is(err, errClosed)
	}
	switch e.Problem {
	case request.ProblemDeadline:
		return moreTime
	case request.ProblemReducedCapacity:
		return moreTime || leader.Background && !r.Background
	case request.ProblemClientClosed:
		return true
	}
	return false
}

// gone is the error of a request whose context ended.
func gone(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return request.Errorf(request.ProblemDeadline, "no answer came within the request's deadline; allow more time: %w", cause)
	}
	return request.Errorf(request.ProblemClientClosed, "the client went away: %w", cause)
}

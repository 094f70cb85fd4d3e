package preload

import (
	"time"

	"penstock/preload/learn"
	"penstock/request"
)

// event is something that the model is told of.
type event struct {
	kind eventKind
	key  uint64
	at   time.Time
	// asked
	request         *request.Request // the kept copy; nil: it can't be made again
	session, tenant uint64
	route           uint64
	strange         uint64 // see strangeness
	hit             bool
	until           time.Time // end of the copy that answered; zero: not known
	// answered
	kept    bool
	life    time.Duration
	own     uint64 // the request's kind
	latency time.Duration
	body    []byte // to be searched for ids; nil: not
	listing *listing
}

type eventKind uint8

const (
	asked eventKind = iota
	answered
	evicted
)

// Access is one request that a client made, as the cache saw it.
type Access struct {
	// Request is read before Observe returns and not kept.
	Request *request.Request
	// Hit: it is answered from the cache. ExpiresAt is when that copy ends; zero: not known.
	Hit       bool
	ExpiresAt time.Time
}

// tenantOf is the tenant under which a request is learned.
func (p *Preloader) tenantOf(r *request.Request) string {
	if r.Route != nil && r.Route.Preload.Shared {
		return ""
	}
	return r.Tenant
}

// allows reports whether a route is learned from and may be fetched ahead.
func allows(r *request.Route) bool { return r == nil || !r.Preload.Off }

// sessionOf names who asks, inside the tenant.
func (p *Preloader) sessionOf(r *request.Request) string {
	if v := r.Header[p.sessionHeader]; len(v) > 0 && v[0] != "" {
		return v[0]
	}
	return r.Client
}

// Observe takes an access. It never blocks.
func (p *Preloader) Observe(a Access) {
	r := a.Request
	if r == nil || r.Background || !p.o.Enabled.Get() || !prefetchable(r) || !allows(r.Route) {
		return
	}
	tenant := p.tenantOf(r)
	key := p.hash.key(tenant, r.Key)
	p.send(event{
		kind: asked, key: key, at: time.Now(), request: p.known.remember(key, r),
		session: p.hash.key(r.Tenant, p.sessionOf(r)), tenant: p.hash.key(tenant, ""), route: p.hash.route(r.Route),
		hit: a.Hit, until: a.ExpiresAt, strange: p.strangeness(r),
	})
}

// Evicted takes in that the cache let a copy go before its end. It never blocks.
func (p *Preloader) Evicted(tenant, key string) {
	if !p.o.Enabled.Get() {
		return
	}
	p.send(event{kind: evicted, key: p.hash.key(tenant, key), at: time.Now()})
	if tenant != "" { // its route may be shared, and known for all tenants
		p.send(event{kind: evicted, key: p.hash.key("", key), at: time.Now()})
	}
}

func (p *Preloader) send(e event) {
	select {
	case p.queue <- e:
	default:
		p.dropped.Add(1)
	}
}

// learn owns the model's time: it takes events as they come, and what the agenda brings.
func (p *Preloader) learn() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case e := <-p.queue:
			p.step(e)
		case e := <-p.bodies:
			p.step(e)
		case <-timer.C:
		}
		timer.Reset(p.due())
	}
}

// step takes in one event and starts the prefetches that follow from it.
func (p *Preloader) step(e event) {
	if e.body != nil {
		e.listing, e.body = readListing(e.body), nil // not under the lock
	}
	p.mu.Lock()
	now := p.clock(e.at)
	var wanted []job
	switch e.kind {
	case asked:
		wanted = p.askedFor(&e, now)
	case answered:
		wanted = p.answered(&e, now)
	case evicted:
		p.model.Evicted(e.key)
	}
	p.mu.Unlock()
	p.start(wanted)
}

// clock is the model's time: nanoseconds since the start, never less than before.
func (p *Preloader) clock(t time.Time) int64 {
	p.now = max(p.now, int64(t.Sub(p.begin))+1)
	return p.now
}

// askedFor is called with mu held.
func (p *Preloader) askedFor(e *event, now int64) []job {
	p.observed++
	floor := p.o.Threshold.Get()
	p.model.Govern(floor, p.o.BudgetRatio.Get(), p.o.MinPrecision)
	threshold := min(p.model.Governor().Threshold, 1)
	p.thresholds += threshold
	if threshold > floor+bindsBy {
		p.bounds++
	}
	route := p.routes.of(e.route, e.request)
	a := learn.Access{At: now, Key: e.key, Session: e.session, Group: e.tenant, Hit: e.hit, Latency: route.latency()}
	var list []hole
	if e.request != nil {
		p.strangers.note(p.asWhom(e.request), e.strange, e.at)
		list = holes(e.request)
		tenant := p.tenantOf(e.request)
		if h, n := number(list); h != nil {
			a.Family, a.Number = p.links.family(tenant, h, e.request), n
		}
		p.links.ask(e.session, tenant, list, e.request)
	}
	if e.hit && !e.until.IsZero() {
		p.model.Seen(e.key, now, int64(e.until.Sub(p.begin)))
	}
	if e.hit && e.request != nil {
		p.kinds.note(p.hash.kindOf(e.request), true, e.at)
	}
	wanted := p.jobs(p.model.Access(a), e.at)
	if p.links.listings.get(e.key) != nil {
		p.links.seen(e.session, e.key)
		if e.hit {
			wanted = append(wanted, p.named(e.key, now, e.at)...)
		}
	}
	return wanted
}

// answered is called with mu held.
func (p *Preloader) answered(e *event, now int64) []job {
	route := p.routes.of(e.route, e.request)
	route.took(e.latency)
	p.kinds.note(e.own, e.kept, e.at)
	if e.kept {
		p.model.Stored(e.key, now, now+int64(e.life))
	} else {
		p.model.Unkept(e.key, now+int64(pauseUnkept))
	}
	if e.listing == nil || e.request == nil {
		return nil
	}
	e.listing.shape = p.hash.shapeOf(e.request, holes(e.request))
	*p.links.listings.add(e.key, nil) = e.listing
	p.links.seen(e.session, e.key)
	return p.named(e.key, now, e.at)
}

// due makes what time brings and says when it will bring more.
func (p *Preloader) due() time.Duration {
	for {
		p.mu.Lock()
		at := time.Now()
		now := p.clock(at)
		next := p.model.Next()
		if next > now || !p.o.Enabled.Get() {
			p.mu.Unlock()
			if next == learn.Never || next <= now {
				return time.Minute
			}
			return max(time.Duration(next-now), time.Millisecond)
		}
		wanted := p.jobs(p.model.Due(now), at)
		p.mu.Unlock()
		p.start(wanted)
	}
}

// named offers what the ids in an answer name. It is called with mu held.
func (p *Preloader) named(key uint64, now int64, at time.Time) (wanted []job) {
	x := p.links.listings.get(key)
	if x == nil {
		return nil
	}
	r := p.known.get(key)
	if r == nil {
		return nil
	}
	tenant := p.tenantOf(r)
	targets := append(p.declared(*x, r, tenant), p.links.targets(*x, tenant)...)
	for _, t := range targets {
		route := t.route()
		cost := float32(1)
		if most := p.o.BatchMax(route); most > 1 {
			cost = 1 / float32(min(most, max(len(targets), 1)))
		}
		for _, q := range p.model.Offer(t.key, t.link, t.rank, cost, now) {
			made := p.known.get(q.Key)
			if made == nil {
				made = t.make()
			}
			wanted = p.job(wanted, q, made, at)
		}
	}
	return wanted
}

// jobs are the predictions that can be made. It is called with mu held.
func (p *Preloader) jobs(list []learn.Prediction, at time.Time) (wanted []job) {
	for _, q := range list {
		r := p.known.get(q.Key)
		if r == nil && q.Family != 0 {
			if f := p.links.families.get(q.Family); f != nil {
				r = (*f).make(formatNumber(q.Number))
			}
		}
		wanted = p.job(wanted, q, r, at)
	}
	return wanted
}

// asWhom names the tenant and upstream of a request.
func (p *Preloader) asWhom(r *request.Request) uint64 {
	return p.hash.joined(p.tenantOf(r), r.Route.Upstream, "", "")
}

// repeatable reports whether a request may be made for anybody of its tenant.
func (p *Preloader) repeatable(r *request.Request, at time.Time) bool {
	return prefetchable(r) && (p.strangeness(r) == 0 || !p.strangers.personal(p.asWhom(r), at))
}

// job adds the prefetch of a prediction, if it may be made now. It is called with mu held.
func (p *Preloader) job(wanted []job, q learn.Prediction, r *request.Request, at time.Time) []job {
	if r == nil || r.Route == nil || !p.repeatable(r, at) || !allows(r.Route) || !p.kinds.worthwhile(p.hash.kindOf(r), at) {
		return wanted
	}
	j := job{prediction: q, request: r, route: p.hash.route(r.Route)}
	if p.o.Fresh != nil {
		until, fresh := p.o.Fresh(r)
		renews := q.Source == learn.Refresh || q.Source == learn.Periodic
		switch {
		case fresh && !renews:
			p.model.Seen(q.Key, p.now, int64(until.Sub(p.begin)))
			return wanted
		case fresh:
			j.minFresh = until.Sub(at)
		}
	}
	p.wanted++
	if !p.o.Spare(r.Route.Upstream) {
		p.refused++
		return wanted
	}
	if len(p.slots) == cap(p.slots) {
		p.crowded++
		return wanted
	}
	p.slots <- struct{}{} // only senders hold mu, so there is room
	p.model.Issue(q, p.now)
	p.outstanding.issue(q.Key, j.route, p.now)
	p.routes.of(j.route, r).counts.Issued++
	return append(wanted, j)
}

package scheduler

import (
	"math/bits"
	"time"

	"penstock/request"
)

// estimateOf finds or makes the estimate of a route.
func (s *Scheduler) estimateOf(r *request.Route) *estimate {
	name := ""
	if r != nil {
		name = r.Name
	}
	e, ok := s.routes[name]
	if !ok {
		if len(s.routes) >= routesMax {
			return &s.all
		}
		e = new(estimate)
		s.routes[name] = e
	}
	return e
}

// costOf is the expected cost of a request in permit-seconds.
func (s *Scheduler) costOf(e *estimate) float64 {
	switch {
	case e.known():
		return max(e.item, minCost)
	case s.all.known():
		return max(s.all.item, minCost)
	}
	return firstGuess.Seconds()
}

// ahead is the cost queued ahead of it in its class. Its tenant's own requests ahead of it, and
// what the tenant has had in advance, are served at the tenant's share of the class; the others
// get at most what they have queued meanwhile.
func (s *Scheduler) ahead(it *item) float64 {
	c, f := &s.q.classes[it.class], it.flow
	own := 0.0
	if !c.newest {
		own = max(0, f.cost-it.cost)
	}
	debt := max(0, f.start-c.vtime)*f.weight + own
	return own + max(0, min(c.cost-f.cost, debt*(c.weight-f.weight)/f.weight))
}

// predict is how long a request waits that has cost queued ahead of it in its class.
func (s *Scheduler) predict(class uint8, cost float64, now time.Time) time.Duration {
	urgent, load := 0.0, 0.0 // queued ahead, and expected to come ahead
	for u := range s.q.classes[:class] {
		urgent += s.q.classes[u].cost
		load += s.demand[u].read(now)
	}
	mean, batch := s.meanCost(), max(1, s.meanBatch)
	calls := (urgent+cost)/mean/batch + 1
	permits := max(float64(s.opts.Workers.Get()), 1e-9)
	var tokens time.Duration
	for i := range s.windows {
		if s.windows[i].pace && s.quotas.Ahead {
			continue
		}
		if d, perSecond := s.likelyUntil(&s.windows[i], calls, now); d > 0 { // it will bind: no more permits are used than it feeds
			tokens = max(tokens, d)
			permits = min(permits, perSecond*mean*batch)
		}
	}
	tokens = max(tokens, s.predictQuota(class, calls, now))
	share := s.q.share * permits
	less := s.q.mask & ordinaryMask >> (class + 1) << (class + 1)
	capacity := permits - load - share*float64(bits.OnesCount16(less))
	wait := (urgent + cost) / max(capacity, 1e-9)
	if share > 0 && class != backgroundClass {
		wait = min(wait, (cost+mean)/share)
	}
	if s.inFlight >= s.opts.Workers.Get() {
		wait += s.all.call / (permits + 1)
	}
	return max(seconds(wait), tokens)
}

func (s *Scheduler) meanCost() float64 {
	sum, n := 0.0, 0
	for i := range s.q.classes {
		sum += s.q.classes[i].cost
		n += s.q.classes[i].all.n
	}
	if n == 0 {
		return s.costOf(&s.all)
	}
	return max(sum/float64(n), minCost)
}

// late reports whether it is predicted to miss its deadline.
func (s *Scheduler) late(it *item, now time.Time) bool {
	if it.deadline.IsZero() {
		return false
	}
	return s.predict(it.class, s.ahead(it), now) > it.deadline.Sub(now)-s.need(it, now)
}

// needOfTotal is the most of its whole allowance that a request can be required to have left.
const needOfTotal = 0.8

// need is how much time it must have left for its call. As long as all can be served, any chance
// will do. Under overload a call that is likely to come too late is served at the cost of another
// one: there it must have what such calls seldom exceed. Otherwise, with the queue just as long
// as deadlines allow, half of the calls would be in vain.
func (s *Scheduler) need(it *item, now time.Time) time.Duration {
	need := it.est.least()
	if _, interval := s.codelTimes(); now.Sub(s.shed) < interval {
		need = max(need, min(it.est.most(), needOfTotal*it.deadline.Sub(it.at).Seconds()))
	}
	return seconds(need)
}

// hopeless reports whether it is too late to send it now, while somebody else could use the
// permit.
func (s *Scheduler) hopeless(it *item, now time.Time) bool {
	return !it.deadline.IsZero() && s.q.count > 1 && it.deadline.Sub(now) < s.need(it, now)
}

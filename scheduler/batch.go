package scheduler

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"penstock/request"
)

// batch is requests that share one upstream call. While it waits for more members it stands in
// the scheduler's forming list and holds no permit.
type batch struct {
	group   *group
	members []*item
	weight  int
	until   time.Time // when it stops waiting
}

// size is how many members the batch aims at, given one of them.
func (s *Scheduler) size(p request.BatchPlan) int {
	n := max(1, p.Max)
	if k := s.opts.BatchTarget; k.Knob != nil && k.Get() > 0 {
		n = min(n, k.Get())
	}
	return max(1, min(n, s.fairBatch()))
}

// fairBatch is how many members a batch has when all that is queued and in flight is spread evenly
// over the permits that can be used. A batch that took more would leave the other permits to small
// ones, and the clients of a large batch come back all at once: a few large calls then alternate
// with idle permits. With a queue that never empties it grows to whatever is allowed.
func (s *Scheduler) fairBatch() int {
	permits := float64(s.opts.Workers.Get())
	for i := range s.windows { // more are not used than the rates feed
		if w := &s.windows[i]; !w.off && s.all.known() {
			permits = min(permits, w.perSecond()*s.all.call)
		}
	}
	return int(math.Ceil(float64(s.queued()+s.members) / max(1, permits)))
}

// fits reports whether it may join.
func (b *batch) fits(it *item) bool {
	return len(b.members) == 0 || it.plan.MaxWeight <= 0 || b.weight+it.plan.Weight <= it.plan.MaxWeight
}

func (s *Scheduler) addMember(b *batch, it *item, now time.Time) {
	s.q.take(it, now)
	it.forming, it.state = b, itemForming
	b.members = append(b.members, it)
	b.weight += it.plan.Weight
	s.nForming++
}

// form makes a batch around its leader, or has the leader join the one that is forming. It gives
// nil if the batch should linger.
func (s *Scheduler) form(leader *item, now time.Time) *batch {
	g := leader.group
	if b := g.forming; b != nil {
		if s.joinForming(leader, b, now) {
			return nil
		}
		s.removeForming(b)
		return b
	}
	b := &batch{group: g}
	g.forming = b
	linger := s.linger(leader, now)
	s.addMember(b, leader, now)
	s.gather(b, now)
	if linger > 0 && len(b.members) < s.size(leader.plan) {
		b.until = now.Add(linger)
		s.forming = append(s.forming, b)
		return nil
	}
	return b
}

// joinForming adds it to a forming batch if it fits; if not, the batch waits no longer.
func (s *Scheduler) joinForming(it *item, b *batch, now time.Time) bool {
	if it.state != itemQueued {
		return true
	}
	if len(b.members) >= s.size(it.plan) || !b.fits(it) {
		b.until = now
		return false
	}
	s.addMember(b, it, now)
	if !it.deadline.IsZero() {
		if last := it.deadline.Add(-seconds(it.est.most())); last.Before(b.until) {
			b.until = last
		}
	}
	return true
}

// dueBatch is a forming batch that waits no longer, else how long until one does.
func (s *Scheduler) dueBatch(now time.Time) (*batch, time.Duration) {
	var wait time.Duration
	for i := 0; i < len(s.forming); {
		b := s.forming[i]
		left := b.until.Sub(now)
		switch {
		case left > 0 && len(b.members) < s.size(b.members[0].plan):
			if wait == 0 || left < wait {
				wait = left
			}
			i++
		case s.purge(b, now):
			return b, 0
		}
	}
	return nil, wait
}

// purge drops the members of a forming batch whose clients have gone, and the batch with the
// last of them. It reports whether anybody is left.
func (s *Scheduler) purge(b *batch, now time.Time) bool {
	for i := len(b.members) - 1; i >= 0; i-- {
		if it := b.members[i]; it.ctx.Err() != nil {
			s.unform(it, now)
			s.finishRefused(it, reasonGone, 0)
		}
	}
	return len(b.members) > 0
}

// gather fills b from the queue: first what would be served next anyway, in that order, then the
// group's other members, the most urgent and oldest first. Each pays for itself.
func (s *Scheduler) gather(b *batch, now time.Time) {
	size := s.size(b.members[0].plan)
	for len(b.members) < size {
		it := s.q.next()
		if it == nil || it.group != b.group {
			it = b.group.oldestOf()
		}
		if it == nil {
			return
		}
		if !s.usable(it, now) {
			continue
		}
		if !b.fits(it) {
			return
		}
		s.addMember(b, it, now)
	}
}

// linger is how long the batch of leader should wait for more members. With k calls in flight
// that take S each, one of them ends about every S/k: a batch that waits that long costs its
// members little, and saves a permit if somebody is expected to join meanwhile.
func (s *Scheduler) linger(leader *item, now time.Time) time.Duration {
	k := s.opts.BatchLinger
	if k.Knob == nil || s.inFlight == 0 {
		return 0
	}
	d := min(k.Get(), seconds(leader.est.call/float64(max(1, s.opts.Workers.Get()))))
	if !leader.deadline.IsZero() {
		d = min(d, leader.deadline.Sub(now)-seconds(leader.est.most()))
	}
	if d <= 0 || leader.est.arrivals.read(now)*d.Seconds() < 1 {
		return 0
	}
	return d
}

// unform takes it out of the batch that it waits in, unserved.
func (s *Scheduler) unform(it *item, now time.Time) {
	b := it.forming
	for i, m := range b.members {
		if m == it {
			b.members = append(b.members[:i], b.members[i+1:]...)
			break
		}
	}
	b.weight -= it.plan.Weight
	s.nForming--
	s.q.settle(it.class, it.flow, it.cost, 0, now)
	it.forming, it.flow = nil, nil
	if len(b.members) == 0 {
		s.removeForming(b)
		b.group.forming = nil
		s.q.releaseGroup(b.group)
	}
}

func (s *Scheduler) removeForming(b *batch) {
	for i := range s.forming {
		if s.forming[i] == b {
			s.forming = append(s.forming[:i], s.forming[i+1:]...)
			return
		}
	}
}

// launch gives b its permit and sends it on its way.
func (s *Scheduler) launch(b *batch, now time.Time) {
	s.removeForming(b)
	s.gather(b, now)
	b.group.forming = nil
	s.q.releaseGroup(b.group)
	s.inFlight++
	n := len(b.members)
	s.nForming -= n
	s.members += n
	s.meanBatch += estimateGain * (float64(n) - s.meanBatch)
	for _, it := range b.members {
		s.mark(it, now)
	}
	if n == 1 { // it travels as any single request, under its own context
		it := b.members[0]
		it.forming = nil
		it.ready <- struct{}{}
		return
	}
	s.batching.Add(1)
	go s.runBatch(b, now)
}

// call is a batch under way. Its permit is given back when the bodies of all answers have ended.
type call struct {
	s       *Scheduler
	tickets []ticket
	healthy bool
	open    atomic.Int32 // bodies that have not ended, and one for the call itself
}

func (s *Scheduler) runBatch(b *batch, started time.Time) {
	defer s.batching.Done()
	c := &call{s: s, tickets: make([]ticket, len(b.members)), healthy: true}
	reqs := make([]*request.Request, len(b.members))
	for i, it := range b.members {
		reqs[i] = it.req
		c.tickets[i] = s.ticket(it)
		s.waited(it.req.Urgency(), c.tickets[i].wait)
	}
	c.open.Store(1)
	defer c.end()
	results := s.callBatch(reqs)
	for i := range b.members {
		resp := results[i].Response
		if resp == nil || results[i].Err != nil {
			c.healthy = false
			continue
		}
		c.healthy = c.healthy && healthy(resp)
		resp.Timing.Queue = c.tickets[i].wait
		if !inMemory(resp) {
			c.open.Add(1)
			resp.Body = watch(resp.Body, func(bool) { c.end() })
		}
	}
	s.deliver(b, results)
}

// callBatch calls next, and makes up for one that panics or gives too few results: the process
// and its other requests must not go down with one batch.
func (s *Scheduler) callBatch(reqs []*request.Request) (results []request.Result) {
	what := "gave too few results for a batch"
	defer func() {
		if p := recover(); p != nil {
			what = fmt.Sprintf("panicked: %v", p)
		}
		for len(results) < len(reqs) {
			results = append(results, request.Result{})
		}
		for i := range results {
			if results[i].Response == nil && results[i].Err == nil {
				results[i].Err = internalError(s.options.Load().Upstream, what)
			}
		}
	}()
	return s.next.DoBatch(s.base, reqs)
}

// deliver hands the results to the members, and drops those of members that have gone.
func (s *Scheduler) deliver(b *batch, results []request.Result) {
	var dropped []*request.Response
	s.mu.Lock()
	for i, it := range b.members {
		if it.state == itemGone {
			if r := results[i].Response; r != nil && r.Body != nil {
				dropped = append(dropped, r)
			}
			s.freeItem(it)
			continue
		}
		it.result, it.state = results[i], itemDone
		if it.result.Err != nil {
			it.result.Response = nil
		}
		it.ready <- struct{}{}
	}
	s.mu.Unlock()
	for _, r := range dropped {
		r.Body.Close()
	}
}

// end counts one end; the last one gives back the permit.
func (c *call) end() {
	if c.open.Add(-1) > 0 {
		return
	}
	s, now := c.s, time.Now()
	n := len(c.tickets)
	d := now.Sub(c.tickets[0].started)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.healthy {
		c.tickets[0].est.add(d, n)
		s.all.add(d, n)
	}
	s.inFlight--
	s.members -= n
	for _, t := range c.tickets {
		s.q.settle(t.class, t.flow, t.cost, max(d.Seconds()/float64(n), minCost), now)
	}
	s.dispatch(now)
}

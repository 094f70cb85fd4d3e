package scheduler

import (
	"math/bits"
	"time"

	"penstock/request"
)

const (
	classes         = request.Urgencies + 1
	backgroundClass = request.Urgencies // below all urgencies, without a guaranteed share
	ordinaryMask    = 1<<request.Urgencies - 1

	minCost = 1e-4 // seconds: below it, what counts is the dispatch itself
	freeMax = 4096 // free items, flows and groups kept for reuse, each
)

// queue orders requests. It is a plain data structure: no clock, no goroutines, no lock.
//
//   - The more urgent class first, chosen by a bit mask. A class passed over saves up share of
//     the cost of what is served instead; when its credit pays for its next request, that one
//     goes first. So a class that is never empty gets at least its share.
//   - Inside a class, start-time fair queueing between tenants (Goyal, Vin and Cheng 1996): the
//     tenant with the least start tag is served, and its tag moves on by cost/weight.
//   - Inside a tenant, oldest first; while the class is overloaded, newest first for three turns
//     of four.
type queue struct {
	share   float64 // guaranteed to each class, 0..1/8
	mask    uint16  // bit c: class c has something queued
	classes [classes]class
	count   int
	seq     uint64
	groups  map[string]*group

	freeFlows   *flow
	nFreeFlows  int
	freeGroups  *group
	nFreeGroups int
}

// group is the queued requests that may share a call.
type group struct {
	key      string
	lists    [classes]itemList
	count    int
	forming  *batch // the batch that waits for more members, nil if none
	nextFree *group
}

func (q *queue) init(share float64) {
	q.share = share
	q.groups = make(map[string]*group)
	for i := range q.classes {
		c := &q.classes[i]
		c.flows = make(map[string]*flow)
		c.order.kind, c.fat.kind = byStart, byFat
	}
}

// push queues it at it.class, paid for by tenant. O(log tenants).
func (q *queue) push(it *item, tenant string, now time.Time) {
	c := &q.classes[it.class]
	f := q.flowOf(c, tenant, now)
	if f.weight != it.weight {
		if f.items.n > 0 {
			c.weight += it.weight - f.weight
		}
		f.weight = it.weight
	}
	it.flow, it.state = f, itemQueued
	f.items.add(it, inFlow)
	f.cost += it.cost
	if f.items.n == 1 {
		q.activate(c, f, now)
	} else {
		c.fat.fix(f)
	}
	c.all.add(it, inClass)
	c.cost += it.cost
	q.mask |= 1 << it.class
	q.count++
	if it.plan.Group != "" {
		q.join(it)
	}
}

// unlink takes it out of all lists.
func (q *queue) unlink(it *item, now time.Time) {
	c, f := &q.classes[it.class], it.flow
	q.count--
	c.all.remove(it, inClass)
	f.items.remove(it, inFlow)
	c.cost -= it.cost
	f.cost -= it.cost
	if f.items.n == 0 {
		q.deactivate(c, f, now)
	} else {
		c.fat.fix(f)
	}
	if c.all.n == 0 {
		q.mask &^= 1 << it.class
		c.credit, c.cost, c.weight = 0, 0, 0 // the sums lose their rounding errors, too
		c.newest, c.codel = false, codel{}
	}
	if it.group != nil {
		q.leave(it)
	}
}

// remove takes it out unserved; nobody pays. O(log tenants).
func (q *queue) remove(it *item, now time.Time) {
	q.unlink(it, now)
	it.flow = nil
}

// promote moves it to a more urgent class. O(log tenants).
func (q *queue) promote(it *item, class uint8, now time.Time) {
	tenant := it.flow.tenant
	q.remove(it, now)
	it.class = class
	q.push(it, tenant, now)
}

// next is the request to serve next, nil if the queue is empty. It changes nothing.
func (q *queue) next() *item {
	m := q.mask & ordinaryMask
	if m == 0 {
		return q.classes[backgroundClass].head()
	}
	best := bits.TrailingZeros16(m)
	head := q.classes[best].head()
	credit := 0.0
	for rest := m & (m - 1); rest != 0; rest &= rest - 1 {
		c := &q.classes[bits.TrailingZeros16(rest)]
		if c.credit <= credit {
			continue
		}
		if h := c.head(); c.credit >= h.cost {
			head, credit = h, c.credit
		}
	}
	return head
}

// take takes it out as served: its tenant and its class pay. It need not be the next one: the
// members of a batch are taken out of turn. The flow is kept until settle.
func (q *queue) take(it *item, now time.Time) {
	c, f := &q.classes[it.class], it.flow
	c.turn++
	if c.order.top() == f {
		c.vtime = max(c.vtime, f.start)
	}
	f.start += it.cost / f.weight
	f.inFlight++
	if it.class != backgroundClass {
		for m := q.mask & ordinaryMask; m != 0; m &= m - 1 {
			q.classes[bits.TrailingZeros16(m)].credit += q.share * it.cost
		}
		c.credit = max(0, c.credit-it.cost)
	}
	if f.items.n > 1 {
		c.order.fix(f)
	}
	q.unlink(it, now)
}

// settle ends what take began: the tenant pays actual instead of the estimated cost.
func (q *queue) settle(class uint8, f *flow, estimated, actual float64, now time.Time) {
	c := &q.classes[class]
	f.inFlight--
	f.start += (actual - estimated) / f.weight
	if f.items.n > 0 {
		c.order.fix(f)
		return
	}
	q.rest(c, f, now)
}

// protected is how many requests of one class a full queue keeps for it out of its share.
func (q *queue) protected(limit int) int { return int(q.share * float64(limit)) }

// victim is the request that gives way when the queue is over limit: of the least urgent class
// that holds more than its protected part, the newest request of the tenant with the most queued
// cost for its weight. Between equals, arrival gives way itself.
func (q *queue) victim(arrival *item, limit int) *item {
	keep := q.protected(limit)
	for m := q.mask; m != 0; {
		u := bits.Len16(m) - 1
		m &^= 1 << u
		c := &q.classes[u]
		if u != backgroundClass && c.all.n <= keep {
			continue
		}
		fattest := c.fat.top()
		if int(arrival.class) == u && fattest.fatness() <= arrival.flow.fatness() {
			return arrival
		}
		return fattest.items.tail
	}
	return arrival
}

// join puts it into the list of its batch group.
func (q *queue) join(it *item) {
	g, ok := q.groups[it.plan.Group]
	if !ok {
		g = q.freeGroups
		if g != nil {
			q.freeGroups, g.nextFree = g.nextFree, nil
			q.nFreeGroups--
		} else {
			g = new(group)
		}
		g.key = it.plan.Group
		q.groups[g.key] = g
	}
	it.group = g
	g.lists[it.class].add(it, inGroup)
	g.count++
}

func (q *queue) leave(it *item) {
	g := it.group
	it.group = nil
	g.lists[it.class].remove(it, inGroup)
	g.count--
	q.releaseGroup(g)
}

// releaseGroup frees a group that holds nothing.
func (q *queue) releaseGroup(g *group) {
	if g.count > 0 || g.forming != nil {
		return
	}
	delete(q.groups, g.key)
	if q.nFreeGroups < freeMax {
		g.key = ""
		g.nextFree, q.freeGroups = q.freeGroups, g
		q.nFreeGroups++
	}
}

// oldestOf is the oldest queued request of the group's most urgent class, nil if none.
func (g *group) oldestOf() *item {
	for i := range g.lists {
		if it := g.lists[i].head; it != nil {
			return it
		}
	}
	return nil
}

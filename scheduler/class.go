package scheduler

import "time"

const (
	// idleMemory is how long a tenant with nothing queued or in flight is remembered.
	idleMemory = 10 * time.Second
	// idleMax bounds how many such tenants one urgency remembers.
	idleMax = 1024
)

// class is one urgency, or the background: the start-time fair queue between its tenants.
type class struct {
	flows  map[string]*flow // active, in flight and remembered ones
	order  flowHeap
	fat    flowHeap
	all    itemList
	vtime  float64 // start tag of what was served last
	credit float64 // permit-seconds saved up of the guaranteed share
	cost   float64 // queued permit-seconds
	weight float64 // sum over the tenants that have something queued
	idle   flowList
	codel  codel

	// newest: each tenant's newest request goes first, because the standing queue is so old
	// that its head is likely to have given up.
	newest bool
	turn   uint8 // counts what is served
}

// oldestTurns: even newest first, one turn in so many is the oldest's. Without it, one that set no
// deadline and never gives up could wait for ever under a steady overload.
const oldestTurns = 4

// head is the request that the class would serve next, nil if none.
func (c *class) head() *item {
	f := c.order.top()
	if f == nil {
		return nil
	}
	if c.newest && c.turn%oldestTurns != 0 {
		return f.items.tail
	}
	return f.items.head
}

// flowOf finds or makes the tenant's flow.
func (q *queue) flowOf(c *class, tenant string, now time.Time) *flow {
	q.forget(c, now)
	if f, ok := c.flows[tenant]; ok {
		return f
	}
	f := q.freeFlows
	if f != nil {
		q.freeFlows = f.idleNext
		q.nFreeFlows--
		*f = flow{}
	} else {
		f = new(flow)
	}
	f.tenant, f.weight, f.start, f.pos = tenant, 1, c.vtime, [2]int{-1, -1}
	c.flows[tenant] = f
	return f
}

// activate puts a flow that has got its first request into the heaps. Idle time earns no credit:
// the flow starts no earlier than the class's virtual time.
func (q *queue) activate(c *class, f *flow, now time.Time) {
	if f.idle {
		c.idle.remove(f)
		f.idle = false
		if now.Sub(f.idleSince) >= idleMemory {
			f.start = 0
		}
	}
	f.start = max(f.start, c.vtime)
	q.seq++
	f.seq = q.seq
	c.weight += f.weight
	c.order.push(f)
	c.fat.push(f)
}

// deactivate takes a flow without requests out of the heaps.
func (q *queue) deactivate(c *class, f *flow, now time.Time) {
	c.order.remove(f)
	c.fat.remove(f)
	c.weight -= f.weight
	f.cost = 0
	q.rest(c, f, now)
}

// rest remembers a flow that has neither queued nor in flight requests, unless that would tell
// nothing: a finish tag in the past is the same as none.
func (q *queue) rest(c *class, f *flow, now time.Time) {
	if f.items.n > 0 || f.inFlight > 0 || f.idle {
		return
	}
	if f.start <= c.vtime {
		q.freeFlow(c, f)
		return
	}
	f.idle, f.idleSince = true, now
	c.idle.add(f)
	if c.idle.n > idleMax {
		q.dropIdle(c, c.idle.head)
	}
}

// forget drops the longest idle flows that are out of memory. A call drops at most two, so that
// no call pays for many.
func (q *queue) forget(c *class, now time.Time) {
	for range 2 {
		f := c.idle.head
		if f == nil || f.start > c.vtime && now.Sub(f.idleSince) < idleMemory {
			return
		}
		q.dropIdle(c, f)
	}
}

func (q *queue) dropIdle(c *class, f *flow) {
	c.idle.remove(f)
	f.idle = false
	q.freeFlow(c, f)
}

func (q *queue) freeFlow(c *class, f *flow) {
	delete(c.flows, f.tenant)
	if q.nFreeFlows >= freeMax {
		return
	}
	f.tenant = ""
	f.idleNext, q.freeFlows = q.freeFlows, f
	q.nFreeFlows++
}

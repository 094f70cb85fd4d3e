package jobs

import (
	"container/heap"
	"time"

	"penstock/request"
)

// backlog holds the jobs that wait: those that are due, by urgency and tenant, and those that are not
// due yet, by time. What changed meanwhile (a cancelled job) stays until it is met, and is passed over
// then. Not safe for concurrent use.
type backlog struct {
	classes [request.LeastUrgent + 1]class
	later   timeline
	picks   uint64
	ready   int
}

// class is the due jobs of one urgency: the tenants in turn, each first come first served.
type class struct {
	tenants map[string]*lane
	turn    []*lane // those with jobs, in order of their turn
	served  uint64  // the pick that last came here
}

// lane is the due jobs of a tenant; those before head are taken.
type lane struct {
	tenant string
	jobs   []place
	head   int
}

// place is a job's place in the backlog. It counts as long as the job is as it was when it got it.
type place struct {
	e        *entry
	revision uint64
	runAt    time.Time
}

func (p place) live() bool { return p.e.revision == p.revision && p.e.state == Queued }

// fairPick is how often the class that was not served for the longest time has its turn.
const fairPick = 16

// add puts a queued job where it belongs at now.
func (b *backlog) add(e *entry, now time.Time) { b.put(place{e, e.revision, e.runAt}, now) }

func (b *backlog) put(p place, now time.Time) {
	if p.runAt.After(now) {
		heap.Push(&b.later, p)
		return
	}
	e := p.e
	c := &b.classes[min(e.urgency, request.LeastUrgent)]
	if c.tenants == nil {
		c.tenants = make(map[string]*lane)
	}
	l := c.tenants[e.tenant]
	if l == nil {
		l = &lane{tenant: e.tenant}
		c.tenants[e.tenant] = l
		c.turn = append(c.turn, l)
	}
	if l.head > 1024 && l.head > len(l.jobs)/2 {
		l.jobs, l.head = append([]place(nil), l.jobs[l.head:]...), 0
	}
	l.jobs = append(l.jobs, p)
	b.ready++
}

// due moves what became due at now, and returns when the next does; zero: never.
func (b *backlog) due(now time.Time) time.Time {
	for len(b.later) > 0 {
		p := b.later[0]
		if p.runAt.After(now) {
			return p.runAt
		}
		heap.Pop(&b.later)
		b.put(p, now)
	}
	return time.Time{}
}

// next takes out the job whose turn it is; nil: none is due.
func (b *backlog) next() *entry {
	for b.ready > 0 {
		c := b.pick()
		l := c.turn[0]
		p := l.jobs[l.head]
		l.jobs[l.head] = place{}
		l.head++
		b.ready--
		c.turn = c.turn[1:]
		if l.head < len(l.jobs) {
			c.turn = append(c.turn, l)
		} else {
			delete(c.tenants, l.tenant)
		}
		if p.live() {
			b.picks++
			c.served = b.picks
			return p.e
		}
	}
	return nil
}

// pick is the class whose turn it is. There is one.
func (b *backlog) pick() *class {
	var first, oldest *class
	for i := range b.classes {
		c := &b.classes[i]
		if len(c.turn) == 0 {
			continue
		}
		if first == nil {
			first = c
		}
		if oldest == nil || c.served < oldest.served {
			oldest = c
		}
	}
	if (b.picks+1)%fairPick == 0 {
		return oldest
	}
	return first
}

// timeline is a heap of places by the time at which they are due.
type timeline []place

func (t timeline) Len() int           { return len(t) }
func (t timeline) Less(i, j int) bool { return t[i].runAt.Before(t[j].runAt) }
func (t timeline) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timeline) Push(x any) { *t = append(*t, x.(place)) }

// Pop implements heap.Interface.
func (t *timeline) Pop() any {
	old := *t
	p := old[len(old)-1]
	old[len(old)-1] = place{}
	*t = old[:len(old)-1]
	return p
}

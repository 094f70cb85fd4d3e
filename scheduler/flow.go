package scheduler

import "time"

// flow is one tenant inside one urgency. Its start tag is the virtual time at which its next
// request is due; while it has nothing queued, the tag is the finish tag of what it had.
type flow struct {
	tenant   string
	weight   float64
	start    float64 // virtual time: permit-seconds per weight
	seq      uint64  // breaks ties by who became active first
	items    itemList
	cost     float64 // queued permit-seconds
	inFlight int     // requests that were dispatched and will be settled
	pos      [2]int  // places in the heaps, -1: not in it

	idle               bool // in the class's idle list
	idleSince          time.Time
	idlePrev, idleNext *flow // also the free list, by idleNext
}

// fatness orders tenants by what they have queued for their weight.
func (f *flow) fatness() float64 { return f.cost / f.weight }

// The heaps that a flow is in while it has something queued.
const (
	byStart = iota // least start tag first: who is served next
	byFat          // most queued cost for its weight first: who gives way
)

// flowHeap is an indexed binary heap of flows.
type flowHeap struct {
	kind  int
	flows []*flow
}

func (h *flowHeap) before(a, b *flow) bool {
	x, y := a.start, b.start
	if h.kind == byFat {
		x, y = b.fatness(), a.fatness()
	}
	if x != y {
		return x < y
	}
	return a.seq < b.seq
}

func (h *flowHeap) top() *flow {
	if len(h.flows) == 0 {
		return nil
	}
	return h.flows[0]
}

func (h *flowHeap) push(f *flow) {
	f.pos[h.kind] = len(h.flows)
	h.flows = append(h.flows, f)
	h.up(f.pos[h.kind])
}

func (h *flowHeap) remove(f *flow) {
	i, last := f.pos[h.kind], len(h.flows)-1
	h.swap(i, last)
	h.flows[last] = nil
	h.flows = h.flows[:last]
	f.pos[h.kind] = -1
	if i < last {
		h.fix(h.flows[i])
	}
}

// fix restores the order after f changed.
func (h *flowHeap) fix(f *flow) {
	if i := f.pos[h.kind]; !h.up(i) {
		h.down(i)
	}
}

func (h *flowHeap) swap(i, j int) {
	h.flows[i], h.flows[j] = h.flows[j], h.flows[i]
	h.flows[i].pos[h.kind], h.flows[j].pos[h.kind] = i, j
}

func (h *flowHeap) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(h.flows[i], h.flows[parent]) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *flowHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.flows); child++ {
			if h.before(h.flows[child], h.flows[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// flowList is the list of idle flows, longest idle first.
type flowList struct {
	head, tail *flow
	n          int
}

func (l *flowList) add(f *flow) {
	f.idlePrev, f.idleNext = l.tail, nil
	if l.tail != nil {
		l.tail.idleNext = f
	} else {
		l.head = f
	}
	l.tail = f
	l.n++
}

func (l *flowList) remove(f *flow) {
	if f.idlePrev != nil {
		f.idlePrev.idleNext = f.idleNext
	} else {
		l.head = f.idleNext
	}
	if f.idleNext != nil {
		f.idleNext.idlePrev = f.idlePrev
	} else {
		l.tail = f.idlePrev
	}
	f.idlePrev, f.idleNext = nil, nil
	l.n--
}

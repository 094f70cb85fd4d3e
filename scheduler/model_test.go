package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// model is the queue again, slow and plainly correct: one slice of requests, scanned for every
// question.
type model struct {
	share  float64
	items  []*modelItem
	flows  map[flowKey]*modelFlow
	vtime  [classes]float64
	credit [classes]float64
	newest [classes]bool
	turns  [classes]int
	order  int // of arrival in a flow
	seq    int // of activation of flows
}

type flowKey struct {
	class  uint8
	tenant string
}

type modelFlow struct {
	weight, start float64
	seq           int
	inFlight      int
	idleSince     time.Time // when it last had neither queued nor in flight
	known         bool      // it was used before
}

type modelItem struct {
	id     int
	class  uint8
	tenant string
	group  string
	cost   float64
	order  int
}

func newModel(share float64) *model {
	return &model{share: share, flows: make(map[flowKey]*modelFlow)}
}

func (m *model) flow(it *modelItem) *modelFlow {
	k := flowKey{it.class, it.tenant}
	if m.flows[k] == nil {
		m.flows[k] = &modelFlow{weight: 1}
	}
	return m.flows[k]
}

// of gives the items that f holds for.
func (m *model) of(f func(*modelItem) bool) (found []*modelItem) {
	for _, it := range m.items {
		if f(it) {
			found = append(found, it)
		}
	}
	return found
}

func (m *model) inFlow(it *modelItem) []*modelItem {
	return m.of(func(o *modelItem) bool { return o.class == it.class && o.tenant == it.tenant })
}

func (m *model) inClass(c uint8) []*modelItem {
	return m.of(func(o *modelItem) bool { return o.class == c })
}

func (m *model) push(it *modelItem, weight float64, now time.Time) {
	f := m.flow(it)
	f.weight = weight
	if len(m.inFlow(it)) == 0 {
		if f.known && f.inFlight == 0 && now.Sub(f.idleSince) >= idleMemory {
			f.start = 0
		}
		f.start = max(f.start, m.vtime[it.class])
		m.seq++
		f.seq = m.seq
	}
	f.known = true
	m.order++
	it.order = m.order
	m.items = append(m.items, it)
}

func (m *model) drop(it *modelItem, now time.Time) {
	m.items = slices.DeleteFunc(m.items, func(o *modelItem) bool { return o == it })
	if len(m.inClass(it.class)) == 0 {
		m.credit[it.class], m.newest[it.class] = 0, false
	}
	m.flow(it).idleSince = now
}

func (m *model) promote(it *modelItem, class uint8, now time.Time) {
	weight := m.flow(it).weight
	m.drop(it, now)
	it.class = class
	m.push(it, weight, now)
}

// head is what class c would serve next.
func (m *model) head(c uint8) *modelItem {
	in := m.inClass(c)
	if len(in) == 0 {
		return nil
	}
	return slices.MinFunc(in, func(a, b *modelItem) int {
		fa, fb := m.flow(a), m.flow(b)
		byAge := cmp.Compare(a.order, b.order)
		if m.newest[c] && m.turns[c]%4 != 0 {
			byAge = -byAge
		}
		return cmp.Or(cmp.Compare(fa.start, fb.start), cmp.Compare(fa.seq, fb.seq), byAge)
	})
}

func (m *model) next() *modelItem {
	var head *modelItem
	credit := 0.0
	for c := range uint8(backgroundClass) {
		h := m.head(c)
		switch {
		case h == nil:
		case head == nil:
			head = h
		case m.credit[c] >= h.cost && m.credit[c] > credit:
			head, credit = h, m.credit[c]
		}
	}
	if head == nil {
		head = m.head(backgroundClass)
	}
	return head
}

func (m *model) take(it *modelItem, now time.Time) {
	f := m.flow(it)
	if h := m.head(it.class); h.tenant == it.tenant {
		m.vtime[it.class] = max(m.vtime[it.class], f.start)
	}
	m.turns[it.class]++
	f.start += it.cost / f.weight
	f.inFlight++
	if it.class != backgroundClass {
		for c := range uint8(backgroundClass) {
			if len(m.inClass(c)) > 0 {
				m.credit[c] += m.share * it.cost
			}
		}
		m.credit[it.class] = max(0, m.credit[it.class]-it.cost)
	}
	m.drop(it, now)
}

func (m *model) settle(it *modelItem, actual float64, now time.Time) {
	f := m.flow(it)
	f.inFlight--
	f.start += (actual - it.cost) / f.weight
	if len(m.inFlow(it)) == 0 {
		f.idleSince = now
	}
}

func (m *model) fatness(it *modelItem) float64 {
	sum := 0.0
	for _, o := range m.inFlow(it) {
		sum += o.cost
	}
	return sum / m.flow(it).weight
}

func (m *model) victim(arrival *modelItem, limit int) *modelItem {
	for c := backgroundClass; c >= 0; c-- {
		in := m.inClass(uint8(c))
		if len(in) == 0 || c != backgroundClass && len(in) <= int(m.share*float64(limit)) {
			continue
		}
		fattest := slices.MinFunc(in, func(a, b *modelItem) int {
			return cmp.Or(-cmp.Compare(m.fatness(a), m.fatness(b)), cmp.Compare(m.flow(a).seq, m.flow(b).seq),
				-cmp.Compare(a.order, b.order))
		})
		if int(arrival.class) == c && m.fatness(fattest) <= m.fatness(arrival) {
			return arrival
		}
		return fattest
	}
	return arrival
}

// oldestOf is the oldest member of a group in its most urgent class.
func (m *model) oldestOf(group string) *modelItem {
	in := m.of(func(o *modelItem) bool { return o.group == group })
	if len(in) == 0 {
		return nil
	}
	return slices.MinFunc(in, func(a, b *modelItem) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.order, b.order))
	})
}

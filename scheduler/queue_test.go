package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// duel drives the queue and the model alike and compares them after each step.
type duel struct {
	t      testing.TB
	q      queue
	m      *model
	now    time.Time
	limit  int
	next   int
	pairs  map[int]*pair // queued
	ids    []int         // of pairs, in order of arrival
	flying []*pair
}

type pair struct {
	it *item
	mi *modelItem
}

func newDuel(t testing.TB) *duel {
	d := &duel{t: t, m: newModel(1.0 / 32), now: time.Unix(1e9, 0), limit: 60, pairs: make(map[int]*pair)}
	d.q.init(1.0 / 32)
	return d
}

// step does one operation chosen by op with the numbers a and b. Costs and weights are powers of
// two, so that sums of floats are exact in any order.
func (d *duel) step(op, a, b byte) {
	switch op % 16 {
	case 0, 1, 2, 3, 4, 5:
		d.push(a, b)
	case 6, 7, 8:
		d.pop()
	case 9:
		if p := d.any(a); p != nil {
			d.q.remove(p.it, d.now)
			d.m.drop(p.mi, d.now)
			d.forget(p)
		}
	case 10:
		if p := d.any(a); p != nil && b%classes < p.it.class {
			d.q.promote(p.it, b%classes, d.now)
			d.m.promote(p.mi, b%classes, d.now)
		}
	case 11, 12:
		if len(d.flying) > 0 {
			i := int(a) % len(d.flying)
			p := d.flying[i]
			d.flying = append(d.flying[:i], d.flying[i+1:]...)
			actual := float64(b%32) / 16
			d.q.settle(p.mi.class, p.it.flow, p.it.cost, actual, d.now)
			d.m.settle(p.mi, actual, d.now)
		}
	case 13:
		d.limit = 1 + int(a)/2
	case 14:
		c := a % classes
		if len(d.m.inClass(c)) > 0 {
			d.m.newest[c] = b%2 == 0
			d.q.classes[c].newest = d.m.newest[c]
		}
	case 15:
		if p := d.any(a); p != nil && b%2 == 0 { // a batch takes it out of turn
			d.take(p)
		}
		d.now = d.now.Add(time.Duration(b) * 100 * time.Millisecond)
	}
	d.compare()
}

func (d *duel) push(a, b byte) {
	d.next++
	p := &pair{&item{}, &modelItem{}}
	tenant, weight := fmt.Sprint("t", a%16/2), float64(uint(1)<<(a%16/2%3))
	cost := 1 / float64(uint(1)<<(b/16%4))
	*p.mi = modelItem{id: d.next, class: b % classes, tenant: tenant, cost: cost}
	p.it.class, p.it.cost, p.it.weight = b%classes, cost, weight
	if a >= 128 {
		p.mi.group = fmt.Sprint("g", a/16%3)
		p.it.plan.Group = p.mi.group
	}
	d.pairs[d.next] = p
	d.ids = append(d.ids, d.next)
	d.q.push(p.it, tenant, d.now)
	d.m.push(p.mi, weight, d.now)
	if d.q.count > d.limit {
		got, want := d.q.victim(p.it, d.limit), d.m.victim(p.mi, d.limit)
		if d.pairs[want.id].it != got {
			d.t.Fatalf("the wrong request gave way; want number %d of class %d", want.id, want.class)
		}
		v := d.pairs[want.id]
		d.q.remove(v.it, d.now)
		d.m.drop(v.mi, d.now)
		d.forget(v)
	}
}

func (d *duel) pop() {
	if want := d.m.next(); want != nil {
		d.take(d.pairs[want.id])
	}
}

func (d *duel) take(p *pair) {
	d.q.take(p.it, d.now)
	d.m.take(p.mi, d.now)
	d.flying = append(d.flying, p)
	d.forget(p)
}

func (d *duel) any(a byte) *pair {
	if len(d.ids) == 0 {
		return nil
	}
	return d.pairs[d.ids[int(a)*len(d.ids)/256]]
}

func (d *duel) forget(p *pair) {
	delete(d.pairs, p.mi.id)
	for i, id := range d.ids {
		if id == p.mi.id {
			d.ids = append(d.ids[:i], d.ids[i+1:]...)
			return
		}
	}
}

func (d *duel) compare() {
	d.t.Helper()
	got, want := d.q.next(), d.m.next()
	if want == nil != (got == nil) || want != nil && d.pairs[want.id].it != got {
		d.t.Fatalf("next: the queue differs from the model, which has %+v", want)
	}
	for key, g := range d.q.groups {
		if want := d.m.oldestOf(key); want == nil || d.pairs[want.id].it != g.oldestOf() {
			d.t.Fatalf("group %s: the queue differs from the model, which has %+v", key, want)
		}
	}
	checkInvariants(d.t, &d.q)
	if d.q.count != len(d.m.items) {
		d.t.Fatalf("the queue has %d requests, the model %d", d.q.count, len(d.m.items))
	}
}

// checkInvariants checks all that must hold between two operations.
func checkInvariants(t testing.TB, q *queue) {
	t.Helper()
	total := 0
	for u := range q.classes {
		c := &q.classes[u]
		n, cost, weight := 0, 0.0, 0.0
		for i, f := range c.order.flows {
			if f.pos[byStart] != i || c.fat.flows[f.pos[byFat]] != f || c.flows[f.tenant] != f || f.idle {
				t.Fatalf("class %d: flow %q is misplaced", u, f.tenant)
			}
			if i > 0 && c.order.before(f, c.order.flows[(i-1)/2]) {
				t.Fatalf("class %d: the heap of start tags is out of order at %d", u, i)
			}
			sum, back := 0.0, (*item)(nil)
			for it := f.items.head; it != nil; back, it = it, it.links[inFlow].next {
				if it.links[inFlow].prev != back || it.flow != f {
					t.Fatalf("class %d: the list of %q is broken", u, f.tenant)
				}
				sum += it.cost
				n++
			}
			if f.items.n == 0 || math.Abs(sum-f.cost) > 1e-6 {
				t.Fatalf("class %d: flow %q has %d requests of cost %v, and says %v", u, f.tenant, f.items.n, sum, f.cost)
			}
			cost, weight = cost+sum, weight+f.weight
		}
		for i, f := range c.fat.flows {
			if i > 0 && c.fat.before(f, c.fat.flows[(i-1)/2]) {
				t.Fatalf("class %d: the heap of queued costs is out of order at %d", u, i)
			}
		}
		if n != c.all.n || len(c.fat.flows) != len(c.order.flows) || (q.mask>>u&1 == 1) != (n > 0) {
			t.Fatalf("class %d: counts differ: %d in flows, %d in the class, mask %b", u, n, c.all.n, q.mask)
		}
		if math.Abs(cost-c.cost) > 1e-6 || math.Abs(weight-c.weight) > 1e-6 || c.credit < 0 {
			t.Fatalf("class %d: cost %v and weight %v, says %v and %v; credit %v", u, cost, weight, c.cost, c.weight, c.credit)
		}
		for _, f := range c.flows {
			if f.items.n == 0 && f.inFlight == 0 && !f.idle {
				t.Fatalf("class %d: flow %q is kept for nothing", u, f.tenant)
			}
		}
		total += n
	}
	if total != q.count {
		t.Fatalf("%d requests in the classes, count is %d", total, q.count)
	}
}

func TestQueueBehavesAsTheModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			d := newDuel(t)
			for range 1500 {
				d.step(byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()))
			}
			for d.q.count > 0 {
				d.pop()
				d.compare()
			}
		})
	}
}

func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 3, 4, 6, 0, 0, 11, 0, 9})
	f.Add([]byte{0, 200, 8, 10, 0, 1, 15, 0, 0, 14, 1, 0, 6, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		d := newDuel(t)
		for ; len(ops) >= 3 && d.next < 500; ops = ops[3:] {
			d.step(ops[0], ops[1], ops[2])
		}
	})
}

func TestIdleTenantsAreForgotten(t *testing.T) {
	var q queue
	q.init(0)
	now := time.Unix(1e9, 0)
	for i := range 3 * idleMax {
		it := &item{class: 3, cost: 1, weight: 1}
		q.push(it, fmt.Sprint(i), now)
		q.take(it, now)
		q.settle(3, it.flow, 1, 1, now)
	}
	if n := len(q.classes[3].flows); n > idleMax {
		t.Errorf("%d tenants are remembered, more than %d", n, idleMax)
	}
	now = now.Add(idleMemory)
	for range idleMax {
		it := &item{class: 3, cost: 1, weight: 1}
		q.push(it, "x", now)
		q.remove(it, now)
	}
	if n := len(q.classes[3].flows); n > 1 {
		t.Errorf("%d tenants are remembered %v after their last request", n, idleMemory)
	}
}

func TestIdleTenantBanksNoCreditAndKeepsItsDebt(t *testing.T) {
	var q queue
	q.init(0)
	now := time.Unix(1e9, 0)
	serve := func(tenant string) {
		it := &item{class: 3, cost: 1, weight: 1}
		q.push(it, tenant, now)
		q.take(it, now)
		q.settle(3, it.flow, 1, 1, now)
	}
	order := func() (got string) {
		for it := q.next(); it != nil; it = q.next() {
			got += it.flow.tenant
			q.take(it, now)
			q.settle(3, it.flow, 1, 1, now)
		}
		return got
	}
	put := func(tenant string, n int) {
		for range n {
			q.push(&item{class: 3, cost: 1, weight: 1}, tenant, now)
		}
	}
	for range 50 {
		serve("a")
	}
	put("a", 4)
	put("b", 4)
	if got := order(); got != "babababa" {
		t.Errorf("served %s: b should take turns with a, and not catch up on its idle time", got)
	}
	serve("c")
	serve("c")
	now = now.Add(idleMemory / 2)
	put("c", 2)
	put("d", 2)
	if got := order(); got[0] != 'd' {
		t.Errorf("served %s: c had its turn a moment ago, d should go first", got)
	}
}

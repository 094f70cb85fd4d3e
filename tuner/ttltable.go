package tuner

import (
	"math"
	"sync/atomic"
	"time"
)

// TTLTable tells the cache how long an answer is fresh, key by key, without a lock. Its zero value knows
// nothing.
//
// It has two halves that change apart: the class of each key, and the TTL of each class. The second holds
// for one value of the knob: as soon as the knob is moved by anybody (a roll-back, a reload), all
// keys get the knob's value, until a new plan is made for it.
type TTLTable struct {
	keys atomic.Pointer[keyTable]
	plan atomic.Pointer[tablePlan]
}

// keyTable maps hashes to classes: each slot has a hash but for its low bits, which hold the class. Of two
// keys with one slot the last is known.
type keyTable struct {
	slots []atomic.Uint64
	mask  uint64
}

const classBits = 10 // classCount+1 <= 1<<classBits

type tablePlan struct {
	at      float64
	classes [classCount + 1]classTimes
}

type classTimes struct{ ttl, window time.Duration }

// Freshness returns how long an answer under a key, given by its hash, is fresh, and how long after that it
// may be used while it is renewed. value is the knob's, in seconds; ok is false if there is no plan for it.
func (t *TTLTable) Freshness(key uint64, value float64) (ttl, window time.Duration, ok bool) {
	p := t.plan.Load()
	if p == nil || p.at != value {
		return 0, 0, false
	}
	c := &p.classes[t.class(key)]
	return c.ttl, c.window, true
}

func (t *TTLTable) class(key uint64) classID {
	k := t.keys.Load()
	if k == nil {
		return newcomer
	}
	v := k.slots[(key>>classBits)&k.mask].Load()
	if v&^(1<<classBits-1) != key&^(1<<classBits-1) || v == 0 {
		return newcomer
	}
	return min(classID(v&(1<<classBits-1)), newcomer)
}

// assign enters the classes of all keys.
func (t *TTLTable) assign(keys []*ttlKey) {
	k := t.keys.Load()
	if size := tableSize(len(keys)); k == nil || len(k.slots) < size {
		k = &keyTable{slots: make([]atomic.Uint64, size), mask: uint64(size - 1)}
	}
	for _, key := range keys {
		h := key.hash
		k.slots[(h>>classBits)&k.mask].Store(h&^(1<<classBits-1) | uint64(key.class))
	}
	t.keys.Store(k)
}

// tableSize is a power of two, of which at most a quarter is used.
func tableSize(n int) int {
	size := 256
	for size < 4*n {
		size *= 2
	}
	return size
}

// publish puts a plan in force for a value of the knob; nil: none. A class that the plan does not know gets
// what the nearest one has, by the root rule.
func (t *TTLTable) publish(s *TTLState) {
	if len(s.Plan) == 0 {
		t.plan.Store(nil)
		return
	}
	p := &tablePlan{at: s.At}
	for id := range p.classes {
		c := s.classPlan(classID(id))
		p.classes[id] = classTimes{toTime(c.TTL), toTime(c.Window)}
	}
	t.plan.Store(p)
}

// classPlan is what a class gets under the plan.
func (s *TTLState) classPlan(id classID) classPlan {
	if c, ok := s.Plan[id]; ok {
		return c
	}
	if id == newcomer {
		return classPlan{TTL: s.At}
	}
	best, nearest, near, rise := classPlan{TTL: s.At}, newcomer, math.Inf(1), 0.0
	g, d := float64(id/demandCount), float64(id%demandCount)
	for o, c := range s.Plan {
		if o == newcomer {
			continue
		}
		dg, dd := g-float64(o/demandCount), d-float64(o%demandCount)
		if far := dg*dg + dd*dd; far < near || far == near && o < nearest {
			near, nearest, best, rise = far, o, c, dg*math.Ln10/ratesPerDecade+dd*math.Log(demandFactor)
		}
	}
	// Never much longer than what is known to be right for its like.
	best.TTL = min(max(best.TTL*math.Exp(-rise/2), min(leastTTL, best.TTL)), 2*best.TTL)
	return best
}

func toTime(seconds float64) time.Duration {
	return time.Duration(min(seconds, float64(math.MaxInt64)/2e9) * float64(time.Second))
}

package tuner

import (
	"math"
	"sort"
)

// classID numbers the classes of keys: rungs of change rate times steps of demand.
type classID uint16

const (
	demandCount  = 16
	slowestUse   = 1e-6 // requests a second
	demandFactor = 4
	classCount   = rateCount * demandCount
	// newcomer is the class of keys of which no plan was made yet.
	newcomer = classID(classCount)
)

// classOf is the class of keys with that mean rate and demand, both per second.
func classOf(rate, demand float64) classID {
	g := int(math.Round(ratesPerDecade * math.Log10(max(rate, slowestRate)/slowestRate)))
	d := int(math.Round(math.Log(max(demand, slowestUse)/slowestUse) / math.Log(demandFactor)))
	return classID(min(g, rateCount-1)*demandCount + min(d, demandCount-1))
}

// TTLClass are the keys of one class.
type TTLClass struct {
	ID   classID `json:"id"`
	Keys float64 `json:"keys"`
	// Demand is requests a second for one key, and Belief the mean of what is believed of their rates.
	Demand float64 `json:"demand"`
	Belief rates   `json:"belief"`
}

// ttlGoal is what a plan is to keep.
type ttlGoal struct {
	// stale is the share of stale answers among those from the cache, and most the same for any one class.
	stale, most float64
	// least and longest bound the TTLs, in seconds.
	least, longest float64
	// window is how long past its TTL a copy may still be used while it is renewed, at most; late is the most
	// probability that the content changed by its end.
	window, late float64
}

// classPlan is what a class gets, in seconds.
type classPlan struct {
	TTL    float64 `json:"ttl"`
	Window float64 `json:"window,omitempty"`
}

// ttlPlan is the allocation.
type ttlPlan struct {
	classes map[classID]classPlan
	// typical is the mean (geometric, by hits) of the TTLs, in seconds.
	typical float64
	// hits and calls are per second, stale the share of hits.
	hits, calls, stale float64
}

// option is a class with what it could get, worked out as it is asked for.
type option struct {
	class  *TTLClass
	goal   *ttlGoal
	lo, hi int
	// late is the highest level at which a copy has changed with at most the probability goal.late.
	late int
	best int
	seen [levelCount]offer
}

// offer is what one level comes to: hits a second, and their stale share.
type offer struct {
	known               bool
	hits, stale, window float64
}

// planTTLs gives each class its TTL so that the calls are fewest while the share of stale answers over
// all keys is at most goal.stale. A key with demand m is fetched 1/(T + 1/m) times a second, and of its
// hits the share 1-(1-exp(-l*T))/(l*T) is stale. The Lagrangian of that splits: for one multiplier mu, each
// class takes the T with the greatest
//
//	hits(T) * (1 - mu*stale(T)),
//
// and mu is found by halving. While l*T is small and m*T large, the answer is T in proportion to
// 1/sqrt(m*l): what is asked for often, or changes often, gets less, but by the root only.
//
// Where copies are used past their TTL while they are renewed, that counts too. It saves no calls, but hides
// their time; so the windows are as long as they may be while the rest can make up for them.
func planTTLs(classes []TTLClass, goal ttlGoal) ttlPlan {
	if goal.window <= 0 {
		return allocateAll(classes, goal)
	}
	for _, late := range []float64{4, 2} {
		goal.late = min(late*goal.stale, goal.most)
		if p := allocateAll(classes, goal); p.stale <= goal.stale {
			return p
		}
	}
	goal.late = goal.stale
	return allocateAll(classes, goal)
}

func allocateAll(classes []TTLClass, goal ttlGoal) ttlPlan {
	options := make([]option, len(classes))
	for i := range classes {
		options[i].begin(&classes[i], &goal)
	}
	// At mu = 1/stale no class is staler than the goal, so that it is met.
	lo, hi := 0.0, 1/max(goal.stale, 1e-9)
	if allocate(options, 0) <= goal.stale {
		hi = 0
	}
	for range 40 {
		if hi-lo <= 1e-4*hi {
			break
		}
		if mid := (lo + hi) / 2; allocate(options, mid) <= goal.stale {
			hi = mid
		} else {
			lo = mid
		}
	}
	allocate(options, hi)
	return planOf(options, goal)
}

func (o *option) begin(c *TTLClass, goal *ttlGoal) {
	o.class, o.goal = c, goal
	t := ttlTables()
	o.lo = levelOf(goal.least * levelStep * 0.9999) // not under least
	o.hi = max(levelOf(goal.longest), o.lo)
	// Both shares rise with the level.
	o.hi = o.lo + sort.Search(o.hi-o.lo, func(i int) bool { return c.Belief.dot(&t.stale[o.lo+i+1]) > goal.most })
	if goal.window > 0 {
		o.late = max(sort.Search(levelCount, func(i int) bool { return c.Belief.dot(&t.changed[i]) > goal.late })-1, 0)
	}
}

// at is what the class gets at a level.
func (o *option) at(l int) *offer {
	v := &o.seen[l]
	if v.known {
		return v
	}
	t, m, ttl := ttlTables(), o.class.Demand, level(l)
	v.known = true
	v.hits, v.stale = m*m*ttl/(1+m*ttl), o.class.Belief.dot(&t.stale[l])
	if o.goal.window > 0 {
		// The first request after the TTL is answered from the old copy, if it comes in the window.
		v.window = min(o.goal.window, max(0, level(o.late)-ttl))
		if n := m * -math.Expm1(-m*v.window) / (1 + m*ttl); n > 0 {
			changed := o.class.Belief.dot(&t.changed[levelOf(ttl+min(v.window, 1/m))])
			v.stale = (v.stale*v.hits + n*changed) / (v.hits + n)
			v.hits += n
		}
	}
	return v
}

// choose finds the best level for mu; what it gains rises and then falls.
func (o *option) choose(mu float64) *offer {
	gain := func(l int) float64 { v := o.at(l); return v.hits * (1 - mu*v.stale) }
	lo, hi := o.lo, o.hi
	for lo < hi {
		if mid := (lo + hi) / 2; gain(mid) < gain(mid+1) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	o.best = lo
	return o.at(lo)
}

// allocate takes the best of each for mu and returns the stale share of all.
func allocate(options []option, mu float64) float64 {
	var hits, stale float64
	for i := range options {
		v := options[i].choose(mu)
		hits += options[i].class.Keys * v.hits
		stale += options[i].class.Keys * v.hits * v.stale
	}
	return stale / max(hits, 1e-300)
}

func planOf(options []option, goal ttlGoal) ttlPlan {
	p := ttlPlan{classes: make(map[classID]classPlan, len(options))}
	var logs, stale float64
	for i := range options {
		o := &options[i]
		ttl := min(max(level(o.best), goal.least), goal.longest)
		v := o.at(o.best)
		p.classes[o.class.ID] = classPlan{TTL: ttl, Window: v.window}
		hits := o.class.Keys * v.hits
		p.hits += hits
		p.calls += o.class.Keys * o.class.Demand / (1 + o.class.Demand*ttl)
		stale += hits * v.stale
		logs += hits * math.Log(ttl)
	}
	p.stale = stale / max(p.hits, 1e-300)
	p.typical = min(max(math.Exp(logs/max(p.hits, 1e-300)), goal.least), goal.longest)
	return p
}

package tuner

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultTTLKeys is how many keys of a route are known one by one; 0.3 KB each.
	DefaultTTLKeys = 8192
	// evictSample is how many keys are compared to find one that gives way.
	evictSample = 8
	// ttlMemory times 1/goal is over how many looks what was measured of a route is averaged: so that it
	// holds about 200 changes.
	ttlMemory = 100
	// learnPasses is how often the prior is refined before each plan.
	learnPasses = 3
	// refreshSeen is how old a sum of the looks may get while few new ones come.
	refreshSeen = time.Minute
)

// TTLEvidence gathers the looks at one route: how often each key changes and is asked for, what that says
// of keys not seen yet, and what share of answers was stale. Make it with [NewTTLEvidence]. Safe for
// concurrent use.
type TTLEvidence struct {
	table   TTLTable
	maxKeys int

	mu    sync.Mutex // guards what follows
	prior rates
	keys  map[uint64]*ttlKey
	// order are the same keys; hand is where the next one that gives way is looked for.
	order []*ttlKey
	hand  int
	// base is the prior before any look, worth trust keys.
	base  rates
	trust float64
	goal  float64 // the freshness target, which says how long a memory is needed
	// planned is the stale share that the plan in force expects; below 0: there is none.
	planned float64

	looks, changed, early uint64
	// recent is what the last looks say, faded; epoch what looks say at copies made since value came
	// into force.
	recent, epoch TTLTally
	value         float64
	since         time.Time
	seen          TTLSeen // the last, as of seenAt, after seenLooks
	seenAt        time.Time
	seenLooks     uint64
}

// NewTTLEvidence returns one that knows nothing and remembers at most maxKeys keys; 0: DefaultTTLKeys.
func NewTTLEvidence(maxKeys int) *TTLEvidence {
	if maxKeys <= 0 {
		maxKeys = DefaultTTLKeys
	}
	e := &TTLEvidence{maxKeys: maxKeys, keys: make(map[uint64]*ttlKey), base: flatRates(), trust: 1, goal: balancedStale, planned: -1}
	e.prior = e.base
	return e
}

// TTLSeen is what the looks at a route come to.
type TTLSeen struct {
	// Classes are the keys, grouped.
	Classes []TTLClass `json:"classes"`
	// Looks, Changed and Early count all looks since the start.
	Looks   uint64 `json:"looks"`
	Changed uint64 `json:"changed"`
	Early   uint64 `json:"early"`
	// Recent is what the last looks say, faded; Epoch what they say at copies made under the knob's value.
	Recent TTLTally `json:"recent"`
	Epoch  TTLTally `json:"epoch"`
	// Prior is the distribution of the rates over keys, and Keys how many are known.
	Prior rates `json:"prior"`
	Keys  int   `json:"keys"`
}

// Seen sums up, and sorts the keys into classes. value is the knob's.
func (e *TTLEvidence) Seen(now time.Time, value float64) TTLSeen {
	e.mu.Lock()
	defer e.mu.Unlock()
	if value != e.value {
		e.value, e.since, e.epoch = value, now, TTLTally{}
		e.seen.Epoch = TTLTally{}
	}
	// Few new looks say little more, and the keys' demand does not change at once.
	fresh := e.looks - e.seenLooks
	if e.seenAt.IsZero() || fresh >= uint64(max(ttlMinLooks, len(e.keys)/4)) || now.Sub(e.seenAt) > refreshSeen {
		e.learn()
		e.seen = TTLSeen{
			Classes: e.classes(now), Looks: e.looks, Changed: e.changed, Early: e.early,
			Recent: e.recent, Prior: e.prior, Keys: len(e.keys),
		}
		e.seenAt, e.seenLooks = now, e.looks
		e.table.assign(e.order)
	}
	e.seen.Epoch = e.epoch
	return e.seen
}

// Resume begins with what an earlier process learned, worth a number of keys.
func (e *TTLEvidence) Resume(prior rates, keys float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	flat := flatRates()
	prior.normalise(&flat)
	for g := range prior {
		prior[g] = (prior[g]*keys + flat[g]) / (keys + 1)
	}
	e.base, e.trust = prior, keys+1
	if e.looks == 0 {
		e.prior = prior
	}
}

// follow takes note of the plan that is in force from now on. One that is much shorter means that the world
// has changed: what was measured of the old one counts little then.
func (e *TTLEvidence) follow(s *TTLState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Goal > 0 {
		e.goal = s.Goal
	}
	if e.planned >= 0 && e.value > 0 && s.At < e.value/2 {
		e.recent.fade(0.1)
	}
	e.planned = -1
	if len(s.Plan) > 0 {
		e.planned = s.Stale / max(s.Correction, leastTrusted)
	}
}

// Table is where the cache looks the TTLs of keys up.
func (e *TTLEvidence) Table() *TTLTable { return &e.table }

// TTLTally sums up looks.
type TTLTally struct {
	Looks, Changes float64
	// Exposure is the time looked at, in seconds, up to the first change of each look.
	Exposure float64
	// Hits are answers from the cache; Stale how many of them were stale by what the looks found, with
	// the sum of squares; Predicted how many the plan expected to be.
	Hits, Stale, StaleSquares, Predicted float64
}

// add enters a look at a copy; stale is the share of its answers that were.
func (t *TTLTally) add(o *TTLLook, exposure, stale, predicted float64) {
	n := float64(o.Uses)
	t.Looks++
	t.Exposure += exposure
	t.Hits += n
	t.Predicted += n * predicted
	if o.Changed {
		t.Changes++
		t.Stale += n * stale
		t.StaleSquares += n * stale * n * stale
	}
}

func (t *TTLTally) fade(f float64) {
	for _, v := range []*float64{&t.Looks, &t.Changes, &t.Exposure, &t.Hits, &t.Stale, &t.StaleSquares, &t.Predicted} {
		*v *= f
	}
}

// share is the measured stale share with z standard deviations above and below.
func (t *TTLTally) share(z float64) (mean, low, high float64) {
	hits, d := max(t.Hits, 1), z*math.Sqrt(t.StaleSquares)
	return t.Stale / hits, max(0, t.Stale-d) / hits, (t.Stale + d) / hits
}

// rate is the mean rate of changes with its bounds, by the events counted.
func (t *TTLTally) rate(z float64) (mean, low, high float64) {
	b := max(t.Exposure, 1e-9)
	return t.Changes / b, poissonLow(t.Changes, z) / b, poissonHigh(t.Changes, z) / b
}

// poissonHigh and poissonLow bound the mean of which x events are a sample, z standard deviations away
// (Wilson and Hilferty 1931). For none seen and z = 1.645 the upper one is 3.0.
func poissonHigh(x, z float64) float64 {
	return (x + 1) * math.Pow(1-1/(9*(x+1))+z/(3*math.Sqrt(x+1)), 3)
}

func poissonLow(x, z float64) float64 {
	if x < 0.5 {
		return 0
	}
	return x * math.Pow(max(0, 1-1/(9*x)-z/(3*math.Sqrt(x))), 3)
}

// flatRates takes every rate for as likely as the next.
func flatRates() (r rates) {
	for g := range r {
		r[g] = 1.0 / rateCount
	}
	return r
}

// Look learns from one look at a key.
func (e *TTLEvidence) Look(o TTLLook) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.keys[o.Key]
	if k == nil {
		k = &ttlKey{hash: o.Key, class: newcomer}
		if len(e.order) < e.maxKeys {
			e.order = append(e.order, k)
		} else {
			e.evict(o.At, k)
		}
		e.keys[o.Key] = k
	}
	if o.First || o.Since <= 0 {
		k.uses++
		k.planned = e.planned
		k.last, k.kept = o.At, o.Kept
		return
	}
	b := k.belief(&e.prior)
	t := o.Since.Seconds()
	used := min(t, o.Kept.Seconds())
	predicted, change := b.dot(&ttlTables().stale[levelOf(used)]), b.dot(&ttlTables().changed[levelOf(t)])
	stale, exposure := e.judge(&o, &b, used, t, predicted, change)
	if k.planned >= 0 {
		predicted = k.planned
	}
	k.planned = e.planned
	e.looks++
	if o.Changed {
		e.changed++
	}
	if o.Early {
		e.early++
	}
	e.recent.fade(1 - e.goal/ttlMemory)
	e.recent.add(&o, exposure, stale, predicted)
	if !e.since.IsZero() && !o.At.Add(-o.Since).Before(e.since) {
		e.epoch.add(&o, exposure, stale, predicted)
	}
	k.look(&o, &e.prior, e.goal/20)
}

// judge says what share of the answers from the copy was stale, and for how long nothing had changed.
// Where the upstream does not tell when it changed, it is the mean over when it can have been.
func (e *TTLEvidence) judge(o *TTLLook, b *rates, used, t, predicted, change float64) (stale, exposure float64) {
	if !o.Changed {
		return 0, t
	}
	if o.Age > 0 && o.Age < o.Since {
		at := (o.Since - o.Age).Seconds()
		return max(0, 1-at/max(used, 1e-9)), at
	}
	l := b.mean()
	exposure = t / 2
	if x := l * t; x > 1e-3 {
		exposure = 1/l - t/math.Expm1(x)
	}
	// Of the changes within t, those late in it came when the copy was no more in use.
	return min(1, predicted/max(change, 1e-12)), max(exposure, 0)
}

// evict forgets the least asked for of a few keys for k.
func (e *TTLEvidence) evict(now time.Time, k *ttlKey) {
	worst, least := 0, math.Inf(1)
	for range min(evictSample, len(e.order)) {
		e.hand = (e.hand + 1) % len(e.order)
		if d := e.order[e.hand].demand(now, 0); d < least {
			worst, least = e.hand, d
		}
	}
	delete(e.keys, e.order[worst].hash)
	e.order[worst] = k
}

// learn refines the prior from what is known of the keys: the mixture of rates that makes all looks
// together likeliest, found by expectation and maximisation (Laird 1978), held up by the base so that no
// rate is ever thought impossible.
func (e *TTLEvidence) learn() {
	for range learnPasses {
		var sum rates
		n := 0.0
		for _, k := range e.order {
			if k.lik == nil {
				continue
			}
			b := k.belief(&e.prior)
			for g, v := range b {
				sum[g] += v
			}
			n++
		}
		for g := range sum {
			sum[g] = (sum[g] + e.trust*e.base[g]) / (n + e.trust)
		}
		e.prior = sum
	}
	// The likelihoods are relative to the prior.
	for _, k := range e.order {
		if k.lik == nil {
			continue
		}
		var sum float64
		for g, p := range e.prior {
			sum += p * float64(k.lik[g])
		}
		if !(sum > 0) {
			k.lik = nil
			continue
		}
		for g := range k.lik {
			k.lik[g] = float32(float64(k.lik[g]) / sum)
		}
	}
}

// floored is b with no rate slower than what the whole route's looks can tell: without a change seen over
// an exposure e, a rate is at most 3/e (95 %).
func (e *TTLEvidence) floored(b rates) rates {
	least := 3 / max(e.recent.Exposure, 1e-9)
	for g, l := range ladder {
		if l >= least || g == rateCount-1 {
			break
		}
		b[g+1] += b[g]
		b[g] = 0
	}
	return b
}

// classes groups the keys.
func (e *TTLEvidence) classes(now time.Time) []TTLClass {
	groups := make(map[classID]*TTLClass)
	var mean, n float64
	for _, k := range e.order {
		mean += k.uses
		n += k.span
	}
	mean /= max(n, 1e-9)
	for _, k := range e.order {
		b := k.belief(&e.prior)
		d := k.demand(now, mean)
		k.class = classOf(b.mean(), d)
		c := groups[k.class]
		if c == nil {
			c = &TTLClass{ID: k.class}
			groups[k.class] = c
		}
		c.Keys++
		c.Demand += d
		for g, v := range b {
			c.Belief[g] += v
		}
	}
	out := make([]TTLClass, 0, len(groups)+1)
	for _, c := range groups {
		c.Demand /= c.Keys
		for g := range c.Belief {
			c.Belief[g] /= c.Keys
		}
		c.Belief = e.floored(c.Belief)
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b TTLClass) int { return cmp.Compare(a.ID, b.ID) })
	// Keys that nobody has asked for yet get what their like gets.
	out = append(out, TTLClass{ID: newcomer, Keys: 1e-6, Demand: max(mean, slowestUse), Belief: e.floored(e.prior)})
	return out
}

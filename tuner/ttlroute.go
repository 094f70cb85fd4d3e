package tuner

import (
	"math"
	"time"
)

const (
	// DefaultTTLKeys is how many keys of a route are known one by one; 0.3 KB each.
	DefaultTTLKeys = 8192
	// evictSample is how many keys are compared to find one that gives way.
	evictSample = 8
	// ttlMemory times 1/goal is over how many looks what was measured of a route is averaged: so that it
	// holds about 400 changes.
	ttlMemory = 200
	// learnPasses is how often the prior is refined before each plan.
	learnPasses = 3
)

// TTLState is what the controller of TTLs knows of one route: how often each key changes and is asked
// for, what that says of keys not seen yet, and what share of answers was stale. Its zero value is a
// fresh start. Not safe for concurrent use.
type TTLState struct {
	// Stale is the goal, which says how long a memory is needed.
	Stale float64
	// MaxKeys bounds the keys; 0: DefaultTTLKeys.
	MaxKeys int

	prior rates
	keys  map[uint64]*ttlKey
	// base and trust are what an earlier process left: a prior worth so many keys.
	base  rates
	trust float64

	// Looks, Changed and Early count all looks since the start.
	Looks, Changed, Early uint64
	// recent is what the last looks say, faded.
	recent ttlTally
	// sinceDecision is what the looks say at copies made after the last decision.
	sinceDecision ttlTally
	decided       time.Time
	planned       *ttlPlan
	unknown       classPlan
}

// ttlTally sums up looks.
type ttlTally struct {
	Looks, Changes float64
	// Exposure is the time looked at, in seconds, up to the first change of each look.
	Exposure float64
	// Hits are answers from the cache; Stale how many of them were stale by what the looks found, with
	// the sum of squares; Predicted how many were expected to be.
	Hits, Stale, StaleSquares, Predicted float64
}

// add enters a look at a copy; stale is the share of its answers that were.
func (t *ttlTally) add(o *TTLLook, exposure, stale, predicted float64) {
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

func (t *ttlTally) fade(f float64) {
	for _, v := range []*float64{&t.Looks, &t.Changes, &t.Exposure, &t.Hits, &t.Stale, &t.StaleSquares, &t.Predicted} {
		*v *= f
	}
}

// share is the measured stale share with z standard deviations above and below.
func (t *ttlTally) share(z float64) (mean, low, high float64) {
	hits, d := max(t.Hits, 1), z*math.Sqrt(t.StaleSquares)
	return t.Stale / hits, max(0, t.Stale-d) / hits, (t.Stale + d) / hits
}

// rate is the mean rate of changes with its bounds, by the events counted.
func (t *ttlTally) rate(z float64) (mean, low, high float64) {
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

func (s *TTLState) ensure() {
	if s.keys != nil {
		return
	}
	s.keys = make(map[uint64]*ttlKey)
	if s.MaxKeys <= 0 {
		s.MaxKeys = DefaultTTLKeys
	}
	if s.Stale <= 0 {
		s.Stale = balancedStale
	}
	if s.trust == 0 {
		s.base, s.trust = flatRates(), 1
	}
	s.prior = s.base
}

// flatRates takes every rate for as likely as the next.
func flatRates() (r rates) {
	for g := range r {
		r[g] = 1.0 / rateCount
	}
	return r
}

// Look learns from one look at a key.
func (s *TTLState) Look(o TTLLook) {
	s.ensure()
	k := s.keys[o.Key]
	if k == nil {
		if len(s.keys) >= s.MaxKeys {
			s.evict(o.At)
		}
		k = &ttlKey{class: newcomer}
		s.keys[o.Key] = k
	}
	if o.First || o.Since <= 0 {
		k.uses++
		k.last, k.kept = o.At, o.Kept
		return
	}
	b := k.belief(&s.prior)
	t := o.Since.Seconds()
	used := min(t, o.Kept.Seconds())
	predicted, change := b.dot(&ttlTables().stale[levelOf(used)]), b.dot(&ttlTables().changed[levelOf(t)])
	stale, exposure := s.judge(&o, &b, used, t, predicted, change)
	s.Looks++
	if o.Changed {
		s.Changed++
	}
	if o.Early {
		s.Early++
	}
	s.recent.fade(1 - s.Stale/ttlMemory)
	s.recent.add(&o, exposure, stale, predicted)
	if o.At.Add(-o.Since).After(s.decided) {
		s.sinceDecision.add(&o, exposure, stale, predicted)
	}
	k.look(&o, &s.prior, s.Stale/20)
}

// judge says what share of the answers from the copy was stale, and for how long nothing had changed.
// Where the upstream does not tell when it changed, it is the mean over when it can have been.
func (s *TTLState) judge(o *TTLLook, b *rates, used, t, predicted, change float64) (stale, exposure float64) {
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

// evict forgets the least asked for of a few keys.
func (s *TTLState) evict(now time.Time) {
	var worst uint64
	least, n := math.Inf(1), 0
	for h, k := range s.keys {
		if d := k.demand(now, 0); d < least {
			worst, least = h, d
		}
		if n++; n >= evictSample {
			break
		}
	}
	delete(s.keys, worst)
}

// learn refines the prior from what is known of the keys: the mixture of rates that makes all looks
// together likeliest, found by expectation and maximisation (Laird 1978), held up by the base so that no
// rate is ever thought impossible.
func (s *TTLState) learn() {
	for range learnPasses {
		var sum rates
		n := 0.0
		for _, k := range s.keys {
			if k.lik == nil {
				continue
			}
			b := k.belief(&s.prior)
			for g, v := range b {
				sum[g] += v
			}
			n++
		}
		for g := range sum {
			sum[g] = (sum[g] + s.trust*s.base[g]) / (n + s.trust)
		}
		s.prior = sum
	}
	// The likelihoods are relative to the prior.
	for _, k := range s.keys {
		if k.lik == nil {
			continue
		}
		var sum float64
		for g, p := range s.prior {
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
func (s *TTLState) floored(b rates) rates {
	least := 3 / max(s.recent.Exposure, 1e-9)
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
func (s *TTLState) classes(now time.Time) []ttlClass {
	groups := make(map[classID]*ttlClass)
	var mean, n float64
	for _, k := range s.keys {
		mean += k.uses
		n += k.span
	}
	mean /= max(n, 1e-9)
	for _, k := range s.keys {
		b := k.belief(&s.prior)
		d := k.demand(now, mean)
		k.class = classOf(b.mean(), d)
		c := groups[k.class]
		if c == nil {
			c = &ttlClass{id: k.class}
			groups[k.class] = c
		}
		c.keys++
		c.demand += d
		for g, v := range b {
			c.belief[g] += v
		}
	}
	out := make([]ttlClass, 0, len(groups)+1)
	for _, c := range groups {
		c.demand /= c.keys
		for g := range c.belief {
			c.belief[g] /= c.keys
		}
		c.belief = s.floored(c.belief)
		out = append(out, *c)
	}
	// Keys that nobody has asked for yet get what their like gets.
	out = append(out, ttlClass{id: newcomer, keys: 1e-6, demand: max(mean, slowestUse), belief: s.floored(s.prior)})
	return out
}

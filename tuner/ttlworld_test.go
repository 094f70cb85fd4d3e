package tuner

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// contentKey is a key of a simulated route: how often it changes and is asked for, per second.
type contentKey struct{ change, demand float64 }

// contentWorld is a route with a cache in front of it, in simulated time.
type contentWorld struct {
	keys []contentKey
	// change, if not nil, replaces each key's rate of change at a time.
	change func(key int, t float64) float64
	// periodic content changes at even times; tells says that the upstream gives Last-Modified.
	periodic, tells bool
	// early is the share of copies that are looked at early.
	early float64
}

// contentResult counts what happened after the warm-up.
type contentResult struct{ hits, calls, stale int }

func (r contentResult) staleShare() float64 { return float64(r.stale) / float64(max(r.hits, 1)) }
func (r contentResult) hitShare() float64 {
	return float64(r.hits) / float64(max(r.hits+r.calls, 1))
}

// copyState is the copy of one key.
type copyState struct {
	next    float64 // of the content's changes
	changed float64 // the last one
	version int
	had     int // the copy's version; -1: none
	fetched float64
	until   float64
	checkAt float64
	uses    int
}

// play runs the world for so many seconds. ttl says how long a copy of a key is fresh; look, if not nil,
// hears of each fetch; tick is called each 5 s.
func (w *contentWorld) play(seed uint64, length, warmup float64, ttl func(key int) float64, look func(key int, o TTLLook), tick func(now float64)) contentResult {
	random := rand.New(rand.NewPCG(seed, 1))
	cumulated := make([]float64, len(w.keys))
	total := 0.0
	for i, k := range w.keys {
		total += k.demand
		cumulated[i] = total
	}
	copies := make([]copyState, len(w.keys))
	rate := func(i int, t float64) float64 {
		if w.change != nil {
			return w.change(i, t)
		}
		return w.keys[i].change
	}
	gap := func(i int, t float64) float64 {
		if w.periodic {
			return 1 / rate(i, t)
		}
		return random.ExpFloat64() / rate(i, t)
	}
	for i := range copies {
		copies[i].had = -1
		copies[i].next = gap(i, 0) * random.Float64()
	}
	var res contentResult
	for now, ticked := 0.0, 0.0; now < length; {
		now += random.ExpFloat64() / total
		for ; ticked < now && tick != nil; ticked += 5 {
			tick(ticked)
		}
		i := sort.SearchFloat64s(cumulated, random.Float64()*total)
		c := &copies[i]
		for c.next <= now {
			c.version++
			c.changed = c.next
			// A rate that falls or rises takes hold at once, roughly.
			g := gap(i, c.next)
			if w.change != nil {
				g = min(g, 5)
				if r := rate(i, c.next); random.Float64() > -math.Expm1(-r*5) {
					c.version--
				}
			}
			c.next += g
		}
		fresh := c.had >= 0 && now < c.until
		if fresh && now < c.checkAt {
			c.uses++
			if now >= warmup {
				res.hits++
				if c.had != c.version {
					res.stale++
				}
			}
			continue
		}
		if fresh { // an early look, behind the client's back
			c.uses++
			if now >= warmup {
				res.hits++
				if c.had != c.version {
					res.stale++
				}
			}
		}
		if now >= warmup {
			res.calls++
		}
		if look != nil {
			o := TTLLook{Key: keyHash(i), At: at(now), First: c.had < 0, Early: fresh}
			if !o.First {
				o.Since = time.Duration((now - c.fetched) * 1e9)
				o.Changed, o.Uses = c.had != c.version, c.uses
				o.Kept = time.Duration((min(c.until, now) - c.fetched) * 1e9)
			}
			if w.tells {
				o.Age = time.Duration((now - c.changed) * 1e9)
			}
			look(i, o)
		}
		c.had, c.fetched, c.uses = c.version, now, 0
		t := ttl(i)
		c.until, c.checkAt = now+t, math.Inf(1)
		if random.Float64() < w.early {
			c.checkAt = now + t*random.Float64()
		}
	}
	return res
}

func at(seconds float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(seconds * 1e9))
}

// bestStatic is the longest single TTL that keeps the stale share of hits, by the formula, and what it costs.
func (w *contentWorld) bestStatic(target float64) (ttl, calls float64) {
	eval := func(t float64) (calls, stale float64) {
		var hits, bad float64
		for _, k := range w.keys {
			h := k.demand * k.demand * t / (1 + k.demand*t)
			hits += h
			bad += h * staleShare(k.change*t)
			calls += k.demand / (1 + k.demand*t)
		}
		return calls, bad / hits
	}
	lo, hi := 1e-3, 1e8
	for range 200 {
		mid := math.Sqrt(lo * hi)
		if _, stale := eval(mid); stale <= target {
			lo = mid
		} else {
			hi = mid
		}
	}
	calls, _ = eval(lo)
	return lo, calls
}

// tuned is the controller at work on a world.
type tuned struct {
	e       *TTLEvidence
	rule    *ttlSlow
	in      In[any]
	value   float64
	applied func(now float64, p Proposal)
}

func newTuned(target float64) *tuned {
	t := &tuned{e: NewTTLEvidence(0), value: 60}
	t.rule = TTLRule(TTLSource{Evidence: t.e, Value: func() float64 { return t.value }}).(*ttlSlow)
	t.in.Appetite = Balanced()
	t.in.Appetite.StaleRatio = target
	t.in.Spec.Max = 365 * 86400
	return t
}

// keyHash stands for the cache's hash.
func keyHash(key int) uint64 { return uint64(key+1) * 0x9e3779b97f4a7c15 }

func (t *tuned) ttl(key int) float64 {
	if ttl, _, ok := t.e.Table().Freshness(keyHash(key), t.value); ok {
		return ttl.Seconds()
	}
	return t.value
}

func (t *tuned) look(_ int, o TTLLook) { t.e.Look(o) }

// tick does what the loop does, without its trials.
func (t *tuned) tick(now float64) {
	t.in.Now, t.in.Value = at(now), t.value
	t.in.Seen, t.in.N = t.rule.measure(at(now-15), at(now))
	p, state := t.rule.decide(t.in)
	if p.To != t.value && t.applied != nil {
		t.applied(now, p)
	}
	t.value = p.To
	t.rule.keep(state, true)
}

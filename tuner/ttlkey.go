package tuner

import (
	"math"
	"time"
)

// TTLLook is one look at the content of a key: a renewal or a new fetch, compared with what was known.
type TTLLook struct {
	// Key is a hash of the key, the same for each look at it.
	Key uint64
	At  time.Time
	// First: nothing was known of the key, so that there is nothing to compare; of what follows only
	// Uses counts.
	First bool
	// Since is the time since the last look; Changed: the content was another one then.
	Since   time.Duration
	Changed bool
	// Age is how long ago the content changed last, where the upstream tells (Last-Modified); 0: unknown.
	Age time.Duration
	// Uses is how many requests were answered from the copy since the last look, and Kept for how long
	// it was good for that.
	Uses int
	Kept time.Duration
	// Early: the look came before the copy's time was over, to learn.
	Early bool
}

const (
	// demandLooks is over how many looks the demand of a key is averaged.
	demandLooks = 20
	// forgetChanges is after how many expected changes a key's rate may have become another one, as one
	// drawn anew for the route; mostForget bounds that for one look.
	forgetChanges = 20
	mostForget    = 0.05
)

// ttlKey is what is known of one key.
type ttlKey struct {
	hash uint64
	// lik is the likelihood of each rate relative to the route's prior: prior times lik sums to 1, and
	// is the belief. nil: no look yet.
	lik *[rateCount]float32
	// uses and span give the demand: requests in seconds.
	uses, span float64
	last       time.Time
	kept       time.Duration
	looks      uint32
	class      classID
	// planned is the stale share that the plan expected of all when the copy was made; below 0: there was none.
	planned float64
}

// demand is requests a second, given the mean of a route for what is not known.
func (k *ttlKey) demand(now time.Time, mean float64) float64 {
	// The copy may be in use unseen until its time is over.
	idle := max(0, (now.Sub(k.last) - k.kept).Seconds())
	return (k.uses + 0.5) / (k.span + idle + 0.5/max(mean, 1e-9))
}

// belief is the distribution of the key's rate.
func (k *ttlKey) belief(prior *rates) rates {
	if k.lik == nil {
		return *prior
	}
	var r rates
	for g, p := range prior {
		r[g] = p * float64(k.lik[g])
	}
	r.normalise(prior)
	return r
}

// look takes a look into account. least bounds the forgetting from below.
//
// The likelihood is that of censored intervals: exp(-l*t) where nothing changed in t, 1 - exp(-l*t) where
// something did, however often. With Last-Modified the last change is known: l*exp(-l*age).
func (k *ttlKey) look(o *TTLLook, prior *rates, least float64) {
	k.uses = k.uses*(1-1.0/demandLooks) + float64(o.Uses) + 1
	k.span = k.span*(1-1.0/demandLooks) + o.Since.Seconds()
	k.last, k.kept = o.At, o.Kept
	if k.lik == nil {
		k.lik = new([rateCount]float32)
		for g := range k.lik {
			k.lik[g] = 1
		}
	}
	t := o.Since.Seconds()
	b := k.belief(prior)
	forget := min(max(b.mean()*t/forgetChanges, least), mostForget)
	var sum float64
	var next rates
	for g, l := range ladder {
		v := (1-forget)*float64(k.lik[g]) + forget
		switch {
		case !o.Changed:
			v *= math.Exp(-l * t)
		case o.Age > 0 && o.Age < o.Since:
			v *= l * t * math.Exp(-l*o.Age.Seconds())
		default:
			v *= changedShare(l * t)
		}
		next[g] = v
		sum += v * prior[g]
	}
	k.looks++
	if !(sum > 1e-300) { // impossible under all rates: start anew
		k.lik = nil
		return
	}
	for g := range next {
		k.lik[g] = float32(min(next[g]/sum, math.MaxFloat32/4))
	}
}

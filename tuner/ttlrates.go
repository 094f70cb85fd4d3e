package tuner

import (
	"math"
	"sync"
	"time"
)

// How often something changes is kept as a distribution over a fixed ladder of rates. A ladder, and not
// one Gamma curve, since keys of one route are often of two kinds (what is finished and what is live), and
// the mean of the two fits neither.
const (
	rateCount      = 37
	ratesPerDecade = 4
	slowestRate    = 1e-8 // per second: once in three years

	// TTLs are tried in steps of 6 %, from a tenth of a second to beyond a year.
	levelCount = 340
	levelStep  = 1.06
	leastTTL   = 0.1 // seconds
)

// rates is a value for each rung of the ladder.
type rates [rateCount]float64

// ladder are the rungs, in changes per second.
var ladder = func() (r rates) {
	for g := range r {
		r[g] = slowestRate * math.Pow(10, float64(g)/ratesPerDecade)
	}
	return r
}()

// dot is the sum of the products.
func (r *rates) dot(o *rates) float64 {
	var sum float64
	for g, v := range r {
		sum += v * o[g]
	}
	return sum
}

// normalise makes the sum 1; one that has no mass becomes o.
func (r *rates) normalise(o *rates) {
	var sum float64
	for _, v := range r {
		sum += v
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		*r = *o
		return
	}
	for g := range r {
		r[g] /= sum
	}
}

// mean is the expected rate under r, which must be normalised.
func (r *rates) mean() float64 { return r.dot(&ladder) }

// level is a TTL in seconds.
func level(i int) float64 { return leastTTL * math.Pow(levelStep, float64(i)) }

// levelOf is the longest level that is no longer than ttl seconds, at least 0.
func levelOf(ttl float64) int {
	if ttl <= leastTTL {
		return 0
	}
	return min(int(math.Log(ttl/leastTTL)/math.Log(levelStep)+1e-9), levelCount-1)
}

// StaleShare is the share of stale answers among those given from a copy between its fetch and the age
// ttl, if requests come evenly and the content changes at random times, rate times a second on average:
//
//	1 - (1 - exp(-l*T))/(l*T), about l*T/2 while that is small.
//
// Both are at least 0. Cho and Garcia-Molina, "Synchronizing a database to improve freshness" (2000).
func StaleShare(rate float64, ttl time.Duration) float64 { return staleShare(rate * ttl.Seconds()) }

func staleShare(x float64) float64 {
	if x < 1e-4 {
		return x / 2
	}
	return 1 + math.Expm1(-x)/x
}

// changedShare is the probability of a change within x mean times between changes.
func changedShare(x float64) float64 { return -math.Expm1(-x) }

// tables are staleShare and changedShare for every level and rung.
type tables struct{ stale, changed [levelCount]rates }

var ttlTables = sync.OnceValue(func() *tables {
	t := new(tables)
	for i := range levelCount {
		for g, l := range ladder {
			t.stale[i][g], t.changed[i][g] = staleShare(l*level(i)), changedShare(l*level(i))
		}
	}
	return t
})

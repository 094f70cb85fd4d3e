package tuner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// spreadKeys are keys whose rates and demands are drawn log-uniformly, demand by Zipf's law.
func spreadKeys(n int, seed uint64, total, slow, fast float64) []contentKey {
	random := rand.New(rand.NewPCG(seed, 9))
	keys := make([]contentKey, n)
	sum := 0.0
	for i := range keys {
		keys[i].demand = math.Pow(float64(i+1), -0.9)
		sum += keys[i].demand
		keys[i].change = slow * math.Pow(fast/slow, random.Float64())
	}
	for i := range keys {
		keys[i].demand *= total / sum
	}
	return keys
}

// twoKinds: a share of the keys changes fast, the others slowly.
func twoKinds(n int, total, share, fast, slow float64) []contentKey {
	keys := spreadKeys(n, 1, total, 1, 1)
	for i := range keys {
		keys[i].change = slow
		if float64(i%100) < share*100 {
			keys[i].change = fast
		}
	}
	return keys
}

func TestTTLExplore(t *testing.T) {
	for _, sc := range []struct {
		name   string
		w      contentWorld
		length float64
	}{
		{"two kinds", contentWorld{keys: twoKinds(500, 50, .3, 1.0/60, 1.0/3600), early: .02}, 4 * 3600},
		{"spread", contentWorld{keys: spreadKeys(500, 2, 50, 1.0/36000, 1.0/30), early: .02}, 4 * 3600},
		{"one rate", contentWorld{keys: spreadKeys(500, 2, 50, 1.0/600, 1.0/600), early: .02}, 4 * 3600},
		{"one rate told", contentWorld{keys: spreadKeys(500, 2, 50, 1.0/600, 1.0/600), early: .02, tells: true}, 4 * 3600},
		{"few keys", contentWorld{keys: spreadKeys(5, 2, 20, 1.0/3600, 1.0/60), early: .02}, 4 * 3600},
		{"periodic", contentWorld{keys: spreadKeys(500, 2, 50, 1.0/3600, 1.0/60), early: .02, periodic: true}, 4 * 3600},
		{"slow", contentWorld{keys: spreadKeys(2000, 2, 20, 1.0/360000, 1.0/3600), early: .02}, 8 * 3600},
	} {
		for _, target := range []float64{.01, .05} {
			ttl, calls := sc.w.bestStatic(target)
			u := newTuned(target)
			r := sc.w.play(1, sc.length, sc.length/2, u.ttl, u.look, u.tick)
			static := sc.w.play(1, sc.length, sc.length/2, func(int) float64 { return ttl }, nil, nil)
			span := sc.length / 2
			fmt.Printf("%-14s target %.2f static %.1fs: calls %.2f/s (formula %.2f) stale %.4f | tuned %.1fs calls %.2f/s (%.2f) stale %.4f hits %.3f | corr %.2f looks %d changed %d\n", sc.name, target, ttl,
				float64(static.calls)/span, calls, static.staleShare(), u.value, float64(r.calls)/span, float64(r.calls)/float64(static.calls), r.staleShare(), r.hitShare(), u.s.correction(1), u.s.Looks, u.s.Changed)
		}
	}
}

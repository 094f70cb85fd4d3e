package traces

import (
	"math/rand/v2"
	"testing"
)

func TestOnAKnownSequenceTheHitsAreKnown(t *testing.T) {
	// Belady's own example of 1966 and every text book's since: 3 frames, LRU 10 faults of 12, the optimum 7.
	keys := []uint32{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5}
	if lru, best := LRU(keys, 3), Optimum(keys, 3); lru != 12-10 || best != 12-7 {
		t.Errorf("LRU %d, optimum %d hits", lru, best)
	}
}

func TestNothingBeatsTheOptimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.1, 5, 500)
	keys := make([]uint32, 5000)
	distinct := map[uint32]bool{}
	for i := range keys {
		keys[i] = uint32(zipf.Uint64())
		distinct[keys[i]] = true
	}
	for _, room := range []int{1, 5, 50, len(distinct)} {
		lru, best := LRU(keys, room), Optimum(keys, room)
		if lru > best || room == len(distinct) && best != len(keys)-room {
			t.Errorf("room for %d: LRU %d, optimum %d", room, lru, best)
		}
	}
}

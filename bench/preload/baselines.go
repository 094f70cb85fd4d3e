package preload

import (
	"cmp"
	"slices"

	"penstock/bench/traces"
	"penstock/preload/sim"
)

// What is replayed, in what world, and what came of it.
type (
	Row    = sim.Row
	Setup  = sim.Setup
	Result = sim.Result
)

// Markov prefetches, per client, the k likeliest successors of at least a probability that followed at
// least twice.
func Markov(k int, least float64) sim.Prefetcher {
	type successors struct {
		total int
		count map[uint32]int
	}
	last := make(map[uint32]uint32)
	next := make(map[uint32]*successors)
	return func(r Row, _ bool) []uint32 {
		if l, ok := last[r.Client]; ok && l != r.Key {
			s := next[l]
			if s == nil {
				s = &successors{count: make(map[uint32]int)}
				next[l] = s
			}
			s.count[r.Key]++
			s.total++
		}
		last[r.Client] = r.Key
		s := next[r.Key]
		if s == nil {
			return nil
		}
		var likely []uint32
		for key, n := range s.count {
			if n >= 2 && float64(n) >= least*float64(s.total) {
				likely = append(likely, key)
			}
		}
		slices.SortFunc(likely, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(s.count[b], s.count[a]), cmp.Compare(a, b))
		})
		return likely[:min(k, len(likely))]
	}
}

// Miner is after MITHRIL (Yang et al., SoCC 2017): keys asked for between R and S times, each time
// within a short range of requests of each other, are associated; two are prefetched.
func Miner() sim.Prefetcher {
	const least, most, lookahead, tableSize, listSize = 3, 8, 20, 1250, 2
	type history struct {
		key uint32
		at  []int
	}
	n := 0
	seen := make(map[uint32]*history)
	var ready []*history
	next := make(map[uint32][]uint32)
	mine := func() {
		slices.SortFunc(ready, func(a, b *history) int { return cmp.Compare(a.at[0], b.at[0]) })
		for i, a := range ready {
			for _, b := range ready[i+1:] {
				if b.at[0]-a.at[0] > lookahead {
					break
				}
				if len(a.at) != len(b.at) || a.key == b.key {
					continue
				}
				near := true
				for j := range a.at {
					if d := b.at[j] - a.at[j]; d > lookahead || d < -lookahead {
						near = false
						break
					}
				}
				if l := next[a.key]; near && !slices.Contains(l, b.key) {
					next[a.key] = append(l, b.key)[max(0, len(l)+1-listSize):]
				}
			}
		}
		for _, h := range ready {
			delete(seen, h.key)
		}
		ready = ready[:0]
	}
	return func(r Row, hit bool) []uint32 {
		n++
		if !hit {
			h := seen[r.Key]
			if h == nil {
				h = &history{key: r.Key}
				seen[r.Key] = h
			}
			if len(h.at) < most {
				h.at = append(h.at, n)
			}
			if len(h.at) == least {
				if ready = append(ready, h); len(ready) == tableSize {
					mine()
				}
			}
		}
		return next[r.Key]
	}
}

// Belady is the hit ratio of the best replacement there can be without prefetching, for entries without
// TTL.
func Belady(rows []Row, capacity int) float64 {
	keys := make([]uint32, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	return float64(traces.Optimum(keys, capacity)) / float64(max(len(rows), 1))
}

package preload

// RunNone replays rows without prefetching.
func RunNone(rows []Row, s Setup) *World {
	w := NewWorld(s)
	defer w.done()
	for _, r := range rows {
		w.land(r.At)
		hit, joined := w.ask(r.At, r.Key)
		if !hit && !joined {
			w.call(r.At, r.Key, false)
		}
	}
	return w
}

type succ struct {
	key   uint32
	count int
}

// RunMarkov prefetches the k likeliest successors of at least p.
func RunMarkov(rows []Row, s Setup, k int, p float64) *World {
	w := NewWorld(s)
	defer w.done()
	last := map[uint32]uint32{}
	next := map[uint32]map[uint32]int{}
	total := map[uint32]int{}
	for _, r := range rows {
		w.land(r.At)
		hit, joined := w.ask(r.At, r.Key)
		if !hit && !joined {
			w.call(r.At, r.Key, false)
		}
		if l, ok := last[r.Client]; ok && l != r.Key {
			if next[l] == nil {
				next[l] = map[uint32]int{}
			}
			next[l][r.Key]++
			total[l]++
		}
		last[r.Client] = r.Key
		var best [4]succ
		for key, c := range next[r.Key] {
			if c < 2 || float64(c) < p*float64(total[r.Key]) {
				continue
			}
			x := succ{key, c}
			for i := 0; i < k; i++ {
				if x.count > best[i].count || x.count == best[i].count && x.key < best[i].key {
					x, best[i] = best[i], x
				}
			}
		}
		for _, x := range best[:k] {
			if x.count > 0 {
				w.prefetch(r.At, x.key, false)
			}
		}
	}
	return w
}

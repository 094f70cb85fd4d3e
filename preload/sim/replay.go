// Package sim replays request traces in virtual time: through the preloader's model (the very code that runs), the
// store of the cache (otter) and an upstream whose calls all take equally long.
package sim

import "penstock/preload/learn"

// Prefetcher is told of each request and names what to fetch.
type Prefetcher func(r Row, hit bool) []uint32

// Replay replays rows with a prefetcher, nil for none.
func Replay(rows []Row, s Setup, p Prefetcher) Result {
	w := newWorld(s)
	defer w.close()
	for _, r := range rows {
		w.land(r.At)
		hit, joined := w.ask(r.At, r.Key)
		if !hit && !joined {
			w.call(r.At, r.Key, false)
		}
		if p != nil {
			for _, k := range p(r, hit) {
				w.prefetch(r.At, k)
			}
		}
	}
	return w.Result
}

// family is that of all numbered keys of a trace.
const family = 1

// ReplayModel replays rows with the preloader's model at its defaults.
func ReplayModel(rows []Row, s Setup) (Result, *learn.Model) {
	w := newWorld(s)
	defer w.close()
	names := newNames(rows)
	m := learn.New(learn.Options{Keys: 1 << 17, KeyOf: func(_ uint64, n int64) uint64 { return hash(names.of(n)) }})
	w.stored = func(k uint32, now, expires int64) { m.Stored(hash(k), now, expires) }
	w.evicted = func(k uint32) { m.Evicted(hash(k)) }
	make := func(now int64, list []learn.Prediction) {
		for i := range list {
			p := &list[i]
			k := unhash(p.Key)
			renews := p.Source == learn.Refresh || p.Source == learn.Periodic
			if _, ok := w.flights[k]; ok || !renews && w.has(k) {
				continue
			}
			m.Issue(*p, now)
			w.Issued++
			w.call(now, k, true)
		}
	}
	// A copy stored in the course of a call may not change the list that is being made.
	var list []learn.Prediction
	for _, r := range rows {
		for {
			due, lands := m.Next(), w.next()
			if min(due, lands) > r.At {
				break
			}
			if lands <= due {
				w.land(lands)
				continue
			}
			list = append(list[:0], m.Due(due)...)
			make(due, list)
		}
		a := learn.Access{At: r.At, Key: hash(r.Key), Session: uint64(r.Client) + 1, Group: 1, Latency: s.Latency}
		if r.Number != 0 {
			a.Family, a.Number = family, r.Number
		}
		a.Hit, a.Joined = w.ask(r.At, r.Key)
		list = append(list[:0], m.Access(a)...)
		if !a.Hit && !a.Joined {
			w.call(r.At, r.Key, false)
		}
		make(r.At, list)
	}
	return w.Result, m
}

// names gives numbered keys their ids, also those that no row has.
type names struct {
	ids  map[int64]uint32
	next uint32
}

func newNames(rows []Row) *names {
	n := &names{ids: make(map[int64]uint32)}
	for _, r := range rows {
		if r.Number != 0 {
			n.ids[r.Number] = r.Key
		}
		n.next = max(n.next, r.Key)
	}
	return n
}

func (n *names) of(number int64) uint32 {
	id, ok := n.ids[number]
	if !ok {
		n.next++
		id = n.next
		n.ids[number] = id
	}
	return id
}

// hash and unhash are a one-to-one map of ids to what the model takes for hashes.
func hash(k uint32) uint64   { return (uint64(k)+1)<<17 | 1 }
func unhash(h uint64) uint32 { return uint32(h>>17) - 1 }

package preload

import (
	"penstock/preload/learn"
)

var Touch int
var Side float64

// RunModel replays rows through the model.
func RunModel(rows []Row, s Setup, o learn.Options) (*World, *learn.Model) {
	w := NewWorld(s)
	defer w.done()
	w.touch = Touch
	if Side > 0 && s.TTL == 0 && s.Capacity > 0 {
		w.useSide(max(1, int(Side*float64(s.Capacity))))
	}
	kh := func(k uint32) uint64 { return uint64(k+1)*0x9e3779b97f4a7c15 | 1 }
	inv := map[uint64]uint32{}
	num := map[int64]uint32{}
	fresh := uint32(1 << 30)
	o.KeyOf = func(f uint64, n int64) uint64 {
		k, ok := num[n]
		if !ok {
			fresh++
			k = fresh
			num[n] = k
			inv[kh(k)] = k
		}
		return kh(k)
	}
	m := learn.New(o)
	w.stored = func(k uint32, now, expires int64) { m.Stored(kh(k), now, expires) }
	w.evicted = func(k uint32) { m.Evicted(kh(k)) }
	issue := func(now int64, ps []learn.Prediction) {
		for _, p := range append([]learn.Prediction(nil), ps...) {
			k, ok := inv[p.Key]
			if !ok {
				continue
			}
			if _, ok := w.flights[k]; ok {
				continue
			}
			if w.has(k) && p.Source != learn.Refresh && p.Source != learn.Periodic {
				continue
			}
			m.Issue(p, now)
			w.Issued++
			w.call(now, k, true)
		}
	}
	for _, r := range rows {
		for {
			t := m.Next()
			if w.head < len(w.queue) && w.queue[w.head].at <= min(t, r.At) {
				w.land(w.queue[w.head].at)
				continue
			}
			if t > r.At {
				break
			}
			issue(t, m.Due(t))
		}
		w.land(r.At)
		a := learn.Access{At: r.At, Session: uint64(r.Client) + 1, Group: 1, Latency: s.Latency}
		if r.Number != 0 {
			a.Family, a.Number = 1, r.Number
			a.Key = o.KeyOf(1, r.Number)
		} else {
			a.Key = kh(r.Key)
			inv[a.Key] = r.Key
		}
		k := inv[a.Key]
		a.Hit, a.Joined = w.ask(r.At, k)
		ps := m.Access(a)
		if !a.Hit && !a.Joined {
			w.call(r.At, k, false)
		}
		issue(r.At, ps)
	}
	return w, m
}

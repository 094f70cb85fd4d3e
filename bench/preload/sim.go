// Package preload replays traces through the preloader's model and the cache's store in virtual time.
package preload

import (
	"container/list"
	"time"

	"github.com/maypok86/otter/v2"
)

// Row is one request of a trace, with names made small.
type Row struct {
	At             int64
	Client, Key    uint32
	Number, Family int64
}

// Setup is one cell of the table.
type Setup struct {
	Capacity int   // entries, 0: no bound
	TTL      int64 // 0: none
	Latency  int64
}

// Result counts.
type Result struct {
	Rows, Hits, Late, Collapsed, Misses    int
	Issued, Used, UsedLate, Evicted, Ended int
}

type clock struct{ now int64 }

func (c *clock) NowNano() int64                      { return c.now }
func (c *clock) Tick(time.Duration) <-chan time.Time { return nil }

type arrival struct {
	at       int64
	key      uint32
	prefetch bool
}

type flying struct {
	prefetch bool
	joined   bool
}

// World is the cache and the upstream in virtual time.
type World struct {
	s       Setup
	clock   clock
	cache   *otter.Cache[uint32, struct{}]
	queue   []arrival
	head    int
	flights map[uint32]flying
	touch   int
	side    *side
	pending map[uint32]bool // prefetched and not used
	Result
	evicted func(uint32)
	stored  func(key uint32, now, expires int64)
}

const never = 1<<63 - 1

func NewWorld(s Setup) *World {
	w := &World{s: s, flights: map[uint32]flying{}, pending: map[uint32]bool{}, evicted: func(uint32) {}, stored: func(uint32, int64, int64) {}}
	w.clock.now = 1
	o := &otter.Options[uint32, struct{}]{Clock: &w.clock, Executor: func(f func()) { f() }}
	if s.Capacity > 0 {
		o.MaximumSize = s.Capacity
	}
	if s.TTL > 0 {
		o.ExpiryCalculator = otter.ExpiryWriting[uint32, struct{}](time.Duration(s.TTL))
	}
	o.OnAtomicDeletion = func(e otter.DeletionEvent[uint32, struct{}]) {
		if e.Cause == otter.CauseReplacement {
			return
		}
		if w.pending[e.Key] {
			delete(w.pending, e.Key)
			if e.Cause == otter.CauseOverflow {
				w.Evicted++
			} else {
				w.Ended++
			}
		}
		if e.Cause == otter.CauseOverflow {
			w.evicted(e.Key)
		}
	}
	w.cache = otter.Must(o)
	return w
}

func (w *World) land(until int64) {
	for w.head < len(w.queue) && w.queue[w.head].at <= until {
		a := w.queue[w.head]
		w.head++
		w.store(a)
	}
	if w.head > 1<<16 {
		w.queue = append(w.queue[:0], w.queue[w.head:]...)
		w.head = 0
	}
}

func (w *World) store(a arrival) {
	w.clock.now = max(w.clock.now, a.at)
	f := w.flights[a.key]
	delete(w.flights, a.key)
	if a.prefetch && !f.joined {
		w.pending[a.key] = true
	}
	if a.prefetch && !f.joined && w.side != nil {
		w.side.add(a.key, a.at)
		w.fit()
	} else {
		w.cache.Set(a.key, struct{}{})
	}
	if a.prefetch {
		for range w.touch {
			w.cache.GetIfPresent(a.key)
		}
	}
	expires := int64(never)
	if w.s.TTL > 0 {
		expires = a.at + w.s.TTL
	}
	w.stored(a.key, a.at, expires)
}

func (w *World) call(now int64, key uint32, prefetch bool) {
	a := arrival{now + w.s.Latency, key, prefetch}
	if w.s.Latency == 0 {
		w.flights[key] = flying{prefetch: prefetch}
		w.store(a)
		return
	}
	w.flights[key] = flying{prefetch: prefetch}
	w.queue = append(w.queue, a)
}

// ask is a client's request. hit: from the cache; joined: it joined a call under way.
func (w *World) ask(now int64, key uint32) (hit, joined bool) {
	w.clock.now = max(w.clock.now, now)
	w.Rows++
	if w.side != nil && w.side.take(key) {
		w.Hits++
		delete(w.pending, key)
		w.Used++
		w.fit()
		w.cache.Set(key, struct{}{})
		return true, false
	}
	if _, ok := w.cache.GetIfPresent(key); ok {
		w.Hits++
		if w.pending[key] {
			delete(w.pending, key)
			w.Used++
		}
		return true, false
	}
	if f, ok := w.flights[key]; ok {
		if f.prefetch && !f.joined {
			w.UsedLate++
			w.flights[key] = flying{prefetch: true, joined: true}
			w.Late++
		} else {
			w.Collapsed++
		}
		return false, true
	}
	w.Misses++
	return false, false
}

// prefetch starts a prefetch, and reports whether it made a call.
func (w *World) prefetch(now int64, key uint32, touch bool) bool {
	w.clock.now = max(w.clock.now, now)
	if _, ok := w.cache.GetEntryQuietly(key); ok {
		if touch {
			w.cache.GetIfPresent(key)
		}
		return false
	}
	if _, ok := w.flights[key]; ok {
		return false
	}
	w.Issued++
	w.call(now, key, true)
	return true
}

type side struct {
	size int
	list *list.List
	at   map[uint32]*list.Element
	gone func(uint32)
}

func (s *side) add(k uint32, now int64) {
	s.at[k] = s.list.PushBack(k)
	if s.list.Len() > s.size {
		k := s.list.Remove(s.list.Front()).(uint32)
		delete(s.at, k)
		s.gone(k)
	}
}

func (s *side) take(k uint32) bool {
	e, ok := s.at[k]
	if ok {
		s.list.Remove(e)
		delete(s.at, k)
	}
	return ok
}

func (w *World) useSide(n int) {
	w.side = &side{size: n, list: list.New(), at: map[uint32]*list.Element{}, gone: func(k uint32) {
		delete(w.pending, k)
		w.Evicted++
		w.evicted(k)
	}}
}

func (w *World) fit() { w.cache.SetMaximum(uint64(max(1, w.s.Capacity-w.side.list.Len()))) }

func (w *World) has(k uint32) bool {
	if w.side != nil && w.side.at[k] != nil {
		return true
	}
	_, ok := w.cache.GetEntryQuietly(k)
	return ok
}

func (w *World) done() {
	w.cache.StopAllGoroutines()
}

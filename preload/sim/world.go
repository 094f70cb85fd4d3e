package sim

import (
	"math"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
)

// Row is one request of a trace, with names made small.
type Row struct {
	// At is in nanoseconds from the trace's first row, plus one.
	At          int64
	Client, Key uint32
	// Number is the key's, if it is one (neighbouring blocks, pages); 0: it is not.
	Number int64
}

// Rows names what a trace names, in small. The zero value is ready.
type Rows struct {
	All           []Row
	keys, clients map[string]uint32
}

// Add takes the next row, at its time from the trace's first. Rows come in order of time.
func (r *Rows) Add(at time.Duration, client, key string) {
	if r.keys == nil {
		r.keys, r.clients = make(map[string]uint32), make(map[string]uint32)
	}
	row := Row{At: int64(at) + 1, Client: small(r.clients, client), Key: small(r.keys, key)}
	if n, err := strconv.ParseInt(key, 10, 64); err == nil && strconv.FormatInt(n, 10) == key {
		row.Number = n
	}
	r.All = append(r.All, row)
}

// Keys is how many different keys there are.
func (r *Rows) Keys() int { return len(r.keys) }

func small(m map[string]uint32, name string) uint32 {
	v, ok := m[name]
	if !ok {
		v = uint32(len(m))
		m[name] = v
	}
	return v
}

// Setup is the world that a trace is replayed in.
type Setup struct {
	Capacity int   // of the cache, entries; 0: no bound
	TTL      int64 // of an answer, nanoseconds; 0: none
	Latency  int64 // of a call, nanoseconds
}

// Result counts what happened. A request is a hit (from the cache, or by joining a client's call: no
// call of its own), late (it joined a prefetch under way), or a miss.
type Result struct {
	Rows, Hits, Late, Misses int
	// Issued prefetches end as used, used late, or neither.
	Issued, Used, UsedLate int
	// Waited is the time that all requests together waited for calls, nanoseconds.
	Waited int64
}

// HitRatio is the share of requests answered without waiting for a call of their own or a prefetch's.
func (r Result) HitRatio() float64 { return float64(r.Hits) / float64(max(r.Rows, 1)) }

// LateRatio is the share that joined a prefetch.
func (r Result) LateRatio() float64 { return float64(r.Late) / float64(max(r.Rows, 1)) }

// Precision is the share of prefetches that were asked for before they were evicted or expired.
func (r Result) Precision() float64 { return float64(r.Used+r.UsedLate) / float64(max(r.Issued, 1)) }

// MeanWait is how long a request waited for a call on average; 0 for a hit.
func (r Result) MeanWait() time.Duration { return time.Duration(r.Waited / int64(max(r.Rows, 1))) }

// Calls is how many calls the upstream had.
func (r Result) Calls() int { return r.Misses + r.Issued }

type clock struct{ now int64 }

func (c *clock) NowNano() int64                      { return c.now }
func (c *clock) Tick(time.Duration) <-chan time.Time { return nil }

const never = math.MaxInt64

// arrival is an answer on its way.
type arrival struct {
	at  int64
	key uint32
}

type flight struct {
	prefetch, joined bool
	lands            int64
}

// world is the cache's store and an upstream in virtual time. All calls take equally long, so that answers
// come in the order of their calls.
type world struct {
	s       Setup
	clock   clock
	cache   *otter.Cache[uint32, struct{}]
	queue   []arrival
	head    int
	flights map[uint32]flight
	unused  map[uint32]bool // prefetched, stored and not asked for
	// stored and evicted tell the prefetcher.
	stored  func(key uint32, now, expires int64)
	evicted func(key uint32)
	Result
}

func newWorld(s Setup) *world {
	w := &world{s: s, flights: make(map[uint32]flight), unused: make(map[uint32]bool),
		stored: func(uint32, int64, int64) {}, evicted: func(uint32) {}}
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
		delete(w.unused, e.Key)
		if e.Cause == otter.CauseOverflow {
			w.evicted(e.Key)
		}
	}
	w.cache = otter.Must(o)
	return w
}

func (w *world) close() { w.cache.StopAllGoroutines() }

// next is when the next answer comes.
func (w *world) next() int64 {
	if w.head == len(w.queue) {
		return never
	}
	return w.queue[w.head].at
}

// land stores the answers that have come by a time.
func (w *world) land(until int64) {
	for w.next() <= until {
		a := w.queue[w.head]
		if w.head++; w.head > 1<<16 {
			w.queue = append(w.queue[:0], w.queue[w.head:]...)
			w.head = 0
		}
		w.store(a)
	}
}

func (w *world) store(a arrival) {
	w.clock.now = max(w.clock.now, a.at)
	if f := w.flights[a.key]; f.prefetch && !f.joined {
		w.unused[a.key] = true
	}
	delete(w.flights, a.key)
	w.cache.Set(a.key, struct{}{})
	expires := int64(never)
	if w.s.TTL > 0 {
		expires = a.at + w.s.TTL
	}
	w.stored(a.key, a.at, expires)
}

func (w *world) call(now int64, key uint32, prefetch bool) {
	a := arrival{now + w.s.Latency, key}
	w.flights[key] = flight{prefetch: prefetch, lands: a.at}
	if w.s.Latency == 0 {
		w.store(a)
		return
	}
	w.queue = append(w.queue, a)
}

// ask is a client's request. hit: the cache has it; joined: a call for it is under way.
func (w *world) ask(now int64, key uint32) (hit, joined bool) {
	w.clock.now = max(w.clock.now, now)
	w.Rows++
	if _, ok := w.cache.GetIfPresent(key); ok {
		w.Hits++
		if w.unused[key] {
			delete(w.unused, key)
			w.Used++
		}
		return true, false
	}
	if f, ok := w.flights[key]; ok {
		w.Waited += max(f.lands-now, 0)
		if f.prefetch && !f.joined {
			w.UsedLate++
			w.Late++
			f.joined = true
			w.flights[key] = f
		} else {
			w.Hits++
		}
		return false, true
	}
	w.Misses++
	w.Waited += w.s.Latency
	return false, false
}

// has reports whether a prefetch of key would make no call.
func (w *world) has(key uint32) bool {
	if _, ok := w.flights[key]; ok {
		return true
	}
	_, ok := w.cache.GetEntryQuietly(key)
	return ok
}

// prefetch makes a call for key, if one is needed.
func (w *world) prefetch(now int64, key uint32) {
	w.clock.now = max(w.clock.now, now)
	if !w.has(key) {
		w.Issued++
		w.call(now, key, true)
	}
}

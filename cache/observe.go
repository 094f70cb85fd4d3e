package cache

import (
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock/request"
)

// Look is what one fetch found out about the content of a key: whether it is still what it was at the fetch
// before, and how long that is ago.
type Look struct {
	Upstream, Route string
	// Key is a hash of the key, the same for all its variants while the process lives.
	Key uint64
	At  time.Time
	// First: nothing was known, so Since, Changed and the like are zero.
	First bool
	// Since is the time since the last fetch, Kept the part of it for which the copy could be used.
	Since, Kept time.Duration
	// Changed: the content is another one. Equal entity tags, or else equal bodies, mean the same content;
	// header fields do not count.
	Changed bool
	// Age is how long ago the content changed last by its Last-Modified, 0 if it does not say.
	Age time.Duration
	// Uses is how many requests were answered from the copy.
	Uses int
	// Early: the copy was still fresh, and looked at to learn.
	Early bool
}

// tracks remember what was fetched last, longer than the store does: a look must be possible after the
// copy has gone. They are bounded; of two keys in one place the last stays. They are safe for concurrent use.
type tracks struct {
	seed   maphash.Seed
	shards [trackShards]struct {
		mu    sync.Mutex // guards slots
		slots []*track
	}
}

const (
	trackShards = 64
	// trackSlots bounds the keys: 64 * 512 of 0.1 KB.
	trackSlots = 512
)

// track is what is remembered of one key (one variant).
type track struct {
	id uint64
	// uses are the hits since the last fetch; due is when a hit is to have the copy looked at early, in Unix
	// nanoseconds, 0: not. Both are for the hot path.
	uses atomic.Uint32
	due  atomic.Int64
	// What was fetched last, guarded by the shard.
	body, tag uint64
	status    int
	fetched   time.Time
	kept      time.Duration
}

func newTracks() *tracks { return &tracks{seed: maphash.MakeSeed()} }

func (t *tracks) hash(key string) uint64 { return maphash.String(t.seed, key) }

// used counts an answer from the copy, and reports whether it is the one that has it looked at early.
func (e *entry) used(now time.Time) (look bool) {
	t := e.track
	if t == nil {
		return false
	}
	t.uses.Add(1)
	due := t.due.Load()
	return due != 0 && now.UnixNano() >= due && t.due.CompareAndSwap(due, 0)
}

// observe ties e, which is to be stored, to what is known of its key, and tells how it compares. checks is the
// share of copies to be looked at early.
func (t *tracks) observe(l *Look, e *entry, selectors []string, body []byte, checks float64) {
	id := l.Key
	for _, s := range selectors {
		id = id*31 + t.hash(s)
	}
	tag := uint64(0)
	if lines := e.header["Etag"]; len(lines) > 0 {
		tag = t.hash(opaqueTag(lines[0]))
	}
	sum := maphash.Bytes(t.seed, body)
	t.enter(l, e, id, checks, func(old *track) bool {
		return old.status == e.status && (sum == old.body || tag != 0 && tag == old.tag)
	}, func(n *track) { n.body, n.tag = sum, tag })
}

// renewed does so for an entry that a 304 renewed: the body is what it was.
func (t *tracks) renewed(l *Look, e *entry, checks float64) {
	if e.track == nil {
		return // stored by an earlier process, or forgotten since
	}
	old := e.track
	t.enter(l, e, old.id, checks, func(*track) bool { return true }, func(n *track) { n.body, n.tag = old.body, old.tag })
}

func (t *tracks) enter(l *Look, e *entry, id uint64, checks float64, same func(old *track) bool, set func(n *track)) {
	s := &t.shards[id%trackShards]
	i := (id / trackShards) % trackSlots
	n := &track{id: id, status: e.status, fetched: l.At, kept: max(0, e.lifetime-e.age(l.At))}
	if n.kept > 0 && rand.Float64() < checks {
		n.due.Store(l.At.UnixNano() + rand.Int64N(int64(n.kept)+1))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]*track, trackSlots)
	}
	old := s.slots[i]
	if old == nil || old.id != id {
		l.First = true
	} else {
		l.Since, l.Changed = l.At.Sub(old.fetched), !same(old)
		l.Kept, l.Early = min(old.kept+e.staleWhileRevalidate, l.Since), l.Since < old.kept
		l.Uses = int(old.uses.Load())
	}
	set(n)
	s.slots[i] = n
	e.track = n
}

// observes reports whether the looks at what the verdict is about are to be told.
func (f *flight) observes(v *verdict) bool {
	return v.ours && f.key != "" && f.c.settings.Load().OnLook != nil
}

// lookAt begins a Look at what the flight fetched.
func (f *flight) lookAt(h http.Header, answered time.Time) *Look {
	l := &Look{Upstream: f.req.Route.Upstream, Route: f.req.Route.Name, Key: f.c.tracks.hash(f.key), At: answered}
	if changed, ok := dateOf(h, "Last-Modified"); ok {
		date, ok := dateOf(h, "Date")
		if !ok {
			date = answered
		}
		// Dates are whole seconds.
		l.Age = max(0, date.Sub(changed)+time.Second/2)
		if l.Age < 2*time.Second {
			l.Age = 0 // made for the answer, as like as not
		}
	}
	return l
}

// tell hands a Look out, outside all locks.
func (f *flight) tell(l *Look) {
	if l != nil {
		f.c.settings.Load().OnLook(*l)
	}
}

// checks is the share of copies that are looked at before their time is over.
func (f *flight) checks() float64 {
	if k := f.q.policy.Keyed; k != nil {
		return k.EarlyRatio()
	}
	return 0
}

// look has a fresh copy looked at behind the client's back, as work that waits for everybody else's.
func (c *Cache) look(k *call) {
	key := flightKey(k.r.Method, k.key, k.r.Header, k.stale.vary)
	s := c.flights.shard(k.key)
	s.mu.Lock()
	if s.m[key] != nil {
		s.mu.Unlock()
		return
	}
	f := c.behind(k, key)
	f.req.SetUrgency(request.LeastUrgent)
	f.req.Background = true
	s.m[key] = f
	s.mu.Unlock()
	c.start(f)
}

// keyed is what the route gives this key in particular.
func (q *question) keyed() (ttl, window time.Duration, ok bool) {
	if q.policy.Keyed == nil {
		return 0, 0, false
	}
	return q.policy.Keyed.Freshness(q.hash)
}

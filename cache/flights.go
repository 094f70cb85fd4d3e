package cache

import (
	"crypto/sha256"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const flightShards = 64

// flightTable holds the flights that may be joined, by flight key. It is safe for concurrent use.
type flightTable struct {
	seed   maphash.Seed
	count  atomic.Int64  // all flights, private ones too
	single atomic.Uint64 // numbers those that nobody joins
	shards [flightShards]flightShard
}

type flightShard struct {
	mu sync.Mutex // guards m, and listed of each flight in it
	m  map[string]*flight
}

func newFlightTable() *flightTable {
	t := &flightTable{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].m = make(map[string]*flight)
	}
	return t
}

func (t *flightTable) shard(key string) *flightShard {
	return &t.shards[maphash.String(t.seed, key)%flightShards]
}

// unlist takes f out of the table, if it is there.
func (t *flightTable) unlist(f *flight) { t.conclude(f, nil) }

// conclude takes f out of the table. If f was still there, it calls store, if not nil, first, and
// reports that it did: a flight that a purge took out stores nothing. The store's key orders
// purges and stores, and no request finds neither the flight nor what it stored.
func (t *flightTable) conclude(f *flight, store func()) bool {
	if f.key == "" {
		return false
	}
	s := t.shard(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[f.listed] != f {
		return false
	}
	if store != nil {
		store()
	}
	delete(s.m, f.listed)
	return store != nil
}

// listAlone lists f where purges find it, but no request does.
func (t *flightTable) listAlone(f *flight) {
	s := t.shard(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.setApart(s, f)
}

// isolate keeps requests from joining f from now on. Purges still find it.
func (t *flightTable) isolate(f *flight) {
	s := t.shard(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[f.listed] == f {
		delete(s.m, f.listed)
		t.setApart(s, f)
	}
}

// setApart is called with s.mu held.
func (t *flightTable) setApart(s *flightShard, f *flight) {
	f.single = true
	f.listed = f.key + singleMark + strconv.FormatUint(t.single.Add(1), 36)
	s.m[f.listed] = f
}

// supersede tells the flights of f's key that go alone and have not begun that there is an answer by
// now.
func (t *flightTable) supersede(f *flight) {
	s := t.shard(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.m {
		if g != f && g.key == f.key && g.superseded != nil && !g.told && !g.req.Started() {
			g.told = true
			close(g.superseded)
		}
	}
}

// singleMark parts a store key from the number of a flight that nobody joins; see flightKey.
const singleMark = "\x00N"

// relist moves f to another flight key of the same store key, unless that is taken.
func (t *flightTable) relist(f *flight, key string) {
	s := t.shard(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.single || s.m[f.listed] != f || s.m[key] != nil {
		return
	}
	delete(s.m, f.listed)
	f.listed = key
	s.m[key] = f
}

// purge takes the flights that match out, so that they neither store nor are joined.
func (t *flightTable) purge(match func(*flight) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for key, f := range s.m {
			if match(f) {
				delete(s.m, key)
			}
		}
		s.mu.Unlock()
	}
}

// purgeKey does so for one store key, and calls remove under the same lock.
func (t *flightTable) purgeKey(key string, remove func()) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for listed, f := range s.m {
		if f.key == key {
			delete(s.m, listed)
		}
	}
	remove()
}

// flightKey is the key of the flight that a request may join: the store's key, whether the answer
// has a body, who asks (as far as an upstream may tell by it), and the selecting fields that are
// known.
func flightKey(method, key string, h http.Header, vary []string) string {
	auth, cookie := h["Authorization"], h["Cookie"]
	if method != http.MethodHead && len(auth)+len(cookie)+len(vary) == 0 {
		return key
	}
	var b strings.Builder
	b.WriteString(key)
	b.WriteByte(0)
	if method == http.MethodHead {
		b.WriteByte('H')
	}
	if len(auth)+len(cookie) > 0 {
		b.WriteByte('C')
		b.WriteString(credentials(h))
	}
	for i, v := range varyValues(vary, h) {
		b.WriteByte(0)
		b.WriteString(vary[i])
		b.WriteByte('=')
		b.WriteString(v)
	}
	return b.String()
}

// credentials tells apart who asks, without keeping a secret in a key.
func credentials(h http.Header) string {
	d := sha256.New()
	for _, name := range []string{"Authorization", "Cookie"} {
		for _, line := range h[name] {
			d.Write([]byte(line))
			d.Write([]byte{0})
		}
		d.Write([]byte{1})
	}
	return string(d.Sum(nil))
}

const (
	// memoTime is how long it is remembered that a key can't be shared, or varies. An answer
	// that can be shared again is noticed after it.
	memoTime = 30 * time.Second
	maxMemos = 16 << 10
)

// memos is what was learned of keys that have nothing stored. It is safe for concurrent use.
type memos struct {
	unshared *otter.Cache[string, struct{}] // by flight key
	varies   *otter.Cache[string, []string] // by store key
}

func newMemos() (*memos, error) {
	unshared, err := otter.New(&otter.Options[string, struct{}]{
		MaximumSize: maxMemos, ExpiryCalculator: otter.ExpiryWriting[string, struct{}](memoTime),
	})
	if err != nil {
		return nil, err
	}
	varies, err := otter.New(&otter.Options[string, []string]{
		MaximumSize: maxMemos, ExpiryCalculator: otter.ExpiryWriting[string, []string](memoTime),
	})
	return &memos{unshared, varies}, err
}

// forbid remembers that the answers to a flight key can't be shared.
func (m *memos) forbid(flightKey string) { m.unshared.Set(flightKey, struct{}{}) }

// permit forgets that.
func (m *memos) permit(flightKey string) { m.unshared.Invalidate(flightKey) }

func (m *memos) forbidden(flightKey string) bool {
	_, ok := m.unshared.GetIfPresent(flightKey)
	return ok
}

// vary remembers the selecting fields of a store key.
func (m *memos) vary(key string, names []string) { m.varies.Set(key, names) }

func (m *memos) varyOf(key string) (names []string, ok bool) {
	return m.varies.GetIfPresent(key)
}

func (m *memos) close() {
	m.unshared.StopAllGoroutines()
	m.varies.StopAllGoroutines()
}

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock/request"
)

// SecondLevel is a store that several caches share. Its methods may be called at once.
type SecondLevel interface {
	// Get returns the value of a key, nil if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put keeps a value for so long at most.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete forgets one, and Clear forgets all, for all caches. After Clear has returned, Get gives nothing
	// that was put before, whatever its error.
	Delete(ctx context.Context, key string) error
	Clear(ctx context.Context) error
}

// Defaults of [Options] for the second level.
const (
	DefaultSecondWait     = 25 * time.Millisecond
	DefaultSecondMaxBytes = 64 << 10
)

const (
	// secondWrites is how many changes wait for the second level; more are dropped.
	secondWrites = 4096
	// secondReads is how many reads may be under way; more are misses.
	secondReads = 256
	// secondRest is how long it is not read after it was too slow or failed.
	secondRest = time.Second
	// secondTimeout bounds a change.
	secondTimeout = 5 * time.Second
)

// second is the second level at work. What is stored here is put there by a goroutine of its own; what is not here
// is looked up there by the flight, in bounded time, before the upstream is asked. The key there is that of the store, credentials included, so
// whoever may not have an answer from this cache can't have it from another one.
type second struct {
	c     *Cache
	level SecondLevel
	// changes are store keys to put, or to delete; clear comes before them.
	changes chan change
	clear   chan struct{}
	reads   chan struct{}
	rest    atomic.Int64 // until when it is not read, in Unix nanoseconds

	clearing atomic.Int32 // clears that are not done yet

	mu      sync.Mutex     // guards deleted
	deleted map[string]int // store keys whose deletion is under way
}

type change struct {
	key  string
	gone bool
}

func newSecond(c *Cache, level SecondLevel) *second {
	return &second{
		c: c, level: level, changes: make(chan change, secondWrites), clear: make(chan struct{}, 1),
		reads: make(chan struct{}, secondReads), deleted: make(map[string]int),
	}
}

// secondKey is the key there: of one length, and it tells nothing.
func secondKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// offer has what is stored under key put there.
func (s *second) offer(key string) {
	if s == nil {
		return
	}
	select {
	case s.changes <- change{key: key}:
	default:
		s.c.counters.secondDropped.Inc()
	}
}

// hide keeps key from being read until forget has it deleted. It comes before the key goes here, and forget after.
func (s *second) hide(key string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.deleted[key]++
	s.mu.Unlock()
}

// forget has key, which was hidden, deleted there.
func (s *second) forget(key string) {
	if s == nil {
		return
	}
	select {
	case s.changes <- change{key, true}:
	default:
		s.hideAll()
		s.forgetAll()
		s.undelete(key)
	}
}

func (s *second) undelete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted[key]--; s.deleted[key] <= 0 {
		delete(s.deleted, key)
	}
}

// hideAll keeps all from being read until forgetAll has all forgotten.
func (s *second) hideAll() {
	if s != nil {
		s.clearing.Add(1)
	}
}

// forgetAll has all forgotten there, after hideAll.
func (s *second) forgetAll() {
	if s == nil {
		return
	}
	select {
	case s.clear <- struct{}{}:
	default:
		s.clearing.Add(-1) // the one that waits will do
	}
}

// run makes the changes until the cache is closed.
func (s *second) run() {
	for {
		select {
		case <-s.clear:
			s.clearNow()
			continue
		default:
		}
		select {
		case <-s.c.base.Done():
			return
		case <-s.clear:
			s.clearNow()
		case ch := <-s.changes:
			if ch.gone {
				s.delete(ch.key)
			} else {
				s.put(ch.key)
			}
		}
	}
}

func (s *second) clearNow() {
	defer s.clearing.Add(-1)
	ctx, cancel := context.WithTimeout(s.c.base, secondTimeout)
	defer cancel()
	if err := s.level.Clear(ctx); err != nil {
		s.failed(err)
	}
}

func (s *second) delete(key string) {
	ctx, cancel := context.WithTimeout(s.c.base, secondTimeout)
	defer cancel()
	if err := s.level.Delete(ctx, secondKey(key)); err != nil {
		s.failed(err)
		s.hideAll()
		s.clearNow() // it may be there still
	}
	s.undelete(key)
}

// put writes what is stored by now: what was purged meanwhile is not.
func (s *second) put(key string) {
	rec := s.c.store.get(key)
	if rec == nil {
		return
	}
	limit := s.c.settings.Load().SecondMaxBytes
	if rec.bytes > limit+entryOverhead {
		s.c.counters.secondTooLarge.Inc()
		return
	}
	now := time.Now()
	var ttl time.Duration
	for _, e := range rec.variants {
		ttl = max(ttl, e.lifetime-e.age(now))
	}
	if ttl < time.Second {
		return
	}
	ctx, cancel := context.WithTimeout(s.c.base, secondTimeout)
	defer cancel()
	if err := s.level.Put(ctx, secondKey(key), appendRecord(nil, keyed{key, rec}), ttl); err != nil {
		s.failed(err)
		return
	}
	s.c.counters.secondStored.Inc()
}

func (s *second) failed(err error) {
	if s.c.base.Err() == nil {
		s.c.counters.secondFailed.Inc()
		s.c.log.Debug("cache: the second level failed", "error", err)
	}
}

// get looks a key up, in bounded time.
func (s *second) get(key string) *record {
	s.mu.Lock()
	deleted := s.deleted[key] > 0
	s.mu.Unlock()
	if deleted || s.clearing.Load() > 0 || time.Now().UnixNano() < s.rest.Load() {
		return nil
	}
	select {
	case s.reads <- struct{}{}:
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(s.c.base, s.c.settings.Load().SecondWait)
	defer cancel()
	got := make(chan []byte, 1)
	s.c.tasks.Go(func() { // it may take longer than ctx allows
		defer func() { <-s.reads }()
		data, err := s.level.Get(ctx, secondKey(key))
		if err != nil && !errors.Is(err, context.Canceled) {
			s.rest.Store(time.Now().Add(secondRest).UnixNano())
			s.failed(err)
			data = nil
		}
		got <- data
	})
	select {
	case data := <-got:
		return s.decode(key, data)
	case <-ctx.Done():
		s.rest.Store(time.Now().Add(secondRest).UnixNano())
		return nil
	}
}

func (s *second) decode(key string, data []byte) *record {
	if len(data) == 0 {
		return nil
	}
	k, err := readRecord(data)
	if err != nil || k.key != key {
		return nil
	}
	if strings.Contains(key, credentialMark) {
		s.c.split.Store(true)
	}
	return k.record
}

// fromSecond answers the flight by what another cache has stored, and reports whether it did.
func (f *flight) fromSecond() bool {
	s := f.c.second
	if s == nil || f.key == "" || f.validates != nil || f.superseded != nil || f.req.Method != http.MethodGet ||
		f.q.mode == request.CacheOff || f.c.store.get(f.key) != nil {
		return false
	}
	d := requestDirectives(f.req.Header)
	if d.noStore || d.noCache {
		return false
	}
	rec := s.get(f.key)
	var e *entry
	if rec != nil {
		e = rec.find(f.selectors)
	}
	now := time.Now()
	if e != nil {
		e.birth = min(e.birth, now.UnixNano()) // clocks may differ
	}
	if e == nil || assess(e, &d, e.age(now)) != useFresh || e.age(now) >= e.lifetime {
		f.c.counters.secondMisses.Inc()
		return false
	}
	e.heat = newHeat()
	f.second = true
	if !f.put(e) {
		f.second = false
		return false // purged meanwhile, or there is no room
	}
	f.c.counters.secondHits.Inc()
	f.hand(outcome{response: &request.Response{Status: e.status}, verdict: verdict{share: true, store: true}, renewed: e})
	return true
}

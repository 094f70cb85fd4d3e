package cache

import (
	"iter"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// store keeps records by key, bounded by weight. It is safe for concurrent use.
//
// The expiry that otter knows is the end of all use of a record: an expired record is invisible,
// and stale ones must be seen.
type store struct {
	otter *otter.Cache[string, *record]
	// floor is what a record weighs at least, so that a bound on entries holds too.
	floor atomic.Uint32
	// books say for whom what is stored. Their lock is taken under otter's.
	books *books
	// evicted, if not nil, hears of each record that gave way to others. It is set before the store is used.
	evicted func(key string, r *record)

	bytes, entries, variants, rawBytes, storedBytes atomic.Int64
	evictions, expirations                          atomic.Uint64
}

func newStore(maxBytes int64, floor uint32) (*store, error) {
	s := &store{books: newBooks()}
	s.floor.Store(floor)
	var err error
	s.otter, err = otter.New(&otter.Options[string, *record]{
		MaximumWeight: uint64(maxBytes),
		Weigher: func(_ string, r *record) uint32 {
			return max(s.floor.Load(), uint32(min(r.bytes, math.MaxUint32)))
		},
		// A read must not move the expiry; otter skips the calculator on reads then.
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *record]) time.Duration {
			return max(time.Duration(e.Value.until-e.SnapshotAtNano), 1)
		}),
		OnAtomicDeletion: s.deleted,
	})
	return s, err
}

// deleted runs under a lock of otter's: it only counts.
func (s *store) deleted(e otter.DeletionEvent[string, *record]) {
	s.count(e.Value, -1)
	if e.Cause != otter.CauseReplacement { // else write has settled it
		s.books.settle(e.Value, nil, nil)
		if m := e.Value.memory(); m != nil {
			if q := m.queue.Load(); q != nil {
				q.remove(e.Key)
			}
		}
	}
	switch e.Cause {
	case otter.CauseOverflow:
		s.evictions.Add(1)
		if s.evicted != nil {
			s.evicted(e.Key, e.Value)
		}
	case otter.CauseExpiration:
		s.expirations.Add(1)
	}
}

func (s *store) count(r *record, sign int64) {
	s.bytes.Add(sign * r.bytes)
	if m := r.memory(); m != nil {
		m.bytes.Add(sign * r.charge)
	}
	s.entries.Add(sign)
	s.variants.Add(sign * int64(len(r.variants)))
	var raw, stored int64
	for _, e := range r.variants {
		raw += e.size
		stored += int64(len(e.body))
	}
	s.rawBytes.Add(sign * raw)
	s.storedBytes.Add(sign * stored)
}

// get returns the record of key, nil if there is none.
func (s *store) get(key string) *record {
	r, _ := s.otter.GetIfPresent(key)
	return r
}

// update replaces the record of key by what f makes of it (nil if there is none). f returning
// nil changes nothing. f must not call the store.
func (s *store) update(key string, f func(old *record) *record) {
	s.otter.Compute(key, func(old *record, found bool) (*record, otter.ComputeOp) {
		if !found {
			old = nil
		}
		r := f(old)
		if r == nil || !s.write(old, r, nil) {
			return old, otter.CancelOp
		}
		return r, otter.WriteOp
	})
}

// write enters r in place of old, if nobody has to pay more than limit gives. It runs under the lock
// of the key. The caller must have the store written then.
func (s *store) write(old, r *record, limit func(tenant string) int64) bool {
	r.charge = max(r.bytes, int64(s.floor.Load()))
	if !s.books.settle(old, r, limit) {
		return false
	}
	s.count(r, 1)
	return true
}

// admission is what became of an entry that was to be stored.
type admission uint8

const (
	admitted  admission = iota
	unwanted            // with gave nil
	overShare           // its tenant has no room for it
)

// admit puts e under key, in the record that with makes of what is there, if e's tenant has room for
// it within limit. If it has not, the tenant of the copy that e replaces goes on paying for it; if
// that has no room either, the copy goes as well, since it is outdated. with giving nil changes
// nothing. with must not call the store.
func (s *store) admit(key string, e *entry, limit func(tenant string) int64, with func(old *record) *record) (a admission) {
	s.otter.Compute(key, func(old *record, found bool) (*record, otter.ComputeOp) {
		if !found {
			old = nil
		}
		r := with(old)
		if r == nil {
			a = unwanted
			return old, otter.CancelOp
		}
		if s.write(old, r, limit) {
			return r, otter.WriteOp
		}
		before := old.variantLike(e)
		if before == nil {
			a = overShare
			return old, otter.CancelOp
		}
		if e.tenant = before.tenant; s.write(old, r, limit) {
			return r, otter.WriteOp
		}
		a = overShare
		rest := old.without(key, before)
		if rest == nil {
			return old, otter.InvalidateOp
		}
		s.write(old, rest, nil)
		return rest, otter.WriteOp
	})
	return a
}

// restore writes r unless there is something under key, or some tenant has no room for it.
func (s *store) restore(key string, r *record, limit func(tenant string) int64) (ok bool) {
	s.otter.Compute(key, func(old *record, found bool) (*record, otter.ComputeOp) {
		if found || !s.write(nil, r, limit) {
			return old, otter.CancelOp
		}
		ok = true
		return r, otter.WriteOp
	})
	return ok
}

// remove forgets key and reports whether it was there.
func (s *store) remove(key string) bool {
	_, ok := s.otter.Invalidate(key)
	return ok
}

// giveWay lets r, if it is still under key, go for others of its route, and reports whether it was.
func (s *store) giveWay(key string, r *record) (went bool) {
	s.otter.ComputeIfPresent(key, func(old *record) (*record, otter.ComputeOp) {
		if old != r {
			return old, otter.CancelOp
		}
		went = true
		return nil, otter.InvalidateOp
	})
	if went {
		s.evictions.Add(1)
		if s.evicted != nil {
			s.evicted(key, r)
		}
	}
	return went
}

// all are the records in no order; hottest in order of use. Neither holds a lock while the
// caller looks at them.
func (s *store) all() iter.Seq2[string, *record] { return s.otter.All() }

type keyed struct {
	key string
	*record
}

func (s *store) hottest() []keyed {
	list := make([]keyed, 0, s.entries.Load())
	for e := range s.otter.Hottest() {
		list = append(list, keyed{e.Key, e.Value})
	}
	return list
}

// resize puts new bounds in force at once.
func (s *store) resize(maxBytes int64, floor uint32) {
	if uint64(maxBytes) > s.otter.GetMaximum() {
		s.otter.SetMaximum(uint64(maxBytes)) // first, lest the new weights drop everything
	}
	if s.floor.Swap(floor) != floor {
		for key, r := range s.all() {
			// Weights are taken when an entry is written.
			s.update(key, func(old *record) *record {
				if old != r {
					return nil
				}
				same := *r
				return &same
			})
		}
	}
	s.otter.SetMaximum(uint64(maxBytes))
	s.otter.CleanUp()
}

func (s *store) close() { s.otter.StopAllGoroutines() }

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

	bytes, entries, variants, rawBytes, storedBytes atomic.Int64
	evictions, expirations                          atomic.Uint64
}

func newStore(maxBytes int64, floor uint32) (*store, error) {
	s := &store{}
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
	switch e.Cause {
	case otter.CauseOverflow:
		s.evictions.Add(1)
	case otter.CauseExpiration:
		s.expirations.Add(1)
	}
}

func (s *store) count(r *record, sign int64) {
	s.bytes.Add(sign * r.bytes)
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
		if r == nil {
			return old, otter.CancelOp
		}
		s.count(r, 1)
		return r, otter.WriteOp
	})
}

// remove forgets key and reports whether it was there.
func (s *store) remove(key string) bool {
	_, ok := s.otter.Invalidate(key)
	return ok
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
				return r
			})
		}
	}
	s.otter.SetMaximum(uint64(maxBytes))
	s.otter.CleanUp()
}

func (s *store) close() { s.otter.StopAllGoroutines() }

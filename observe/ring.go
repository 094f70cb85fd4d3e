package observe

import (
	"sync"
	"time"
)

// slotLength is the resolution of all windows.
const slotLength = time.Second

// slot is one second of a series. C holds its counters.
type slot[C any] struct {
	epoch   int64
	counts  C
	latency sparseHistogram
}

// ring is a series over the last len(slots) seconds. A slot is made when its second first sees a
// sample, so a series without traffic costs a pointer a second.
//
// The mutex is held for tens of nanoseconds by a sample, and by a reader for one slot at a time.
type ring[C any] struct {
	mu    sync.Mutex // guards slots
	slots []*slot[C]
}

func newRing[C any](n int) ring[C] { return ring[C]{slots: make([]*slot[C], n)} }

// at returns the slot of an epoch, nil if that second has left the ring. The caller holds mu.
func (r *ring[C]) at(epoch int64) *slot[C] {
	if epoch < 0 {
		return nil
	}
	i := int(epoch % int64(len(r.slots)))
	s := r.slots[i]
	switch {
	case s == nil:
		s = &slot[C]{epoch: epoch}
		r.slots[i] = s
	case s.epoch > epoch:
		return nil
	case s.epoch < epoch:
		var zero C
		s.epoch, s.counts = epoch, zero
		s.latency.reset()
	}
	return s
}

// read adds up the epochs from (inclusive) to (exclusive).
func (r *ring[C]) read(from, to int64, h *histogram, add func(*C)) {
	from = max(from, to-int64(len(r.slots)), 0)
	for e := from; e < to; e++ {
		r.mu.Lock()
		if s := r.slots[int(e%int64(len(r.slots)))]; s != nil && s.epoch == e {
			h.merge(&s.latency)
			add(&s.counts)
		}
		r.mu.Unlock()
	}
}

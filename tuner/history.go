package tuner

import "time"

// Time in a history is kept in rings of slots, each ring of slots so many times as long as the one
// before: the last two minutes by the second, half an hour by 16 s, nine hours by 256 s. So a window can
// grow for hours where there is little traffic, at a few hundred slots.
const (
	historySlots  = 128
	historyFactor = 16
	historyRings  = 3
)

// adding is what a slot holds: sums that can be added up.
type adding[T any] interface {
	*T
	add(b *T)
}

// history keeps sums over time. It is not safe for concurrent use.
type history[T any, P adding[T]] struct {
	rings [historyRings][historySlots]historySlot[T]
}

type historySlot[T any] struct {
	number int64 // of the slot since 1970; what is older than a turn of the ring is void
	sums   T
}

func slotLength(ring int) int64 {
	n := int64(time.Second)
	for range ring {
		n *= historyFactor
	}
	return n
}

// at gives f the slots of a moment, one of each ring, to add to.
func (h *history[T, P]) at(t time.Time, f func(sums *T)) {
	for i := range h.rings {
		number := t.UnixNano() / slotLength(i)
		s := &h.rings[i][number%historySlots]
		if s.number > number {
			continue // so old that its place is taken
		}
		if s.number != number {
			*s = historySlot[T]{number: number}
		}
		f(&s.sums)
	}
}

// between adds up the whole slots inside [from, to), of the finest ring that reaches back to from. Where
// that is a coarse one, a slot counts by its middle.
func (h *history[T, P]) between(from, to time.Time) (sums T) {
	for i := range h.rings {
		length := slotLength(i)
		last := to.UnixNano()/length - 1
		if to.UnixNano()-from.UnixNano() > (historySlots-2)*length && i < historyRings-1 {
			continue
		}
		first := (from.UnixNano() + length - 1) / length
		if i > 0 {
			first, last = (from.UnixNano()+length/2)/length, (to.UnixNano()+length/2)/length-1
		}
		first = max(first, last-historySlots+1)
		for n := first; n <= last; n++ {
			if s := &h.rings[i][n%historySlots]; s.number == n {
				P(&sums).add(&s.sums)
			}
		}
		return sums
	}
	return sums
}

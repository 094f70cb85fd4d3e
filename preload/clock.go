package preload

// clockTable is a map of at most size entries that makes room by the second-chance rule: the hand
// passes over entries used since it last came by, and takes the first that was not. Not safe for
// concurrent use.
type clockTable[V any] struct {
	index map[uint64]int32
	slots []clockSlot[V]
	size  int
	hand  int
}

type clockSlot[V any] struct {
	key   uint64
	live  bool
	used  bool
	value V
}

func newClockTable[V any](size int) *clockTable[V] {
	return &clockTable[V]{index: make(map[uint64]int32), size: size}
}

func (t *clockTable[V]) len() int { return len(t.index) }

// get returns the value of a key and marks it used, nil if there is none. The pointer is good until the
// next add.
func (t *clockTable[V]) get(key uint64) *V {
	i, ok := t.index[key]
	if !ok {
		return nil
	}
	s := &t.slots[i]
	s.used = true
	return &s.value
}

// add returns the value of a key, a zero one if it is new. A new entry has no second chance until it is
// used again, so a flood of keys seen once passes through without pushing out the rest. evicted, if not
// nil, is told what had to go.
func (t *clockTable[V]) add(key uint64, evicted func(uint64, *V)) *V {
	if v := t.get(key); v != nil {
		return v
	}
	i := len(t.slots)
	if i < t.size {
		t.slots = append(t.slots, clockSlot[V]{})
	} else {
		i = t.free(evicted)
	}
	t.slots[i] = clockSlot[V]{key: key, live: true}
	t.index[key] = int32(i)
	return &t.slots[i].value
}

func (t *clockTable[V]) free(evicted func(uint64, *V)) int {
	for {
		i := t.hand
		t.hand = (t.hand + 1) % len(t.slots)
		s := &t.slots[i]
		if s.live && s.used {
			s.used = false
			continue
		}
		if s.live {
			delete(t.index, s.key)
			if evicted != nil {
				evicted(s.key, &s.value)
			}
		}
		return i
	}
}

func (t *clockTable[V]) remove(key uint64) {
	if i, ok := t.index[key]; ok {
		delete(t.index, key)
		t.slots[i] = clockSlot[V]{}
	}
}

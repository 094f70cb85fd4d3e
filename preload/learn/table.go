package learn

// ways is how many places a hash may take: one cache line of hashes.
const ways = 8

// table is a map from hashes to slots of fixed number, without pointers: a hash may stand in any of the
// places of its set, and a new one takes the first that was not used since the hand last passed
// (second chance). The values stand in arrays beside it, at the slot's index. Not safe for concurrent
// use.
type table struct {
	hashes []uint64 // 0: free
	// marks of each set: two bits a slot, how often it may be passed over, and above them the hand. They are
	// kept apart from the hashes and small, so that they stay in the processor's cache.
	marks []uint32
	mask  uint64 // of the number of sets
	live  int
}

// maxUsed bounds how long a slot that was used often stays when it is not any more.
const maxUsed = 3

const handShift = 2 * ways

// none is no slot.
const none = int32(-1)

// newTable returns a table of at least size slots.
func newTable(size int) table {
	sets := 1
	for sets*ways < size {
		sets *= 2
	}
	return table{hashes: make([]uint64, sets*ways), marks: make([]uint32, sets), mask: uint64(sets - 1)}
}

func (t *table) size() int { return len(t.hashes) }

// find returns the slot of h, none if there is none. It does not count as use.
func (t *table) find(h uint64) int32 {
	base := int(mix(h)&t.mask) * ways
	for i, x := range t.hashes[base : base+ways : base+ways] {
		if x == h {
			return int32(base + i)
		}
	}
	return none
}

// get is find and counts as use.
func (t *table) get(h uint64) int32 {
	s := t.find(h)
	if s >= 0 {
		t.use(s)
	}
	return s
}

// use counts a use of a slot.
func (t *table) use(s int32) {
	at := 2 * (s % ways)
	if mark := &t.marks[s/ways]; *mark>>at&maxUsed < maxUsed {
		*mark += 1 << at
	}
}

// add takes a slot for h, which must not be in the table and not be 0. evicted is the hash that had to go, 0 if none: the caller
// finds its values at the slot. A new hash has no second chance until it is used, so a flood of hashes
// seen once does not push out the rest.
func (t *table) add(h uint64) (slot int32, evicted uint64) {
	set := mix(h) & t.mask
	base := int(set) * ways
	for i, x := range t.hashes[base : base+ways] {
		if x == 0 {
			t.live++
			t.put(base+i, h)
			return int32(base + i), 0
		}
	}
	marks := t.marks[set]
	for {
		way := int(marks >> handShift)
		marks = marks&(1<<handShift-1) | uint32(way+1)%ways<<handShift
		if at := 2 * way; marks>>at&maxUsed > 0 {
			marks -= 1 << at
			continue
		}
		t.marks[set] = marks
		evicted = t.hashes[base+way]
		t.put(base+way, h)
		return int32(base + way), evicted
	}
}

// put takes a slot that has no second chance left.
func (t *table) put(i int, h uint64) { t.hashes[i] = h }

// victim is the slot that add would probably take.
func (t *table) victim(h uint64) int32 {
	set := mix(h) & t.mask
	return int32(set*ways) + int32(t.marks[set]>>handShift)
}

// mix spreads the bits of a hash (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// join makes one hash of an ordered pair; never 0.
func join(a, b uint64) uint64 { return mix(a+0x9e3779b97f4a7c15*(b|1)) | 1 }

package preload

import "slices"

const (
	// maxSuccessors is how many successors of a key are kept.
	maxSuccessors = 4
	// minSupport is how often a successor must have followed before it is believed.
	minSupport = 2
	// maxSeen is when a key's counts are halved: so the recent counts for more, and none overflows.
	maxSeen = 64
)

// model is the order-1 model. Not safe for concurrent use.
type model struct {
	followers *clockTable[followers]
	sessions  *clockTable[uint64] // the last key of each client
}

// followers is what came after a key.
type followers struct {
	seen uint16
	next [maxSuccessors]follower // the most frequent first
}

type follower struct {
	key   uint64
	count uint16
}

func newModel(size int) *model {
	return &model{followers: newClockTable[followers](size), sessions: newClockTable[uint64](size)}
}

func (m *model) sizes() (keys, sessions int) { return m.followers.len(), m.sessions.len() }

// learn takes in that a session asked for key, and returns the keys likely to follow it: those of at
// least the threshold's probability, the likeliest first.
func (m *model) learn(session, key uint64, threshold float64) []uint64 {
	last := m.sessions.add(session, nil)
	before := *last
	*last = key
	// A key asked for again (a reload, a poll) says nothing about what follows it.
	if before != 0 && before != key {
		m.followers.add(before, nil).count(key)
	}
	f := m.followers.get(key)
	if f == nil || before == key {
		return nil
	}
	return f.likely(threshold)
}

func (f *followers) count(key uint64) {
	if f.seen >= maxSeen {
		f.seen /= 2
		for i := range f.next {
			f.next[i].count /= 2
		}
	}
	f.seen++
	i := slices.IndexFunc(f.next[:], func(n follower) bool { return n.count > 0 && n.key == key })
	if i < 0 {
		// The least frequent gives way slowly, so that a stream of accidents can't sweep out a
		// successor that is worth something.
		i = maxSuccessors - 1
		if n := &f.next[i]; n.count > 1 {
			n.count--
			return
		}
		f.next[i] = follower{key: key}
	}
	f.next[i].count++
	for ; i > 0 && f.next[i].count > f.next[i-1].count; i-- {
		f.next[i], f.next[i-1] = f.next[i-1], f.next[i]
	}
}

func (f *followers) likely(threshold float64) []uint64 {
	var keys []uint64
	for _, n := range f.next {
		if n.count < minSupport || float64(n.count) < threshold*float64(f.seen) {
			break
		}
		keys = append(keys, n.key)
	}
	return keys
}

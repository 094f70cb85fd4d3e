package learn

// maxGhosts bounds how many predictions that were not made are followed.
const maxGhosts = 1 << 16

// ghosts is a ring of the predictions that are followed, the oldest first: those not made, and those made
// in case nothing else ends them.
type ghosts struct {
	ring []ghostEntry
	head int
	n    int
}

type ghostEntry struct {
	key   uint64
	since int64
	stamp uint32
}

func newGhosts(size int) ghosts { return ghosts{ring: make([]ghostEntry, max(size, 64))} }

// push adds one and returns the one that had to go for it, if any.
func (g *ghosts) push(key uint64, stamp uint32, now int64) (old ghostEntry) {
	if g.n == len(g.ring) {
		old = g.pop()
	}
	g.ring[(g.head+g.n)%len(g.ring)] = ghostEntry{key, now, stamp}
	g.n++
	return old
}

func (g *ghosts) pop() ghostEntry {
	e := g.ring[g.head]
	g.head = (g.head + 1) % len(g.ring)
	g.n--
	return e
}

// retire gives a ghost up.
func (m *Model) retire(e ghostEntry) {
	if e.key == 0 {
		return
	}
	s := m.keys.find(e.key)
	if s < 0 {
		return
	}
	switch r := &m.records[s]; {
	case r.since != e.since:
	case r.state == ghost:
		m.settle(r, false, 0, 0)
	case r.state == kept && (r.expires == Never && m.cache.survival == 0 || r.expires <= e.since):
		m.end(r, Expired)
		m.settle(r, false, 0, 0)
	}
}

// expire gives up ghosts whose copies would be gone by now: a few at a time, but more than come.
func (m *Model) expire(now int64) {
	life := int64(Never)
	if m.cache.life > 0 {
		life = int64(m.cache.life)
	}
	for range 16 {
		if m.ghosts.n == 0 {
			return
		}
		if e := &m.ghosts.ring[m.ghosts.head]; now-e.since < life && !m.cache.outlived(e.stamp) {
			return
		}
		m.retire(m.ghosts.pop())
	}
}

package learn

import "math"

const (
	// successors is how many followers of a context are kept.
	successors = 8
	// fade is when the counts of a follower are halved: so the recent counts for more, and none overflows.
	fade = 64
)

// follower is what came after a context: of chances occurrences of the context while key was not in the
// cache, hits were followed by a request for it.
type followers struct {
	keys    [successors]uint64
	chances [successors]uint8
	hits    [successors]uint8
	leads   [successors]uint8 // see packLead
	seen    uint8             // occurrences of the context, saturating by halves
}

// rules hold what follows which context. A context is a hash of the last keys of a stream.
type rules struct {
	index table
	nodes []followers
}

func newRules(size int) rules {
	t := newTable(size)
	return rules{index: t, nodes: make([]followers, t.size())}
}

// see takes in that a context occurred, and returns what may follow it.
func (r *rules) see(context uint64) *followers {
	s := r.index.find(context)
	if s < 0 {
		return nil
	}
	n := &r.nodes[s]
	if n.seen < 255 {
		n.seen++
	}
	return n
}

// credit takes in that key, which was not in the cache, was asked for lead after a context.
func (r *rules) credit(context, key uint64, lead int64) {
	s := r.index.get(context)
	if s < 0 {
		s, _ = r.index.add(context)
		r.nodes[s] = followers{seen: 1}
	}
	n := &r.nodes[s]
	worst := 0
	for i, k := range n.keys {
		if k == key {
			n.win(i, lead)
			return
		}
		if n.hits[i] < n.hits[worst] || n.hits[i] == n.hits[worst] && n.chances[i] > n.chances[worst] {
			worst = i
		}
	}
	// The weakest gives way slowly, so that a stream of accidents can't sweep out what is worth something.
	if n.hits[worst] > 1 {
		n.hits[worst]--
		return
	}
	n.keys[worst], n.hits[worst] = key, 1
	n.chances[worst] = max(1, min(n.seen, fade/2))
	n.leads[worst] = packLead(lead)
}

func (n *followers) win(i int, lead int64) {
	if n.hits[i] < 255 {
		n.hits[i]++
	}
	n.chances[i] = max(n.chances[i], n.hits[i])
	l := packLead(lead)
	switch {
	case l > n.leads[i]:
		n.leads[i]++
	case l < n.leads[i]:
		n.leads[i]--
	}
}

// chance takes in that a context occurred while the follower was not in the cache.
func (n *followers) chance(i int) {
	n.chances[i]++
	if n.chances[i] >= fade {
		n.chances[i] /= 2
		n.hits[i] /= 2
	}
}

// packLead keeps a duration in a byte: eight steps for each doubling from 1 ms.
func packLead(d int64) uint8 {
	ms := float64(d) / 1e6
	if ms <= 1 {
		return 0
	}
	return uint8(min(255, 8*math.Log2(ms)))
}

func unpackLead(l uint8) int64 { return int64(math.Exp2(float64(l)/8) * 1e6) }

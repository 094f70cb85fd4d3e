package learn

import "math/bits"

const (
	// successors is how many followers a node keeps. A context of one key has two nodes, see half.
	successors = 4
	// fade is when the counts of a follower are halved: so the recent counts for more, and none overflows.
	fade = 64
)

// followers is what came after a context (its fields are public for encoding/binary): of Chances occurrences of the context while key was not in the
// cache, Hits were followed by a request for it.
type followers struct {
	Keys    [successors]uint64
	Chances [successors]uint8
	Hits    [successors]uint8
	Leads   [successors]uint8 // see packLead
	Seen    uint8             // occurrences of the context, saturating by halves
}

// rules hold what follows which context. A context is a hash of the last keys of a stream.
type rules struct {
	index  table
	nodes  []followers
	warmed uint64 // see warm
}

func newRules(size int) rules {
	t := newTable(size)
	return rules{index: t, nodes: make([]followers, t.size())}
}

// half is the node of a context in which key stands if it follows: contexts of one key, which have the
// more followers, have two nodes, and longer ones a single one. So most nodes are full.
func half(context, key uint64) uint64 { return context ^ (mix(key)>>32&1)<<63 }

// halves are the nodes of a context.
func halves(context uint64) (uint64, uint64) { return context, context ^ 1<<63 }

// see takes in that a context occurred, and returns what may follow it.
func (r *rules) see(context uint64) *followers {
	s := r.index.find(context)
	if s < 0 {
		return nil
	}
	n := &r.nodes[s]
	if n.Seen < 255 {
		n.Seen++
	}
	return n
}

// credit takes in that key, which was not in the cache, was asked for lead after a context.
func (r *rules) credit(context, key uint64, lead int64) {
	s := r.index.find(context)
	if s < 0 {
		s, _ = r.index.add(context)
		r.nodes[s] = followers{Seen: 1}
	}
	n := &r.nodes[s]
	worst := 0
	for i, k := range n.Keys {
		if k == key {
			n.win(i, lead)
			r.index.use(s) // only what comes again keeps its place
			return
		}
		if n.Hits[i] < n.Hits[worst] || n.Hits[i] == n.Hits[worst] && n.Chances[i] > n.Chances[worst] {
			worst = i
		}
	}
	// The weakest gives way slowly, so that a stream of accidents can't sweep out what is worth something.
	if n.Hits[worst] > 1 {
		n.Hits[worst]--
		return
	}
	n.Keys[worst], n.Hits[worst] = key, 1
	n.Chances[worst] = max(1, min(n.Seen, fade/2))
	n.Leads[worst] = packLead(lead)
}

func (n *followers) win(i int, lead int64) {
	if n.Hits[i] < 255 {
		n.Hits[i]++
	}
	n.Chances[i] = max(n.Chances[i], n.Hits[i])
	l := packLead(lead)
	switch {
	case l > n.Leads[i]:
		n.Leads[i]++
	case l < n.Leads[i]:
		n.Leads[i]--
	}
}

// chance takes in that a context occurred while the follower was not in the cache.
func (n *followers) chance(i int) {
	n.Chances[i]++
	if n.Chances[i] >= fade {
		n.Chances[i] /= 2
		n.Hits[i] /= 2
	}
}

// packLead keeps a duration in a byte: eight steps for each doubling from 1 ms, even within it.
func packLead(d int64) uint8 {
	ms := uint64(max(d, 0)) / 1e6
	if ms <= 1 {
		return 0
	}
	doublings := bits.Len64(ms) - 1
	return uint8(min(255, doublings*8+int(ms<<3>>doublings&7)))
}

// leads are the durations of the bytes.
var leads = func() (d [256]int64) {
	for l := range d {
		d[l] = int64(float64(uint64(8+l%8)<<(l/8)) / 8 * 1e6)
	}
	return d
}()

func unpackLead(l uint8) int64 { return leads[l] }

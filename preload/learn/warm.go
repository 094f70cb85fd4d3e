package learn

// Tables of a million entries are far larger than the processor's caches, and most of an access would be
// waiting for memory, one place after the other. So what will be looked at is first read all at once,
// with nothing that depends on it: the processor fetches the places side by side. What is read is
// summed up and kept, or the compiler would leave it out.

// warm reads where hashes stand, or would stand.
func (t *table) warm(hashes []uint64) (sum uint64) {
	for _, h := range hashes {
		base := int(mix(h)&t.mask) * ways
		sum += t.hashes[base] + uint64(t.marks[base/ways])
	}
	return sum
}

// warm reads the nodes of contexts.
func (r *rules) warm(contexts []uint64) {
	sum := r.index.warm(contexts)
	for _, h := range contexts {
		s := r.index.find(h)
		if s < 0 {
			s = r.index.victim(h)
		}
		n := &r.nodes[s]
		sum += n.Keys[0] + uint64(n.Seen)
	}
	r.warmed += sum
}

// warm reads the records of the followers of contexts.
func (m *Model) warm(nodes *[nodesSeen]*followers) {
	var sum uint64
	for _, n := range nodes {
		if n != nil {
			sum += m.keys.warm(n.Keys[:])
		}
	}
	for _, n := range nodes {
		if n == nil {
			continue
		}
		for _, key := range n.Keys {
			if s := m.keys.find(key); s >= 0 {
				r := &m.records[s]
				sum += uint64(r.expires) + uint64(r.state)
			}
		}
	}
	m.warmed += sum
}

package lease

// life is how a node takes another member of a record.
type life uint8

const (
	alive     life = iota
	ended          // its lease is over
	forgotten      // it has been for so long that nothing is left to it
)

// turn is one node's turn at a record.
type turn struct {
	me   string
	want int64
	// seq is of this turn.
	seq uint64
	// cutOff is Options.CutOffRatio.
	cutOff float64
	// leaves: it takes itself out.
	leaves bool
	life   func(id string) life
}

// Step is the record after me's turn. It changes me's entry, and the entries of those whose leases ended; nobody who
// lives gets or loses anything by another's turn. It keeps that all parts add up to at most [Whole].
func (r Record) Step(t turn) Record {
	n := r.clone()
	if n.Members == nil {
		n.Members = make(map[string]Member)
	}
	for id, m := range n.Members {
		if id == t.me {
			continue
		}
		switch t.life(id) {
		case ended:
			m.Gone, m.Want, m.Held = true, 0, min(m.Held, m.Floor)
			n.Members[id] = m
		case forgotten:
			delete(n.Members, id)
		}
	}
	if t.leaves {
		delete(n.Members, t.me)
		return n
	}
	if _, ok := n.Members[t.me]; !ok && len(n.Members) >= maxMembers {
		return n
	}
	n.own(t)
	n.feedGone()
	return n
}

// own sets me's entry.
func (r Record) own(t turn) {
	m := r.Members[t.me]
	m.Want, m.Seq, m.Gone = min(max(t.want, 0), maxWant), t.seq, false
	r.Members[t.me] = m
	target := r.targets()[t.me]
	free := r.free()
	if d := target - m.Held; d < 0 && r.reserved() > free || d < -r.least() || d > 0 && (m.Held == 0 || d > r.least() || m.Want > m.Held) {
		m.Held = max(min(target, m.Held+free), 0)
	}
	room := int64(Whole)
	for id, o := range r.Members {
		if id != t.me {
			room -= o.Floor
		}
	}
	m.Floor = max(min(int64(t.cutOff*Whole)/int64(len(r.Members)), room), 0)
	r.Members[t.me] = m
}

// reserved is what those who are gone lack of their floors.
func (r Record) reserved() (n int64) {
	for _, m := range r.Members {
		if m.Gone {
			n += max(m.Floor-m.Held, 0)
		}
	}
	return n
}

// feedGone gives those who are gone what is free up to their floors: they can't take it themselves.
func (r Record) feedGone() {
	for _, id := range r.ids() {
		if m := r.Members[id]; m.Gone && m.Held < m.Floor {
			m.Held += min(m.Floor-m.Held, r.free())
			r.Members[id] = m
		}
	}
}

// owed is how much me should give up for others who wait for it, and missing how much more it should have
// that is free, were its want another one.
func (r Record) owed(me string, want int64) (owed, missing int64) {
	m, ok := r.Members[me]
	if !ok || want <= m.Held && !r.contended(me) {
		return 0, 0 // as a rule, and then it should cost next to nothing
	}
	n := r.clone()
	m.Want = want
	n.Members[me] = m
	targets := n.targets()
	wanting := int64(0)
	for id, o := range n.Members {
		if id == me {
			continue
		}
		if o.Gone {
			wanting += max(o.Floor-o.Held, 0)
		} else if o.Want > o.Held {
			wanting += max(targets[id]-o.Held, 0)
		}
	}
	return min(max(m.Held-targets[me], 0), max(wanting-n.free(), 0)), min(max(targets[me]-m.Held, 0), max(n.free(), 0))
}

// contended reports whether anybody but me lacks anything.
func (r Record) contended(me string) bool {
	for id, m := range r.Members {
		if id != me && (m.Gone && m.Held < m.Floor || !m.Gone && m.Want > m.Held) {
			return true
		}
	}
	return false
}

// likely is what me would be given if it wanted all.
func (r Record) likely(me string) int64 {
	n := r.clone()
	if n.Members == nil {
		n.Members = make(map[string]Member)
	}
	m := n.Members[me]
	m.Want, m.Gone = Whole, false
	n.Members[me] = m
	return n.targets()[me]
}

// shareTokens moves tokens with the parts: what me freed goes to the record, and what the record has goes to
// me as its part grows. It returns what me gets.
func (r *Record) shareTokens(freed map[int64]float64, bursts map[int64]float64, grown int64) (mine map[int64]float64) {
	free := r.free()
	total := make(map[int64]float64, len(bursts))
	for per, burst := range bursts {
		have := r.Tokens[per] + freed[per]
		if grown > 0 && have > 0 {
			take := have * float64(grown) / float64(grown+free)
			if mine == nil {
				mine = make(map[int64]float64)
			}
			mine[per] = take
			have -= take
		}
		// What nobody holds can't have saved up more than its part of the bucket.
		if have = min(have, burst*float64(free)/Whole); have > 1e-3 && len(total) < maxWindows {
			total[per] = have
		}
	}
	r.Tokens = total
	return mine
}

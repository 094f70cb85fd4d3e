package learn

// agenda is a heap of the slots of records by due. It holds each record at most once.
type agenda []int32

func (h agenda) less(rs []record, i, j int) bool { return rs[h[i]].due < rs[h[j]].due }

func (h agenda) swap(rs []record, i, j int) {
	h[i], h[j] = h[j], h[i]
	rs[h[i]].at, rs[h[j]].at = int32(i+1), int32(j+1)
}

func (h *agenda) put(rs []record, slot int32, due int64) {
	r := &rs[slot]
	r.due = due
	if r.at == 0 {
		*h = append(*h, slot)
		r.at = int32(len(*h))
	}
	h.fix(rs, int(r.at-1))
}

func (h agenda) fix(rs []record, i int) {
	for i > 0 && h.less(rs, i, (i-1)/2) {
		h.swap(rs, i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h.less(rs, c+1, c) {
			c++
		}
		if !h.less(rs, c, i) {
			return
		}
		h.swap(rs, i, c)
		i = c
	}
}

// remove takes out the record at a place.
func (h *agenda) remove(rs []record, at int32) {
	i, n := int(at-1), len(*h)-1
	h.swap(rs, i, n)
	rs[(*h)[n]].at = 0
	*h = (*h)[:n]
	if i < n {
		h.fix(rs, i)
	}
}

// Next is when [Model.Due] will have something to do; [Never] if nothing is planned.
func (m *Model) Next() int64 {
	if len(m.agenda) == 0 {
		return Never
	}
	return m.records[m.agenda[0]].due
}

// dueBatch bounds how many keys one call of Due looks at.
const dueBatch = 32

// Due returns the predictions that time brings, of up to a batch of keys; call it again while [Model.Next]
// is not after now. The slice is good until the next call.
func (m *Model) Due(now int64) []Prediction {
	m.out = m.out[:0]
	m.expire(now)
	for range dueBatch {
		if len(m.agenda) == 0 || m.Next() > now {
			break
		}
		slot := m.agenda[0]
		r := &m.records[slot]
		m.agenda.remove(m.records, r.at)
		m.fall(slot, r, now)
	}
	return m.out
}

// fall is what happens when a record is due.
func (m *Model) fall(slot int32, r *record, now int64) {
	key := m.keys.hashes[slot]
	ends := r.expires != 0 && r.expires != Never && r.expires-m.head(r) <= now
	if ends {
		if r.state == kept {
			m.end(r, Expired)
			m.settle(r, false, 0, 0)
		}
		r.expires = now // it ends, but for a refresh
	}
	if next := m.expectedAt(r); next != 0 {
		if next-m.margin(r) > now {
			m.plan(r, now)
			return
		}
		if r.expires <= now && !m.o.Off[Periodic] && now-next < m.margin(r) {
			m.bid(key, r, Periodic, m.periodCell(r), max(next-now, 0), now)
			return
		}
	}
	if ends && !m.o.Off[Refresh] {
		m.bid(key, r, Refresh, m.refreshCell(r, now), 0, now)
	}
}

func (m *Model) bid(key uint64, r *record, s Source, c cell, lead, now int64) {
	p := Prediction{Key: key, Source: s, Lead: lead, cell: c}
	p.Probability, p.worth = m.odds.get(c)
	m.offer(&p, now)
}

// head is how long before the end of a copy its successor is fetched.
func (m *Model) head(r *record) int64 { return min(m.latency*3/2, int64(r.life/4)) }

// plan puts a record on the agenda for the end of its copy, or for when it is expected.
func (m *Model) plan(r *record, now int64) {
	due := int64(Never)
	if r.expires > now && r.expires != Never {
		due = r.expires - m.head(r)
	}
	if next := m.expectedAt(r); next != 0 && next-m.margin(r) > now {
		due = min(due, next-m.margin(r))
	}
	if due != Never {
		m.agenda.put(m.records, m.slotOf(r), due)
	} else if r.at > 0 {
		m.agenda.remove(m.records, r.at)
	}
}

// refreshCell is the cell of a copy that ends: whether the latest two copies were asked for, how popular
// the key is by both rates, and how lately it was asked for.
func (m *Model) refreshCell(r *record, now int64) cell {
	fast, slow := m.popularity(r, now)
	f, s := rateLevel(fast), rateLevel(slow)
	late := int(min(recentLevels-1, recentLevels*float32(now-r.last)/max(r.life, 1)))
	return cell{
		fine:   uint16(refreshAt + ((int(r.history&3)*rateLevels+f)*rateLevels+s)*recentLevels + late),
		coarse: uint16(refreshAtC + f*rateLevels + s),
	}
}

// rateLevel: doublings from a 32nd of a request in a span.
func rateLevel(x float32) int {
	n := 0
	for t := float32(1. / 32); x > t && n < rateLevels-1; t *= 2 {
		n++
	}
	return n
}

package learn

// maxCandidates bounds what is looked at after one request.
const maxCandidates = 16

// candidates are what the sources name after one request.
type candidates struct {
	list [maxCandidates]Prediction
	n    int
}

// add keeps the more worthwhile of two predictions of one key.
func (c *candidates) add(p *Prediction) {
	for i := range c.list[:c.n] {
		if q := &c.list[i]; q.Key == p.Key {
			if p.worth > q.worth {
				*q = *p
			}
			return
		}
	}
	if c.n < maxCandidates {
		c.list[c.n] = *p
		c.n++
	}
}

// nodesSeen is how many nodes one request looks at, and kinds are theirs: the order, or association.
const nodesSeen = orders + 3

var kinds = [nodesSeen]int{0, 0, 1, 2, orders, orders}

// predict offers what may follow a request.
func (m *Model) predict(nodes *[nodesSeen]*followers, a *Access) {
	var c candidates
	for i, n := range nodes {
		if n != nil {
			m.follow(&c, n, kinds[i], a)
		}
	}
	if a.Family != 0 && m.o.KeyOf != nil && !m.o.Off[Pattern] {
		m.count(&c, a)
	}
	for i := range c.list[:c.n] {
		m.offer(&c.list[i], a.At)
	}
}

// follow adds what followed a context.
func (m *Model) follow(c *candidates, n *followers, kind int, a *Access) {
	source := Sequence
	if kind == orders {
		source = Association
	}
	for i, key := range n.Keys {
		if n.Hits[i] == 0 || key == a.Key {
			continue
		}
		var r *record
		if s := m.keys.find(key); s >= 0 {
			if r = &m.records[s]; r.expires > a.At || r.state >= underWay {
				continue
			}
		}
		n.chance(i)
		lead := unpackLead(n.Leads[i])
		p := Prediction{Key: key, Source: source, Lead: lead, cell: ruleCell(kind, m.leadClass(lead, a.Latency), n.Hits[i], n.Chances[i], m.popular(r, a.At))}
		p.Probability, p.worth = m.odds.get(p.cell)
		c.add(&p)
	}
}

// leadClass says whether a prediction comes too late (0), in time (1), or so early that the copy may be
// evicted again (2).
func (m *Model) leadClass(lead, latency int64) int {
	switch {
	case lead < latency:
		return 0
	case m.cache.survival > 0 && float32(lead-latency) > m.cache.pace*m.cache.survival/2:
		return 2
	}
	return 1
}

// popular is the level of how often a key is asked for anyway.
func (m *Model) popular(r *record, now int64) int {
	if r == nil {
		return 0
	}
	switch x := max(m.popularity(r, now)); {
	case x < 1./32:
		return 0
	case x < 1./8:
		return 1
	case x < 1./3:
		return 2
	case x < 1:
		return 3
	}
	return popLevels - 1
}

// offer returns a prediction that is worth its call, and follows any other as a ghost.
func (m *Model) offer(p *Prediction, now int64) {
	r := m.record(p.Key)
	if r.state >= underWay || r.expires > now || r.quiet > now {
		return
	}
	// A call is worth worth in waiting and costs its chance to be wasted.
	price := p.Cost
	if price <= 0 || price > 1 {
		price = 1
	}
	if ratio := p.worth / (p.worth + (1-p.Probability)*price); ratio >= m.gov.threshold(m.expected) && len(m.out) < cap(m.out) {
		m.out = append(m.out, *p)
		return
	}
	if r.state == idle {
		m.pend(r, p, ghost, now)
	}
}

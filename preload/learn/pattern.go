package learn

// recentNumbers is how many numbers of a family are remembered.
const recentNumbers = 4

// run is the latest numbers of a family of keys that one client asked for.
type run struct {
	numbers [recentNumbers]int64
	n       uint8
}

// maxStride is the largest difference between numbers that is taken for a step.
const maxStride = 1 << 16

// count adds the numbers that go on the steps of a client through a family (page 3 after pages 1 and
// 2). Several clients behind one session are told apart by their strides.
func (m *Model) count(c *candidates, a *Access) {
	h := join(join(a.Family, a.Session), a.Group)
	slot := m.families.get(h)
	if slot < 0 {
		slot, _ = m.families.add(h)
		m.runs[slot] = run{}
	}
	r := &m.runs[slot]
	had := r.numbers[:min(r.n, recentNumbers)]
	for i := range had {
		step := a.Number - had[i]
		if step == 0 {
			return // asked for again
		}
		if step > maxStride || step < -maxStride {
			continue
		}
		length := 0
		for _, x := range had {
			if x == had[i]-step {
				length = 1
			}
		}
		for ahead := int64(1); ahead <= 2; ahead++ {
			m.next(c, a, step, length, ahead)
		}
	}
	r.numbers[r.n%recentNumbers] = a.Number
	if r.n++; r.n >= 128 {
		r.n = recentNumbers
	}
}

func (m *Model) next(c *candidates, a *Access, step int64, length int, ahead int64) {
	number := a.Number + ahead*step
	key := m.o.KeyOf(a.Family, number)
	if key == 0 {
		return
	}
	if s := m.keys.find(key); s >= 0 {
		if r := &m.records[s]; r.expires > a.At || r.state >= underWay {
			return
		}
	}
	p := Prediction{Key: key, Source: Pattern, Family: a.Family, Number: number, cell: strideCell(step, length, ahead)}
	p.Probability, p.worth = m.odds.get(p.cell)
	c.add(&p)
}

// Link is one way from an answer to what it names, with odds of its own: 0 to MaxLinks-1.
type Link uint8

// MaxLinks is how many links there may be.
const MaxLinks = 64

// Offer takes in that an answer named key, as the rank-th of those that a link leads to, and returns the
// prediction if it is worth its call now; cost is the share of a call that it takes. The slice is good
// until the next call.
func (m *Model) Offer(key uint64, l Link, rank int, cost float32, now int64) []Prediction {
	m.out = m.out[:0]
	if !m.o.Off[Pattern] && l < MaxLinks {
		c := linkCell(l, rank)
		p := Prediction{Key: key, Source: Pattern, Cost: cost, cell: c}
		p.Probability, p.worth = m.odds.get(c)
		m.offer(&p, now)
	}
	return m.out
}

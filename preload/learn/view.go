package learn

import "reflect"

// Edge is one association: what follows a key.
type Edge struct {
	To uint64
	// Weight is the share, 0..1, of the chances that came true, and Count how many chances there were.
	Weight float64
	Count  int
	// Lead is when it is expected, in nanoseconds after.
	Lead   int64
	Source Source
}

// Follows returns what follows a key in the requests of a group, in no order.
func (m *Model) Follows(key, tenant uint64) (edges []Edge) {
	one, two := halves(join(key, tenant))
	three, four := halves(associated(key, tenant))
	for i, context := range []uint64{one, two, three, four} {
		source := Sequence
		if i > 1 {
			source = Association
		}
		s := m.rules.index.find(context)
		if s < 0 {
			continue
		}
		n := &m.rules.nodes[s]
		for i, to := range n.Keys {
			if n.Hits[i] < 2 {
				continue
			}
			edges = append(edges, Edge{
				To: to, Weight: float64(n.Hits[i]) / float64(max(n.Chances[i], 1)), Count: int(n.Chances[i]),
				Lead: unpackLead(n.Leads[i]), Source: source,
			})
		}
	}
	return edges
}

// Size is how full a table is.
type Size struct {
	Used, Size int
	// Bytes is the memory of the whole table.
	Bytes int
}

// Sizes returns how full the tables of keys, contexts and sessions are, and how many associations the
// contexts hold.
func (m *Model) Sizes() (keys, contexts, sessions Size) {
	const place = 4 // on the agenda
	return m.keys.sizeWith(sizeOf[record]() + place), m.rules.index.sizeWith(sizeOf[followers]()), m.sessions.sizeWith(sizeOf[session]())
}

// sizeWith is the size of a table with values of so many bytes.
func (t *table) sizeWith(value int) Size {
	return Size{t.live, t.size(), len(t.hashes)*(8+value) + 4*len(t.marks)}
}

// sizeOf is how many bytes a value takes in an array.
func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }

// Associations counts the followers of all contexts. It looks at the whole table.
func (m *Model) Associations() (n int) {
	for i := range m.rules.nodes {
		for _, h := range m.rules.nodes[i].Hits {
			if h > 0 {
				n++
			}
		}
	}
	return n
}

// Point is one point of a source's reliability curve.
type Point struct {
	Predicted, Measured float64
	Count               uint64
}

// Calibration returns, for each tenth of probability promised by a source, what came true of it.
func (m *Model) Calibration(s Source) (points []Point) {
	for i, c := range m.promises[s] {
		if c[0] > 0 {
			points = append(points, Point{(float64(i) + 0.5) / 10, float64(c[1]) / float64(c[0]), uint64(c[0])})
		}
	}
	return points
}

// promise keeps what a prediction of a promised probability came to.
func (m *Model) promise(r *record, won bool) {
	c := &m.promises[r.source][min(int(r.promised)*10/255, 9)]
	if c[0] >= 1<<20 {
		c[0], c[1] = c[0]/2, c[1]/2
	}
	c[0]++
	if won {
		c[1]++
	}
}

// Governor is how sure a prediction must be now, and why.
type Governor struct {
	// Threshold is the least probability now; above 1: none is made.
	Threshold float64
	// Calls is what is left of the budget, in calls; Trust of the precision.
	Calls, Trust float64
}

// Governor returns how sure a prediction must be now.
func (m *Model) Governor() Governor {
	return Governor{float64(m.gov.threshold(m.expected)), float64(m.gov.calls), float64(m.gov.trust)}
}

// Best is the greatest measured worth of a source's kinds of predictions that have been tried often
// enough to know, as the ratio that is compared with the threshold; 0: none has.
func (m *Model) Best(s Source) (best float64) {
	from, to := cellsOf(s)
	for i := from; i < to; i++ {
		f := &m.odds.fine[i]
		if f.n < 8 {
			continue
		}
		p, w := float64(f.wins/f.n), float64(f.worth/f.n)
		if w > 0 {
			best = max(best, w/(w+1-p))
		}
	}
	return best
}

// cellsOf are the fine cells of a source.
func cellsOf(s Source) (from, to int) {
	const perKind = leadClasses * chanceLevels * ratioLevels * popLevels
	switch s {
	case Sequence:
		return 0, orders * perKind
	case Association:
		return orders * perKind, ruleCells
	case Periodic:
		return periodAt, strideAt
	case Refresh:
		return refreshAt, periodAt
	}
	return strideAt, cellCount
}

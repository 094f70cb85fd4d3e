package tuner

import "math"

// shape is how the time of a call grows with the number in flight, apart from where the knee is. With x the
// number in flight over the knee k, a call takes
//
//	g(x) = (1 + x^p)^(1/p) * (1 + c * max(0, x-1))
//
// times as long as alone. The sharpness p says how calls share what there is: with separate slots they
// take as long as ever up to the knee (p infinite), with p = 1 each new call slows all others a little from
// the first on, which is the Universal Scalability Law's contention. The collapse c says how much each call
// beyond the knee slows the work itself, the law's coherency: with c > 0 throughput falls there.
type shape struct{ p, c float64 }

// The shapes that are thought possible. The truth may lie between them: the belief mixes them.
var shapes = makeShapes([]float64{1, 3, math.Inf(1)}, []float64{0, 0.25, 0.8, 2.5})

func makeShapes(ps, cs []float64) []shape {
	var all []shape
	for _, p := range ps {
		for _, c := range cs {
			all = append(all, shape{p, c})
		}
	}
	return all
}

// slowness is ln g at ln x.
func (s shape) slowness(lx float64) float64 {
	var y float64
	switch {
	case math.IsInf(s.p, 1):
		y = max(0, lx)
	case s.p*lx > 30:
		y = lx
	default:
		y = math.Log1p(math.Exp(s.p*lx)) / s.p
	}
	if s.c > 0 && lx > 0 {
		y += math.Log1p(s.c * (math.Exp(lx) - 1))
	}
	return y
}

// The tables hold, at steps of ln x, slowness, the throughput x/g(x), and the best that can be had up to there.
const (
	tableStep = 0.01
	tableFrom = -9.0
	tableLen  = 1801
)

type shapeTable struct{ slow, rate, best [tableLen]float64 }

var shapeTables = func() []*shapeTable {
	all := make([]*shapeTable, len(shapes))
	for i, s := range shapes {
		t := &shapeTable{}
		best := 0.0
		for j := range tableLen {
			lx := tableFrom + float64(j)*tableStep
			t.slow[j] = s.slowness(lx)
			t.rate[j] = math.Exp(lx - t.slow[j])
			best = max(best, t.rate[j])
			t.best[j] = best
		}
		all[i] = t
	}
	return all
}()

func lookup(table *[tableLen]float64, lx float64) float64 {
	at := (lx - tableFrom) / tableStep
	if at <= 0 {
		return table[0]
	}
	i := int(at)
	if i >= tableLen-1 {
		return table[tableLen-1]
	}
	f := at - float64(i)
	return table[i] + f*(table[i+1]-table[i])
}

package tuner

import "math"

// What a belief goes by.
const (
	// kneeGridStep is the distance of two knees of the grid, of the logarithm.
	kneeGridStep = 0.025
	// baseDrift is one standard deviation of how far the time of a call wanders in one round trip, of the
	// logarithm; kneeDrift that of the knee.
	baseDrift = 0.003
	kneeDrift = 0.0015
	// jumpChance is how likely the knee jumps somewhere else in one round trip.
	jumpChance = 5e-5
	// leastOdds bounds what one epoch may say against a cell, in units of e: the sums of an epoch know
	// nothing of a hiccup.
	leastOdds = 12
	// negligible is a weight that is left out of sums.
	negligible = 1e-6
	// fadeTrips: fading is done after so many round trips at once.
	fadeTrips = 3
)

// belief is what is thought of an upstream: the probability of each shape and knee, and given those the
// time that a call takes alone. It is a grid of cells with a Kalman filter in each: after each epoch the cells
// that foretold it gain, and the others lose. No epoch is judged alone, all of them add up, and what is old fades
// since the knee and the time of a call are taken to wander.
type belief struct {
	low   float64 // ln of the first knee of the grid
	knees int
	// weight[s*knees+k] is the probability of shape s with the knee k; they sum up to 1. base is the
	// logarithm of the time of a call alone, in seconds, in that case, and spread its variance, the same in all.
	weight, base []float64
	spread       float64
	known        bool    // base is set
	passed       float64 // round trips that were not faded for yet
}

// newBelief knows nothing but the bounds of the limit, and that it is likely not far below start.
func newBelief(least, most, start float64) *belief {
	low := math.Log(max(least, 1)) - 2*kneeGridStep
	knees := int((math.Log(max(most, 2)*1.3)-low)/kneeGridStep) + 1
	b := &belief{low: low, knees: knees, weight: make([]float64, knees*len(shapes)), base: make([]float64, knees*len(shapes))}
	for i := range b.weight {
		b.weight[i] = b.prior(i, start)
	}
	b.normalise()
	return b
}

// prior is the weight of a cell before anything is known: any order of magnitude alike, but nobody starts
// far above the knee, and sharp knees that cost little beyond are the most common.
func (b *belief) prior(i int, start float64) float64 {
	s, lk := shapes[i/b.knees], b.low+float64(i%b.knees)*kneeGridStep
	w := 1.0
	if lk < math.Log(start) {
		w = 0.25
	}
	if s.p <= 1 {
		w *= 0.3
	}
	return w
}

func (b *belief) normalise() float64 {
	sum := 0.0
	for _, w := range b.weight {
		sum += w
	}
	for i := range b.weight {
		b.weight[i] /= sum
	}
	return sum
}

func (b *belief) clone() *belief {
	c := *b
	c.weight, c.base = append([]float64(nil), b.weight...), append([]float64(nil), b.base...)
	return &c
}

// offset is ln x of the first knee of the grid at n in flight; each further knee is a step less.
func (b *belief) offset(n float64) float64 { return math.Log(n) - b.low }

// pass lets so many round trips go by: what is known fades a little.
func (b *belief) pass(trips float64, targets []float64) {
	b.spread += baseDrift * baseDrift * trips
	if b.passed += trips; b.passed < fadeTrips {
		return
	}
	trips, b.passed = b.passed, 0
	b.smear(min(kneeDrift*kneeDrift*trips/(2*kneeGridStep*kneeGridStep), 0.25))
	b.jump(min(jumpChance*trips, 1e-3), targets)
}

// smear moves a share of each cell to its neighbours.
func (b *belief) smear(share float64) {
	for s := range shapes {
		w, m := b.weight[s*b.knees:(s+1)*b.knees], b.base[s*b.knees:(s+1)*b.knees]
		lastW, lastM := 0.0, 0.0
		for k := range w {
			ownW, ownM := w[k], m[k]
			nextW, nextM := 0.0, 0.0
			if k+1 < len(w) {
				nextW, nextM = w[k+1], m[k+1]
			}
			sum := (1-2*share)*ownW + share*(lastW+nextW)
			if sum > 0 {
				m[k] = ((1-2*share)*ownW*ownM + share*(lastW*lastM+nextW*nextM)) / sum
			}
			w[k] = sum
			lastW, lastM = ownW, ownM
		}
	}
	b.normalise()
}

// jump moves a share of all to other knees: half of it anywhere, half to the targets, which are knees that
// were found before. The shape and the time of a call alone stay.
func (b *belief) jump(share float64, targets []float64) {
	anywhere := share
	if len(targets) > 0 {
		anywhere /= 2
	}
	near := make([]float64, b.knees)
	total := 0.0
	for k := range near {
		for _, t := range targets {
			d := (b.low + float64(k)*kneeGridStep - math.Log(t)) / (1.5 * kneeGridStep)
			near[k] += math.Exp(-d * d / 2)
		}
		total += near[k]
	}
	for s := range shapes {
		w, m := b.weight[s*b.knees:(s+1)*b.knees], b.base[s*b.knees:(s+1)*b.knees]
		ofShape, mean := 0.0, 0.0
		for k, x := range w {
			ofShape += x
			mean += x * m[k]
		}
		if ofShape < math.SmallestNonzeroFloat32 {
			continue
		}
		mean /= ofShape
		for k := range w {
			add := anywhere * ofShape / float64(b.knees)
			if total > 0 {
				add += (share - anywhere) * ofShape * near[k] / total
			}
			kept := (1 - share) * w[k]
			if sum := kept + add; sum > 0 {
				m[k] = (kept*m[k] + add*mean) / sum
				w[k] = sum
			}
		}
	}
}

func (b *belief) meanBase() float64 {
	sum := 0.0
	for i, w := range b.weight {
		sum += w * b.base[i]
	}
	return sum
}

// each calls f with every cell that has weight, and its ln g at n in flight.
func (b *belief) each(n float64, f func(i int, weight, slow float64)) {
	at := b.offset(n)
	for s, t := range shapeTables {
		for k := range b.knees {
			if i := s*b.knees + k; b.weight[i] > negligible {
				f(i, b.weight[i], lookup(&t.slow, at-float64(k)*kneeGridStep))
			}
		}
	}
}

// foretell is the mean and the variance of the logarithm of the time of a call at n in flight.
func (b *belief) foretell(n float64) (mean, variance float64) {
	var sum, square, total float64
	b.each(n, func(i int, w, slow float64) {
		y := b.base[i] + slow
		total += w
		sum += w * y
		square += w * y * y
	})
	mean = sum / total
	return mean, max(square/total-mean*mean, 0) + b.spread
}

// see takes in that a call took e^y seconds at n in flight, v being the variance of y, and returns how
// likely that was.
func (b *belief) see(n, y, v float64) float64 {
	at := b.offset(n)
	first := !b.known
	total, all := b.spread+v, 0.0
	gain := b.spread / total
	if first {
		b.known, b.spread, gain = true, v, 1
	} else {
		b.spread *= 1 - gain
	}
	least := math.Exp(-leastOdds)
	for s, t := range shapeTables {
		for k := range b.knees {
			i := s*b.knees + k
			slow := lookup(&t.slow, at-float64(k)*kneeGridStep)
			if first {
				b.base[i] = y - slow
				continue
			}
			e := y - b.base[i] - slow
			b.base[i] += gain * e
			if odds := e * e / (2 * total); odds < leastOdds {
				b.weight[i] *= math.Exp(-odds)
			} else {
				b.weight[i] *= least
			}
			all += b.weight[i]
		}
	}
	if first {
		return 1
	}
	b.normalise()
	return all / math.Sqrt(total)
}

// shift moves the logarithm of the time of a call, as when the mix of routes changed.
func (b *belief) shift(by float64) {
	for i := range b.base {
		b.base[i] += by
	}
}

// rebase takes the time of a call alone from what it takes at n in flight, whatever it was before.
func (b *belief) rebase(n, y, v float64) {
	b.known = false
	b.see(n, y, v)
}

// knee is the mean and one standard deviation of the logarithm of the knee, and slots the share of sharp knees.
func (b *belief) knee() (mean, deviation float64) {
	var sum, square float64
	for i, w := range b.weight {
		lk := b.low + float64(i%b.knees)*kneeGridStep
		sum += w * lk
		square += w * lk * lk
	}
	return sum, math.Sqrt(max(square-sum*sum, 0))
}

// prospect is what matters of a belief to choose a limit: its cells of weight, with the best throughput of
// each.
type prospect struct {
	b     *belief
	cells []cell
}

type cell struct {
	table  *shapeTable
	knee   float64 // steps of ln x over the first knee
	weight float64 // over the best throughput
}

// prospect leaves out the least likely cells, a thousandth of all together.
func (b *belief) prospect(most float64) prospect {
	top, least := b.offset(most), 1e-3/float64(len(b.weight))
	p := prospect{b: b}
	total := 0.0
	for s, t := range shapeTables {
		for k := range b.knees {
			if w := b.weight[s*b.knees+k]; w > least {
				d := float64(k) * kneeGridStep
				p.cells = append(p.cells, cell{t, d, w / lookup(&t.best, top-d)})
				total += w
			}
		}
	}
	for i := range p.cells {
		p.cells[i].weight /= total
	}
	return p
}

// worth is the throughput expected at n in flight, as a share of the best that each cell allows.
func (p prospect) worth(n float64) float64 {
	at, sum := p.b.offset(n), 0.0
	for _, c := range p.cells {
		sum += c.weight * lookup(&c.table.rate, at-c.knee)
	}
	return sum
}

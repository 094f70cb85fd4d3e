package tuner

import "math"

// learn takes the epoch in, and reports whether it was a surprise. ok is false if there was nothing to learn.
func (k *kneeStep) learn() (surprised, ok bool) {
	s, n := &k.s, max(k.e.InFlight, 1)
	y, v, shift, ok := s.blend.measure(k.e)
	if !ok {
		return false, false
	}
	if s.belief == nil {
		s.belief = newBelief(k.spec.Min, k.spec.Max, k.e.Limit)
		s.Rest, s.excess = k.e.Limit, 1
		if s.earlier != nil {
			s.earlier.blendInto(s.belief)
			s.earlier = nil
		}
	}
	s.Curve.add(k.e, y, v)
	v *= s.excess
	if s.last > 0 && s.last != k.e.Limit {
		// The first calls under a new limit still meet what was there before.
		d := transient * math.Log(k.e.Limit/s.last)
		v += d * d
	}
	s.last = k.e.Limit
	surprised = k.weigh(n, y, v)
	s.belief.shift(shift)
	if math.Abs(shift) > otherMix {
		s.belief.jump(0.5, nil)
		s.belief.known = false
		s.other, s.before = nil, nil
	}
	if s.other != nil {
		s.other.shift(shift)
		s.before.shift(shift)
	}
	return surprised, true
}

// weigh lets the belief see the epoch, and opens and closes the question what a surprise means.
func (k *kneeStep) weigh(n, y, v float64) (surprised bool) {
	s := &k.s
	trips := float64(k.e.Calls) / n
	s.belief.pass(trips, s.Good)
	if s.other != nil {
		s.other.pass(trips, s.Good)
		s.before.pass(trips, nil)
	}
	if s.belief.known {
		z, off := k.foretold(n, y, v)
		if math.Abs(z) > surpriseNoise && math.Abs(off) > math.Log(surpriseRatio) {
			k.open(n, y, v, off)
			return true
		}
		k.creep(y, v, z)
	}
	here := s.belief.see(n, y, v)
	if s.other == nil {
		return false
	}
	there := s.other.see(n, y, v)
	s.odds = s.odds * there / max(s.odds*there+(1-s.odds)*here, 1e-300)
	return false
}

// creep learns from epochs at rest how much more they vary than their calls say, and adds up small surprises
// of one kind, which chance alone does not bring.
func (k *kneeStep) creep(y, v, z float64) {
	s := &k.s
	if s.Phase != KneeRest {
		s.rested, s.slower, s.faster = 0, 0, 0
		return
	}
	if s.rested != 0 {
		d := (y - s.rested) * (y - s.rested) / 2
		s.excess = min(max(s.excess+0.05*(min(d/v, 9)*s.excess-s.excess), 1), 8)
	}
	s.rested = y
	s.slower = max(0, s.slower+z-sumSlack)
	s.faster = max(0, s.faster-z-sumSlack)
}

// foretold is how far y is from what was foretold, in standard deviations and as it is.
func (k *kneeStep) foretold(n, y, v float64) (z, off float64) {
	s := &k.s
	mean, variance := s.belief.foretell(n)
	z, off = (y-mean)/math.Sqrt(variance+v), y-mean
	if s.other != nil && s.odds > 1-sureOdds {
		mean, variance = s.other.foretell(n)
		if z2 := (y - mean) / math.Sqrt(variance+v); math.Abs(z2) < math.Abs(z) || s.odds > sureOdds {
			z, off = z2, y-mean
		}
	}
	return z, off
}

// open asks whether the knee moved or the time of a call.
func (k *kneeStep) open(n, y, v, off float64) {
	s := &k.s
	if s.before == nil {
		s.before = s.belief.clone()
	}
	s.belief, s.other = s.before.clone(), s.before.clone()
	s.belief.jump(0.5, s.Good)
	// Calls that were on their way when it changed tell only part of it.
	s.belief.see(n, y, v+off*off/9)
	s.other.rebase(n, y, v)
	s.odds = 0.5
	if s.Phase == KneeLook && off < 0 && k.e.Limit > s.Rest {
		s.odds = 0.1 // more permits did not cost what they would have: most likely there is room
	}
	s.tests = 0
	s.Rested = *k.e
}

// close takes the likelier explanation for true.
func (k *kneeStep) close() (moved bool) {
	s := &k.s
	moved = s.odds <= 0.5
	if !moved {
		s.belief = s.other
		s.Shifted = true
	}
	s.other, s.before, s.quickest = nil, nil, 0
	return moved
}

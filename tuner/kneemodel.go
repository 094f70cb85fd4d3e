package tuner

import (
	"math"
	"slices"
)

// CurveModel is what the page draws of the workers of an upstream.
type CurveModel struct {
	Kind string `json:"kind"` // "curve"
	// Points are what was measured, by concurrency.
	Points []CurvePoint `json:"points"`
	Fit    CurveFit     `json:"fit"`
	// Chosen is the limit at rest, Knee where the upstream is thought to give no more.
	Chosen float64 `json:"chosen"`
	Knee   float64 `json:"knee"`
}

// CurveFit is the belief in numbers.
type CurveFit struct {
	// KneeLow and KneeHigh hold the knee in about 95 of 100 cases. Seconds is the time of a call alone.
	KneeLow  float64 `json:"knee_low"`
	KneeHigh float64 `json:"knee_high"`
	Seconds  float64 `json:"seconds"`
	// SharpRatio is the probability that calls take as long as ever up to the knee, CollapseRatio that throughput
	// falls beyond it.
	SharpRatio    float64 `json:"sharp_ratio"`
	CollapseRatio float64 `json:"collapse_ratio"`
	// Line is the throughput and the time of a call that the fit expects.
	Line []LinePoint `json:"line"`
}

// LinePoint is one point of a fitted line.
type LinePoint struct {
	Concurrency float64 `json:"concurrency"`
	Throughput  float64 `json:"throughput"`
	Seconds     float64 `json:"seconds"`
}

// linePoints is how many a line has.
const linePoints = 40

func (s *KneeState) model(most float64) CurveModel {
	b := s.belief
	lk, sure := b.knee()
	m := CurveModel{
		Kind: "curve", Points: slices.Clone(s.Curve.Points), Chosen: s.Rest, Knee: math.Exp(lk),
		Fit: CurveFit{KneeLow: math.Exp(lk - 2*sure), KneeHigh: math.Exp(lk + 2*sure)},
	}
	if !b.known {
		return m
	}
	m.Fit.Seconds = math.Exp(b.meanBase())
	for i, w := range b.weight {
		sh := shapes[i/b.knees]
		if math.IsInf(sh.p, 1) {
			m.Fit.SharpRatio += w
		}
		if sh.c > 0 {
			m.Fit.CollapseRatio += w
		}
	}
	top := min(max(2*s.Rest, 1.5*m.Knee), max(most, 2))
	for i := range linePoints {
		n := math.Exp(math.Log(top) * float64(i) / (linePoints - 1))
		mean, _ := b.foretell(n)
		m.Fit.Line = append(m.Fit.Line, LinePoint{Concurrency: n, Throughput: n / math.Exp(mean), Seconds: math.Exp(mean)})
	}
	return m
}

// savedKnee is what outlives the process.
type savedKnee struct {
	Rest  float64   `json:"rest"`
	Good  []float64 `json:"good"`
	Curve Curve     `json:"curve"`
	// Knee and Deviation are of the logarithm; Shapes are the probabilities of the shapes.
	Knee      float64   `json:"knee_log"`
	Deviation float64   `json:"deviation"`
	Shapes    []float64 `json:"shapes"`
	// Trust, 0..1, is how far it was believed when it was saved: what was loaded and not used since fades on.
	Trust float64 `json:"trust"`
}

func (s *KneeState) save() savedKnee {
	if s.belief == nil {
		k := s.earlier.k
		k.Trust = s.earlier.trust
		return k
	}
	lk, sure := s.belief.knee()
	k := savedKnee{Trust: 1, Rest: s.Rest, Good: s.Good, Curve: s.Curve, Knee: lk, Deviation: sure, Shapes: make([]float64, len(shapes))}
	for i, w := range s.belief.weight {
		k.Shapes[i/s.belief.knees] += w
	}
	return k
}

// restore makes a state of what was saved, believed as far as trust goes.
func (k *savedKnee) restore(trust float64) KneeState {
	trust *= min(max(k.Trust, 0), 1)
	if trust <= 0 || math.IsNaN(k.Knee) || len(k.Shapes) != len(shapes) {
		return KneeState{}
	}
	s := KneeState{Good: k.Good}
	if trust > 0.5 {
		s.Curve = k.Curve
	}
	s.earlier = &earlierKnee{k: *k, trust: trust}
	return s
}

// earlierKnee is what an earlier process knew.
type earlierKnee struct {
	k     savedKnee
	trust float64
}

// blendInto mixes what was known into a fresh belief.
func (e *earlierKnee) blendInto(b *belief) {
	deviation := math.Hypot(max(e.k.Deviation, kneeGridStep), 0.3*(1-e.trust))
	own := make([]float64, b.knees)
	total := 0.0
	for k := range own {
		d := (b.low + float64(k)*kneeGridStep - e.k.Knee) / deviation
		own[k] = math.Exp(-d * d / 2)
		total += own[k]
	}
	if total <= 0 {
		return
	}
	share := 0.9 * e.trust
	for i := range b.weight {
		b.weight[i] = (1-share)*b.weight[i] + share*e.k.Shapes[i/b.knees]*own[i%b.knees]/total
	}
	b.normalise()
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// What Batch goes by. Ratios are 0..1.
const (
	// batchLoss is the throughput that a batch may lack of what endless batches would give: n = a*(1-e)/(b*e).
	// saturatedLoss is the same where every request counts, because the upstream is full.
	batchLoss     = 0.05
	saturatedLoss = 0.01
	// batchLoad is the share of the workers' time that calls may take up, batchRate that of the rate.
	batchLoad = 0.9
	batchRate = 0.95
	// batchFull: batches whose mean is this share of a bound often meet it.
	batchFull = 0.6
	// batchStep: a change of less than this share is none.
	batchStep = 0.25
	// classMemory is how many calls of a size are remembered, classLeast how many tell something.
	classMemory = 400
	classLeast  = 8
	// classSure is how many deviations apart two sizes must be to be called different, and classWorse
	// by how much.
	classSure  = 3
	classWorse = 0.1
	// classFailed: of the calls of a size this much more than of smaller ones fail.
	classFailed = 0.05
)

// BatchState is what [Batch] remembers. Its zero value is a fresh start.
type BatchState struct {
	// Sizes are the calls by size, the old ones of each size fading as new ones come. A size that is not called
	// keeps what is known of it: were all to fade at one pace, a time of single requests
	// would take away what is known of batches.
	Sizes []SizeClass `json:"sizes"`
	// Told is what the meter had counted at the last look.
	Told []SizeClass `json:"told"`
	// Fit is the cost curve a + b*n.
	Fit BatchFit `json:"fit"`
	// Until: after a change that was worse none is tried before this moment.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
}

// BatchFit is the cost of a call with n requests, a + b*n seconds, with standard deviations.
type BatchFit struct {
	A  float64 `json:"a"`
	B  float64 `json:"b"`
	SA float64 `json:"sa"`
	SB float64 `json:"sb"`
	// Classes is how many sizes it rests on; under 2 there is none.
	Classes int `json:"classes"`
}

func (c *SizeClass) mean() (n, seconds float64) { return c.N / c.Good, c.Time / c.Good }

// variance is of one call's duration, never less than a twentieth of the mean squared away.
func (c *SizeClass) variance() float64 {
	_, y := c.mean()
	return max(c.TimeSq/c.Good-y*y, 0.0025*y*y)
}

func (c *SizeClass) scale(by float64) {
	c.Calls *= by
	c.Failed *= by
	c.Good *= by
	c.N *= by
	c.Time *= by
	c.TimeSq *= by
}

// learn takes in the calls since the last look: each size's sums go on, at most classMemory calls of it. From the
// sizes' means the line is fitted by least squares, weighted by what is known of each.
func (s BatchState) learn(now []SizeClass) BatchState {
	next := BatchState{Until: s.Until, Pause: s.Pause, Told: now, Sizes: make([]SizeClass, max(len(s.Sizes), len(now)))}
	copy(next.Sizes, s.Sizes)
	for i, c := range now {
		if i < len(s.Told) && s.Told[i].Calls <= c.Calls { // else the meter began anew
			old := s.Told[i]
			c = SizeClass{c.Calls - old.Calls, c.Failed - old.Failed, c.Good - old.Good, c.N - old.N, c.Time - old.Time, c.TimeSq - old.TimeSq}
		}
		have := &next.Sizes[i]
		if over := have.Calls + c.Calls; over > classMemory && have.Calls > 0 {
			have.scale(max(classMemory-c.Calls, 0) / have.Calls)
		}
		have.Calls += c.Calls
		have.Failed += c.Failed
		have.Good += c.Good
		have.N += c.N
		have.Time += c.Time
		have.TimeSq += c.TimeSq
	}
	next.Fit = fitBatch(next.Sizes)
	return next
}

func fitBatch(sizes []SizeClass) (f BatchFit) {
	var w, wx, wxx, wy, wxy float64
	for i := range sizes {
		c := &sizes[i]
		if c.Good < classLeast {
			continue
		}
		x, y := c.mean()
		g := c.Good / c.variance()
		w, wx, wxx, wy, wxy = w+g, wx+g*x, wxx+g*x*x, wy+g*y, wxy+g*x*y
		f.Classes++
	}
	d := w*wxx - wx*wx
	if f.Classes < 2 || d <= 0 {
		f.Classes = min(f.Classes, 1)
		return f
	}
	f.B = (w*wxy - wx*wy) / d
	f.A = (wxx*wy - wx*wxy) / d
	// Where the line does not go through the points, it is the less sure.
	chi := 0.0
	for i := range sizes {
		if c := &sizes[i]; c.Good >= classLeast {
			x, y := c.mean()
			chi += c.Good / c.variance() * (y - f.A - f.B*x) * (y - f.A - f.B*x)
		}
	}
	miss := math.Sqrt(max(1, chi/float64(max(f.Classes-2, 1))))
	f.SA, f.SB = miss*math.Sqrt(wxx/d), miss*math.Sqrt(w/d)
	return f
}

// enough is the size beyond which a call gains less than loss, with the line's uncertainty pushed by
// sign: -1 for the least that it may be, +1 for the most.
func (f *BatchFit) enough(loss, sign float64) float64 {
	a, b := max(f.A+sign*f.SA, 0), f.B-sign*f.SB
	if b <= 0 {
		return math.Inf(1)
	}
	return a * (1 - loss) / (b * loss)
}

// load is the size at which the workers and the rate carry the arrivals:
//
//	n >= max(L/R, L*a/(r*k - L*b))
func (f *BatchFit) load(flow *Flow) float64 {
	arrivals, n := flow.arrivals(), 1.0
	if flow.Rate > 0 {
		if flow.Calls > batchLoad*flow.Rate*flow.Seconds {
			return math.Inf(1) // what waits for the rate is not known
		}
		n = arrivals / (batchRate * flow.Rate)
	}
	if room := batchLoad*flow.Workers - arrivals*f.B; room > 0 {
		return max(n, arrivals*max(f.A, 0)/room)
	}
	return math.Inf(1)
}

// Batch decides how many requests one call should carry at most, from the cost of a call with n requests, a + b*n,
// as fitted to the calls of all sizes. In this order:
//
//   - nothing succeeds, or nothing travels as a batch: hold.
//   - a size fails more often, or costs more a request, than smaller ones: not above those.
//   - the line is not sure: hold.
//   - else the larger of what the load needs, and of what is enough: at a*(1-e)/(b*e) a call does all but e = 5 % of what
//     endless batches would, and a larger one only makes its members wait. An upstream that is full gets
//     batches of e = 1 %.
//
// It moves only when batches fill the target or are above what is enough, since else nothing would change.
func Batch(in In[Flow], s BatchState) (Proposal, BatchState) {
	f := &in.Seen
	s = s.learn(f.Sizes)
	if in.Last != nil {
		if s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now); in.Last.Verdict != VerdictWorse {
			s.Pause, s.Until = 0, time.Time{}
		}
	}
	hold := func(rule, format string, args ...any) (Proposal, BatchState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	switch {
	case f.OK == 0:
		return hold("outage", "none of %.0f calls succeeded, which says nothing about sizes", f.Calls)
	case f.batch() < 1.05:
		return hold("single", "calls carry %.2f requests: there is nothing to be joined", f.batch())
	case in.Now.Before(s.Until):
		return hold("paused", "the last change was worse; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	}
	bound, why := s.harmful()
	if bound < in.Value {
		return Proposal{To: max(bound, in.Spec.Min), Rule: "size-harms", Reason: why, Expected: "fewer failures or less time a request"}, s
	}
	fit := &s.Fit
	if fit.Classes < 2 {
		return hold("sizes", "calls of different sizes are needed to know what a request costs; so far they carry %.1f", f.batch())
	}
	load := fit.load(f)
	full := fit.enough(saturatedLoss, 0)
	want := func(sign float64) float64 {
		return min(max(fit.enough(batchLoss, sign), min(load, full)), bound, in.Spec.Max)
	}
	least, most := want(-1), want(1)
	cost := fmt.Sprintf("a call costs %.1f ms and %.2f ms a request", 1e3*fit.A, 1e3*fit.B)
	switch {
	case most < (1-batchStep)*in.Value && f.batch() > batchFull*most:
		return Proposal{
			To: in.bold(most), Rule: "enough",
			Reason:   fmt.Sprintf("%s, so batches of %.0f do all but %.0f %% of what endless ones would; now they carry %.1f", cost, most, 100*batchLoss, f.batch()),
			Expected: "the same throughput at less time to an answer",
		}, s
	case least > (1+batchStep)*in.Value && f.batch() > batchFull*in.Value:
		return Proposal{
			To: in.bold(least), Rule: "fuller",
			Reason:   fmt.Sprintf("%s, so at %.1f requests a second %.0f workers need batches of %.0f; now they carry %.1f of at most %.0f", cost, f.arrivals(), f.Workers, least, f.batch(), in.Value),
			Expected: "more throughput or fewer calls for the same",
		}, s
	case fit.SB > 0.5*math.Abs(fit.B) && fit.SA > 0.5*math.Abs(fit.A):
		return hold("unsure", "%s, give or take %.1f ms and %.2f ms: more calls of different sizes are needed", cost, 1e3*fit.SA, 1e3*fit.SB)
	}
	return hold("settled", "%s; batches carry %.1f of at most %.0f", cost, f.batch(), in.Value)
}

// harmful finds the largest size below one that fails more, or costs more a request, than smaller ones.
func (s *BatchState) harmful() (n float64, why string) {
	n = math.Inf(1)
	var smaller SizeClass // all sizes below
	best := -1            // the size of the least time a request
	for i := range s.Sizes {
		c := &s.Sizes[i]
		if c.Calls < classLeast {
			continue
		}
		failed, before := c.Failed/c.Calls, smaller.Failed/max(smaller.Calls, 1)
		noise := math.Sqrt(max(failed*(1-failed), 0.01)/c.Calls + max(before*(1-before), 0.01)/max(smaller.Calls, 1))
		if smaller.Calls >= classLeast && failed-before > max(classFailed, classSure*noise) {
			top := math.Exp2(float64(i - 1))
			return top, fmt.Sprintf("of calls with more than %.0f requests %.0f %% fail, of smaller ones %.0f %%", top, 100*failed, 100*before)
		}
		smaller.Calls += c.Calls
		smaller.Failed += c.Failed
		if c.Good < classLeast {
			continue
		}
		x, y := c.mean()
		if best >= 0 {
			b := &s.Sizes[best]
			bx, by := b.mean()
			noise := math.Sqrt(c.variance()/c.Good)/x + math.Sqrt(b.variance()/b.Good)/bx
			if y/x > (1+classWorse)*by/bx+classSure*noise {
				return math.Ceil(bx), fmt.Sprintf("calls with about %.0f requests take %.2f ms a request, those with %.0f only %.2f ms", x, 1e3*y/x, bx, 1e3*by/bx)
			}
			if y/x > by/bx {
				continue
			}
		}
		best = i
	}
	return n, ""
}

// bold keeps a wish within the appetite's step, and makes it a whole number in the bounds.
func (in *In[M]) bold(to float64) float64 {
	step := in.Value * in.Appetite.StepRatio
	to = min(max(to, in.Value/(1+in.Appetite.StepRatio)), in.Value+max(step, 1))
	return min(max(math.Ceil(to), in.Spec.Min), in.Spec.Max)
}

// BatchRule is [Batch] over an upstream's Flow.
func BatchRule(measure func(from, to time.Time) Flow) Rule[Flow, BatchState] {
	r := flowRule[BatchState](measure)
	r.Decide, r.Judge = Batch, judgeFlow
	r.Model = func(value float64, s BatchState) any {
		points := []map[string]float64{}
		for i := range s.Sizes {
			if c := &s.Sizes[i]; c.Good >= 1 {
				n, seconds := c.mean()
				points = append(points, map[string]float64{"items": n, "seconds": seconds, "low": max(seconds-2*math.Sqrt(c.variance()/c.Good), 0),
					"high": seconds + 2*math.Sqrt(c.variance()/c.Good), "calls": c.Calls})
			}
		}
		return map[string]any{"kind": "batch", "points": points, "fit": s.Fit, "chosen": value}
	}
	r.Fade = func(s BatchState, trust float64) BatchState {
		for i := range s.Sizes {
			s.Sizes[i].scale(trust)
		}
		s.Told, s.Fit = nil, fitBatch(s.Sizes)
		return s
	}
	return r
}

package tuner

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"penstock/observe"
)

// Flow is what an upstream's queue and calls did in a span of time. Sums are over the calls that ended
// and the requests that left the queue in it; times are in seconds.
type Flow struct {
	Seconds float64 `json:"seconds"`

	// Calls ended and carried Items requests; OK and Overload are those that succeeded, and that ended in
	// 503 or a timeout; Failed those that failed in any way, Refused those refused for the quota.
	Calls    float64 `json:"calls"`
	Items    float64 `json:"items"`
	OK       float64 `json:"ok"`
	OKItems  float64 `json:"ok_items"`
	Failed   float64 `json:"failed"`
	Overload float64 `json:"overload"`
	Refused  float64 `json:"refused"`
	// Time is the sum of the good calls' durations, TimeSq that of their squares, ItemTime of duration times items.
	Time     float64 `json:"time"`
	TimeSq   float64 `json:"time_sq"`
	ItemTime float64 `json:"item_time"`
	// Longest is the longest good call.
	Longest float64 `json:"longest"`
	// InFlight is the sum of what each starting call found in flight.
	InFlight float64 `json:"in_flight"`

	// Retries are calls that tried again, RetriesOK those of them that succeeded, FirstFailed first tries that failed.
	Retries     float64 `json:"retries"`
	RetriesOK   float64 `json:"retries_ok"`
	First       float64 `json:"first"`
	FirstFailed float64 `json:"first_failed"`

	// Waits is how many requests were dispatched, Wait how long they waited in all, WaitSq in squares.
	Waits  float64 `json:"waits"`
	Wait   float64 `json:"wait"`
	WaitSq float64 `json:"wait_sq"`

	Totals
	// Workers is the number of permits, Rate the most calls per second that the rates admit (0: no bound),
	// both at the end of the span.
	Workers float64 `json:"workers"`
	Rate    float64 `json:"rate"`
	// Sizes are the batches of all time by size, to be compared with those of an earlier look.
	Sizes []SizeClass `json:"sizes,omitempty"`
}

// Totals are counters of the stages; in a Flow, by how much they rose.
type Totals struct {
	// Standing were given up as the oldest of a standing queue, Late could not make their deadline, Full
	// found no room.
	Standing float64 `json:"standing"`
	Late     float64 `json:"late"`
	Full     float64 `json:"full"`
	// Denied are retries that the budget did not pay for.
	Denied float64 `json:"denied"`
}

func (f *Flow) add(b *Flow) {
	f.Calls += b.Calls
	f.Items += b.Items
	f.OK += b.OK
	f.OKItems += b.OKItems
	f.Failed += b.Failed
	f.Overload += b.Overload
	f.Refused += b.Refused
	f.Time += b.Time
	f.TimeSq += b.TimeSq
	f.ItemTime += b.ItemTime
	f.Longest = max(f.Longest, b.Longest)
	f.InFlight += b.InFlight
	f.Retries += b.Retries
	f.RetriesOK += b.RetriesOK
	f.First += b.First
	f.FirstFailed += b.FirstFailed
	f.Waits += b.Waits
	f.Wait += b.Wait
	f.WaitSq += b.WaitSq
	f.Standing += b.Standing
	f.Late += b.Late
	f.Full += b.Full
	f.Denied += b.Denied
}

// SizeClass sums up all calls whose number of items lies in one class: 1, 2, 3 to 4, 5 to 8 and so on.
type SizeClass struct {
	Calls  float64 `json:"calls"`
	Failed float64 `json:"failed"`
	// N, Time and TimeSq are of the good calls: the sum of their items, durations and squares of those.
	Good   float64 `json:"good"`
	N      float64 `json:"n"`
	Time   float64 `json:"time"`
	TimeSq float64 `json:"time_sq"`
}

func sizeClassOf(items int) int { return bits.Len(uint(max(items, 1) - 1)) }

// sizeClasses is enough for batches of 16,384.
const sizeClasses = 15

// FlowMeter measures one upstream's Flow. Safe for concurrent use.
type FlowMeter struct {
	mu      sync.Mutex // guards what follows
	sums    history[Flow, *Flow]
	sizes   [sizeClasses]SizeClass
	totals  Totals
	started bool // totals is set
}

// NewFlowMeter returns an empty FlowMeter.
func NewFlowMeter() *FlowMeter { return new(FlowMeter) }

// OnCall takes a finished call at the time of its end.
func (m *FlowMeter) OnCall(c observe.Call, now time.Time) {
	if c.Outcome == observe.OutcomeCanceled {
		return
	}
	var f Flow
	items, took := float64(max(c.Items, 1)), c.Duration.Seconds()
	f.Calls, f.Items, f.InFlight = 1, items, float64(c.InFlight)
	ok := good(c.Outcome)
	switch {
	case ok:
		f.OK, f.OKItems = 1, items
		f.Time, f.TimeSq, f.ItemTime, f.Longest = took, took*took, took*items, took
	case c.Outcome == observe.OutcomeRefused:
		f.Refused = 1
	default:
		f.Failed = 1
		if c.Outcome == observe.OutcomeOverload || c.Outcome == observe.OutcomeTimeout {
			f.Overload = 1
		}
	}
	if c.Retry > 0 {
		f.Retries = 1
		if ok {
			f.RetriesOK = 1
		}
	} else {
		f.First = 1
		if !ok {
			f.FirstFailed = 1
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sums.at(now, func(s *Flow) { s.add(&f) })
	s := &m.sizes[min(sizeClassOf(c.Items), sizeClasses-1)]
	s.Calls++
	if !ok {
		s.Failed++
		return
	}
	s.Good++
	s.N += items
	s.Time += took
	s.TimeSq += took * took
}

// OnWait takes how long a dispatched request waited.
func (m *FlowMeter) OnWait(wait time.Duration, now time.Time) {
	w := wait.Seconds()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sums.at(now, func(s *Flow) {
		s.Waits++
		s.Wait += w
		s.WaitSq += w * w
	})
}

// Note takes the stages' counters; what they rose by since the last time counts as of now.
func (m *FlowMeter) Note(t Totals, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.totals
	m.totals = t
	if !m.started {
		m.started = true
		return
	}
	rise := Flow{Totals: Totals{
		Standing: max(t.Standing-old.Standing, 0), Late: max(t.Late-old.Late, 0),
		Full: max(t.Full-old.Full, 0), Denied: max(t.Denied-old.Denied, 0),
	}}
	m.sums.at(now, func(s *Flow) { s.add(&rise) })
}

// Between gives the Flow of the whole seconds in [from, to); workers and rate are those of now.
func (m *FlowMeter) Between(from, to time.Time, workers, rate float64) Flow {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.sums.between(from, to)
	f.Seconds = max(to.Sub(from).Seconds(), 0)
	f.Workers, f.Rate = workers, rate
	last := len(m.sizes)
	for last > 0 && m.sizes[last-1].Calls == 0 {
		last--
	}
	f.Sizes = append([]SizeClass(nil), m.sizes[:last]...)
	return f
}

// call is the mean duration of a good call, batch its mean number of items, wait the mean wait of a
// request, answer the mean time from the queue to the answer.
func (f *Flow) call() float64  { return f.Time / max(f.OK, 1) }
func (f *Flow) batch() float64 { return f.Items / max(f.Calls, 1) }
func (f *Flow) wait() float64  { return f.Wait / max(f.Waits, 1) }
func (f *Flow) answer() float64 {
	return f.wait() + f.ItemTime/max(f.OKItems, 1)
}

// answerNoise is one standard deviation of the mean time to the answer, as a share of it. The members of
// a batch share its duration, so it is the calls that count, not the requests.
func (f *Flow) answerNoise() float64 {
	variance := func(n, sum, sq float64) float64 {
		if n < 2 {
			return sum * sum
		}
		return max(sq/n-(sum/n)*(sum/n), 0) / n
	}
	v := variance(f.Calls, f.Wait/max(f.Waits, 1)*f.Calls, f.WaitSq/max(f.Waits, 1)*f.Calls) + variance(f.OK, f.Time, f.TimeSq)
	return math.Sqrt(v) / max(f.answer(), 1e-9)
}

// goodput is good requests per second, arrivals dispatched ones; used the mean share of the workers that
// a starting call found in use.
func (f *Flow) goodput() float64  { return f.OKItems / max(f.Seconds, 1e-9) }
func (f *Flow) arrivals() float64 { return max(f.Waits, f.Items) / max(f.Seconds, 1e-9) }
func (f *Flow) used() float64     { return f.InFlight / max(f.Calls, 1) / max(f.Workers, 1) }

// full reports whether the workers or the rate decide how much is done, and not the demand. Batches take every
// worker that there is, so that all are busy says nothing while nobody waits long.
func (f *Flow) full() bool {
	return f.used() >= bindingRatio && f.wait() > f.call()/2 || f.Rate > 0 && f.Calls > batchLoad*f.Rate*f.Seconds
}

func (f *Flow) failedRatio() float64   { return (f.Failed + f.Refused) / max(f.Calls, 1) }
func (f *Flow) overloadRatio() float64 { return f.Overload / max(f.Calls, 1) }

// lost is the share of requests that the queue gave up.
func (f *Flow) lost() float64 {
	gone := f.Standing + f.Late + f.Full
	return gone / max(gone+f.Waits, 1)
}

// signals are the Flow's numbers for the ledger.
func (f *Flow) signals() map[string]float64 {
	return map[string]float64{
		"calls": f.Calls, "requests": f.Waits, "batch_size": f.batch(), "goodput": f.goodput(), "call_seconds": f.call(),
		"wait_seconds": f.wait(), "answer_seconds": f.answer(), "used_ratio": f.used(), "failed_ratio": f.failedRatio(),
		"overload_ratio": f.overloadRatio(), "lost_ratio": f.lost(), "workers": f.Workers,
	}
}

// demandShift is the change of demand beyond which what was measured before is no measure for after.
const demandShift = 0.25

// judgeFlow compares the time to the answer, the good requests, and the share of lost and failed ones, before and after
// a change. What chance may explain counts as no change.
func judgeFlow(t Trial, before, after Flow) Effect {
	slower := change(before.answer(), after.answer())
	gain := change(before.goodput(), after.goodput())
	more, fewer := demandChange(&before, &after)
	bad := after.failedRatio() + after.lost() - before.failedRatio() - before.lost()
	unsure := math.Hypot(before.answerNoise(), after.answerNoise())
	counted := math.Sqrt(1/max(before.OKItems, 1) + 1/max(after.OKItems, 1))
	e := Effect{Verdict: VerdictNeutral, Confidence: confidence(slower, unsure)}
	e.Measured = measuredFlow(&before, &after)
	// Requests that did not come are no loss; that fewer of those that came were answered is.
	fell := gain-fewer < -max(worseLoss, 2*counted)
	switch {
	case bad > max(t.Appetite.ErrorRiseRatio, 2*counted):
		e.Verdict = VerdictWorse
	case math.Abs(change(before.arrivals(), after.arrivals())) > demandShift && !before.full() && !after.full():
		// Other times are not the change's doing.
		e.Measured += "; the demand changed, so that says little"
		e.More, e.Confidence = true, 0
		return e
	case slower > max(t.Appetite.LatencyRiseRatio, 2*unsure), fell:
		e.Verdict = VerdictWorse
	case slower < -max(betterGain, 2*unsure), bad < -max(t.Appetite.ErrorRiseRatio, 2*counted), gain-more > max(betterGain, 2*counted):
		e.Verdict = VerdictBetter
	}
	e.Alarm = bad > 5*t.Appetite.ErrorRiseRatio
	e.More = e.Verdict == VerdictNeutral && unsure > t.Appetite.LatencyRiseRatio/2
	return e
}

// demandChange is by what share more and fewer requests were asked for. What comes out of a queue says
// nothing about that while the workers are all busy or the rate is used up.
func demandChange(before, after *Flow) (more, fewer float64) {
	d := change(before.arrivals(), after.arrivals())
	if !before.full() {
		more = max(d, 0)
	}
	if !after.full() {
		fewer = min(d, 0)
	}
	return more, fewer
}

// confidence is how sure it is that a change of that size is not chance: the probability that a normal
// deviate stays under it.
func confidence(x, deviation float64) float64 {
	if deviation <= 0 {
		return 1
	}
	return math.Erf(math.Abs(x) / deviation / math.Sqrt2)
}

// flowReach is how far back a FlowMeter sees.
const flowReach = 9 * time.Hour

// flowRule is what the rules over a Flow have in common.
func flowRule[S any](measure func(from, to time.Time) Flow) Rule[Flow, S] {
	return Rule[Flow, S]{
		Measure: func(from, to time.Time) (Flow, int) {
			f := measure(from, to)
			return f, int(f.Calls)
		},
		Signals: func(f Flow) map[string]float64 { return f.signals() },
		Reach:   flowReach,
		Lag: func(now time.Time) time.Duration {
			f := measure(now.Add(-defaultReach), now)
			return time.Duration(f.Longest * float64(time.Second))
		},
		GoodSamples: goodSamples,
	}
}

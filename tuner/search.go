package tuner

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// knobInt writes a number of workers.
var knobInt = knob.Spec{Kind: knob.KindInt}

// search has [Knee] look after the workers of one upstream at the pace of its calls. The loop's ticks only
// write down what it came to. In shadow mode Knee is asked all the same, and what it wants is written
// down and not done.
type search struct {
	mu      sync.Mutex // guards what follows; taken after the Loop's mu
	gauge   gauge
	knee    KneeState
	found   finding   // the search under way
	summary finding   // what searches came to since the last record
	taken   []finding // those taken back since
	wanted  finding   // in shadow mode: the last that was not done
	told    bool      // wanted is in the ledger
	rule    string    // of the last step
	reason  string
	limits  limits // the knob's bounds, for the model
}

type limits struct{ least, most float64 }

// NewSearch returns the controller of an upstream's workers that acts at the pace of the calls.
func NewSearch() Fast { return &search{} }

// finding is where a search began and what it came to.
type finding struct {
	began         bool
	net           bool // the net took permits back
	from, to      float64
	steps         int
	before, after Epoch
	rule, reason  string
	verdict       Verdict
	measured      string
	confidence    float64
	rolledBack    bool
}

// OnCall takes a finished call.
func (s *search) OnCall(c observe.Call, now time.Time, h Hand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := h.Knob()
	if !ok {
		return
	}
	v := k.Value()
	if v != s.gauge.limit {
		s.restart(v, now, h)
	}
	e, ready := s.gauge.add(c, now)
	switch {
	case ready:
		s.step(k, e, now, h)
	case (s.knee.Phase == KneeLook || s.knee.Phase == KneeTest) && s.gauge.idle(now):
		s.giveUp(now, h)
	case h.Mode == ModeActive && s.found.began && s.knee.Phase == KneeSettle && s.gauge.idle(now):
		s.unreached(c.InFlight, now, h)
	}
}

// unreached ends a change that no epoch can judge, since the demand does not use up the limit. Growth beyond what the
// demand reaches comes down to that, where it can be judged: more in flight than before may be what harms.
func (s *search) unreached(inFlight int, now time.Time, h Hand) {
	limit, most := s.gauge.limit, float64(s.gauge.most)
	switch beyond := s.knee.beyond(inFlight, limit); {
	case beyond && s.gauge.hung.gone >= hungGone:
		s.knee.Rest = s.knee.back()
		s.giveUp(now, h)
	case beyond && most < math.Floor(fullRatio*limit):
		s.rule, s.reason = "demand", fmt.Sprintf("the demand has %.0f calls at once and does not use up %.0f workers: so many are tried", most, limit)
		s.knee.Rest = most
		s.knee.ceiling.reached(most, s.gauge.trip)
		s.found.steps++
		s.turn(most, now, h)
	default:
		to := limit
		if last := s.knee.last; last > 0 && last < limit {
			to = last // the most that the demand used up
		}
		s.close(to)
		s.knee.Rest = to
		s.giveUp(now, h)
	}
}

// close writes down a change that can't be judged.
func (s *search) close(to float64) {
	s.flush()
	if s.found.from == to {
		return
	}
	s.found.to, s.found.verdict, s.found.confidence = to, VerdictNeutral, 0
	s.found.measured = "the demand has not used up the workers since, so this can't be judged"
	if s.found.after.Calls == 0 {
		s.found.after = s.found.before
	}
	s.taken = append(s.taken, s.found)
}

// restart begins anew under a limit that the search did not choose. What is known of the upstream stays.
func (s *search) restart(v float64, now time.Time, h Hand) {
	s.knee.Phase, s.knee.Rest = KneeSettle, v
	s.found, s.summary, s.taken = finding{}, finding{}, nil
	s.gauge.reset(v, now)
	h.Release()
}

// giveUp ends an experiment that the demand does not reach.
func (s *search) giveUp(now time.Time, h Hand) {
	to := s.knee.Rest
	s.knee.Phase = KneeUnused
	s.rule, s.reason = "app-limited", "the demand does not use up the workers, so their number is not what limits"
	s.turn(to, now, h)
	s.found = finding{}
	h.Release()
}

func (s *search) step(k *knob.Knob, e Epoch, now time.Time, h Hand) {
	st := k.State()
	s.limits = limits{st.Spec.Min, st.Spec.Max}
	if st.Pin != nil {
		s.restart(st.Value, now, h)
		return
	}
	rested := s.knee.Rested
	step, next := Knee(st.Spec, h.Appetite, e, s.knee)
	s.knee, s.rule, s.reason = next, step.Rule, step.Reason

	switch {
	case s.found.began && s.knee.Shifted:
		s.found.before = Epoch{} // of another time
	case s.found.began && s.knee.Surprised:
		s.found.before = e
	}
	if h.Mode != ModeActive {
		s.shadow(step, e, now)
		return
	}
	if step.To == e.Limit {
		s.gauge.restart(s.gauge.cut(now), now)
	} else if !s.move(step, rested, e, now, h) {
		return
	}
	if step.Settled {
		if s.found.began && step.To == e.Limit {
			s.settle(e, now, h)
		}
		s.found, s.knee.Shifted = finding{}, false
		h.Release()
	}
}

// move turns the knob to what Knee wants, if it may.
func (s *search) move(step Step, rested, e Epoch, now time.Time, h Hand) bool {
	switch {
	case step.Rule == ruleOverload:
		h.Seize()
	case !h.Hold():
		s.rule, s.reason = "coupled", "another knob of this upstream is on trial; wanted: "+step.Reason
		s.knee.Phase, s.knee.Rest = KneeSettle, e.Limit
		s.gauge.restart(s.gauge.cut(now), now)
		return false
	}
	switch {
	case s.knee.Fell:
		// What the search found so far it found by the times of calls that tell too little.
		s.flush()
		s.found = finding{began: true, net: true, from: e.Limit, before: e, rule: step.Rule, reason: step.Reason}
	case !s.found.began:
		s.found = finding{began: true, from: e.Limit, before: e}
		if rested.Limit == e.Limit && s.knee.Phase != KneeTest {
			s.found.before = rested
		}
	}
	if (s.knee.Phase == KneeSettle || s.found.rule == "") && !s.found.net {
		s.found.rule, s.found.reason = step.Rule, step.Reason
	}
	s.found.steps++
	return s.turn(step.To, now, h)
}

// flush puts what searches came to in the ledger as it is.
func (s *search) flush() {
	if s.summary.began && s.summary.from != s.summary.to {
		s.taken = append(s.taken, s.summary)
	}
	s.summary = finding{}
}

// shadow notes what would be done.
func (s *search) shadow(step Step, e Epoch, now time.Time) {
	if s.knee.Phase == KneeSettle && step.To != e.Limit && (s.wanted.to != step.To || s.wanted.from != e.Limit) {
		s.wanted = finding{began: true, from: e.Limit, to: step.To, before: e, rule: step.Rule, reason: step.Reason}
		s.told = false
	}
	s.knee.Phase, s.knee.Rest = KneeSettle, e.Limit
	s.gauge.restart(s.gauge.cut(now), now)
}

// turn sets the knob.
func (s *search) turn(to float64, now time.Time, h Hand) bool {
	if err := h.Turn(to, s.reason); err != nil {
		if k, ok := h.Knob(); ok {
			s.restart(k.Value(), now, h)
		}
		s.rule, s.reason = "refused", err.Error()
		return false
	}
	s.gauge.reset(to, now)
	return true
}

// settle judges a search that has ended at the limit of an epoch, and takes back what was worse.
func (s *search) settle(e Epoch, now time.Time, h Hand) {
	f := s.found
	f.to, f.after = e.Limit, e
	if f.to == f.from {
		return // a look that changed nothing
	}
	if f.net {
		f.count()
		s.taken = append(s.taken, f)
		return
	}
	if f.judge(h.Appetite); f.verdict == VerdictWorse {
		s.reason = "rolled back: " + f.measured
		s.knee.Phase, s.knee.Rest = KneeSettle, f.from
		f.rolledBack = s.turn(f.from, now, h)
		s.taken = append(s.taken, f)
		return
	}
	if s.summary.began {
		f.from, f.before, f.steps = s.summary.from, s.summary.before, f.steps+s.summary.steps
		f.judge(h.Appetite)
	}
	s.summary = f
}

// count compares the answers that were counted.
func (f *finding) count() {
	b, e := &f.before, &f.after
	f.verdict = VerdictNeutral
	if b.Counted <= 0 || e.Counted <= 0 {
		f.measured = "too few answers were counted to compare them"
		return
	}
	gain, noise := e.Counted/b.Counted-1, math.Hypot(b.counted(), e.counted())
	f.confidence = math.Erf(math.Abs(gain) / max(noise, 1e-9) / math.Sqrt2)
	f.measured = fmt.Sprintf("answers counted %+.0f %% (to %.1f/s)", 100*gain, e.Counted)
	if gain > max(betterGain, sureNoise*noise) {
		f.verdict = VerdictBetter
	}
}

// judge compares the epochs before and after, at the same mix of routes. What may be chance counts as
// no change.
func (f *finding) judge(a Appetite) {
	b, e := &f.before, &f.after
	ratio, noise, ok := e.against(b)
	if b.Calls == 0 {
		f.verdict, f.confidence = VerdictNeutral, 0
		f.measured = fmt.Sprintf("the upstream itself changed meanwhile, so before and after can't be compared; now %.1f/s at %s a call", e.goodput(), millis(e.mean()))
		return
	}
	if !ok {
		f.verdict, f.measured, f.confidence = VerdictNeutral, "the routes called before and after have nothing in common", 0
		return
	}
	okBefore, okAfter := float64(b.OK)/float64(max(b.Calls, 1)), float64(e.OK)/float64(max(e.Calls, 1))
	gain := e.InFlight/b.InFlight/ratio*okAfter/max(okBefore, 1e-9) - 1
	unsure := sureNoise * noise
	f.confidence = math.Erf(math.Abs(gain) / max(noise, 1e-9) / math.Sqrt2)
	f.measured = fmt.Sprintf("goodput %+.0f %% (to %.1f/s) and the time of a call %+.0f %% (to %s) at the same mix of routes, good calls %.1f %% to %.1f %%; chance explains %.0f %%",
		100*gain, e.goodput(), 100*(ratio-1), millis(e.mean()), 100*okBefore, 100*okAfter, 100*unsure)
	errors, rise := a.withDefaults().ErrorRiseRatio, a.withDefaults().LatencyRiseRatio
	switch {
	case gain > max(betterGain, unsure):
		f.verdict = VerdictBetter
	case errors > 0 && okAfter < okBefore-errors, gain < -max(worseLoss, unsure):
		f.verdict = VerdictWorse
	case rise > 0 && f.to > f.from && ratio > 1+max(rise, unsure):
		f.verdict = VerdictWorse // more wait, and no more is done
	case okAfter > okBefore+worseErrors, f.to < f.from && ratio < 1-max(latencyChange/2, unsure):
		f.verdict = VerdictBetter
	default:
		f.verdict = VerdictNeutral
	}
}

// sureNoise is how many standard deviations chance is taken to explain.
const sureNoise = 3

// Tick returns what searches came to since the last call of it: one decision that sums them up, and
// one for each that was taken back.
func (s *search) Tick(now time.Time, h Hand) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Mode != ModeActive {
		if !s.wanted.began || s.told {
			return nil
		}
		s.told = true
		return []Decision{s.wanted.decision(now)}
	}
	findings := s.taken
	if s.summary.began && s.summary.from != s.summary.to {
		findings = append(findings, s.summary)
	}
	s.summary, s.taken = finding{}, nil
	decisions := make([]Decision, 0, len(findings))
	for _, f := range findings {
		d := f.decision(now)
		d.Verdict, d.Measured, d.Confidence, d.JudgedAt, d.RolledBack = f.verdict, f.measured, f.confidence, now, f.rolledBack
		decisions = append(decisions, d)
	}
	return decisions
}

func (f *finding) decision(now time.Time) Decision {
	before := f.before.signals()
	rule, reason := f.rule, f.reason
	if f.steps > 1 && !f.net {
		rule, reason = f.story()
	}
	return Decision{
		Time: now, From: f.from, To: f.to, Rule: rule, Reason: reason, Signals: signalMap(&before),
		Expected: "the most throughput at the least time a call",
	}
}

// story sums up a search of several steps.
func (f *finding) story() (rule, reason string) {
	rule, what := "grow", "more do more"
	if f.to < f.from {
		rule, what = "shrink", "fewer do as much or more"
	}
	if f.rule == ruleOverload {
		rule = f.rule
	}
	start := "the upstream itself had changed"
	if b := &f.before; b.Calls > 0 {
		start = fmt.Sprintf("with %.0f calls at once it gave %.1f/s at %s a call", b.InFlight, b.goodput(), millis(b.mean()))
	}
	return rule, fmt.Sprintf("%s, and %s: %d steps ended at %.0f workers, where it gives %.1f/s at %s a call", start, what, f.steps, f.to, f.after.goodput(), millis(f.after.mean()))
}

// Status is what the last step came to.
func (s *search) Status() (rule, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rule == "" {
		return "waiting", fmt.Sprintf("%d calls so far under the present limit while it was used up, at least %d are needed", len(s.gauge.samples), epochSamples)
	}
	return s.rule, s.reason
}

// Model is the fitted curve.
func (s *search) Model() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knee.belief == nil {
		return nil
	}
	return s.knee.model(s.limits.most)
}

// Save gives what is known of the upstream.
func (s *search) Save() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knee.belief == nil && s.knee.earlier == nil {
		return nil
	}
	return s.knee.save()
}

// Load takes that back.
func (s *search) Load(raw json.RawMessage, trust float64) error {
	var k savedKnee
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("the saved curve of the workers can't be read: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knee = k.restore(trust)
	return nil
}

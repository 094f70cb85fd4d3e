package tuner

import (
	"fmt"
	"math"
	"time"

	"penstock/knob"
)

// What Knee goes by. Ratios are 0..1.
const (
	// thrift is how much more throughput one more permit must bring to be worth it, as a share of what
	// it would bring if calls took as long as ever.
	thrift = 0.08
	// moveGain is the least gain that is worth a move of the resting limit.
	moveGain = 0.004
	// surprise: an epoch this many standard deviations from what was foretold, and by this share, says
	// that the upstream changed.
	surpriseNoise = 3.5
	surpriseRatio = 1.08
	// sumSlack is what is taken off each deviation before they are summed up, sumMost the sum that calls for a look.
	sumSlack = 0.4
	sumMost  = 5.0
	// sureOdds of one explanation of a surprise end the test.
	sureOdds = 0.98
	// otherMix: a change of the mix of routes that moves the time of a call by so much (of the logarithm) is
	// another world.
	otherMix = 0.25
	// transient is one standard deviation of how far the first epoch under a new limit is off, as a share of the
	// step (of logarithms).
	transient = 0.25
	// testMost is how many epochs a test lasts at most.
	testMost = 6
	// kneeCut is the most that one cut for overload takes away.
	kneeCut = 0.5
	// mostGood is how many knees are remembered.
	mostGood = 6
)

// KneePhase is what the search is at.
type KneePhase string

// The phases of the search.
const (
	KneeSettle KneePhase = ""       // on the way to where the belief says, or just there
	KneeRest   KneePhase = "rest"   // at the limit that is thought best
	KneeLook   KneePhase = "look"   // off it for a while, to learn
	KneeTest   KneePhase = "test"   // off it after a surprise, to learn which explanation is right
	KneeUnused KneePhase = "unused" // the demand does not use the limit up
)

// KneeState is what [Knee] remembers. Its zero value is a fresh start. It is Knee's own: whoever wants to
// keep one while Knee goes on has to Clone it.
type KneeState struct {
	Phase KneePhase
	// Rest is the limit to return to.
	Rest float64
	// Rested joins the epochs at Rest since the last surprise.
	Rested Epoch
	// Good are the last knees that were found, the newest last.
	Good []float64
	// Curve is what was measured, by the number in flight.
	Curve Curve
	// Cause says why a test is under way.
	Cause string
	// Surprised: the epoch was one that nothing foretold. Shifted: the upstream itself became slower or
	// faster while the search was under way.
	// Fell: the net took permits back; it judges by itself what that did.
	Surprised, Shifted, Fell bool

	blend  blend
	belief *belief
	// other is the other explanation of a surprise: that calls take longer or shorter whatever the limit; odds is
	// its probability, before the belief before the surprise. nil: there is none.
	other, before *belief
	odds          float64
	quickest      float64 // the least ln of the time of a call alone since the last change; 0: none known
	excess        float64 // how much more epochs vary than their calls say, as a factor of the variance
	tests         int
	last          float64 // the limit of the last epoch
	rested        float64 // ln of the time of a call in the last epoch at rest; 0: none
	slower,
	faster float64 // sums of small surprises, in standard deviations
	look    looking
	ceiling ceiling
	net     net
	earlier *earlierKnee // of another process, until the first epoch
}

// Clone is a copy that Knee does not touch.
func (s KneeState) Clone() KneeState {
	for _, b := range []**belief{&s.belief, &s.other, &s.before} {
		if *b != nil {
			*b = (*b).clone()
		}
	}
	routes := make(map[string]blended, len(s.blend.Routes))
	for name, r := range s.blend.Routes {
		routes[name] = r
	}
	s.blend.Routes = routes
	s.Curve = s.Curve.clone()
	s.Good = append([]float64(nil), s.Good...)
	return s
}

// Step is what Knee makes of an epoch.
type Step struct {
	// To is the limit wanted.
	To float64
	// Rule and Reason say which rule spoke and why.
	Rule, Reason string
	// Settled: the search under way, if any, ended at To.
	Settled bool
}

// Knee finds the number of permits beyond which an upstream gives no more throughput.
//
// By Little's law throughput is the number in flight over the time of a call. How that time grows with the number is
// taken to be one of the shapes of [shape], with the knee anywhere between the bounds; a belief holds the
// probability of each, and what all epochs saw together moves it. The limit is the one with the most
// throughput expected, less a little for each permit. What one permit more or less would do is learned by looks:
// short, small, and as rare as keeps their cost in bounds. An epoch that nothing foretold has two
// explanations: the knee moved, or each call takes longer by itself. A step to where the first
// would have the limit tells which.
func Knee(spec knob.Spec, a Appetite, e Epoch, s KneeState) (Step, KneeState) {
	k := kneeStep{spec: spec, a: a.withDefaults(), e: &e, s: s}
	step := k.decide()
	return step, k.s
}

type kneeStep struct {
	spec knob.Spec
	a    Appetite
	e    *Epoch
	s    KneeState
}

func (k *kneeStep) decide() Step {
	e := k.e
	switch over := float64(e.Overload) / float64(max(e.Calls, 1)); {
	case e.OK == 0 && e.Overload == 0:
		return k.stay("outage", "none of %d calls succeeded, which says nothing about the upstream's capacity", e.Calls)
	case float64(e.Refused) > quotaRatio*float64(e.Calls):
		return k.stay("quota", "%d of %d calls were refused for the quota: the rate binds and not the workers", e.Refused, e.Calls)
	case e.Overload >= overloadCalls && over >= overloadRatio:
		return k.cut(over)
	}
	k.s.Fell = false
	k.s.ceiling.pass(e.Span)
	if c := &k.s.ceiling; c.tested > 0 {
		c.tested = max(c.tested, e.Limit)
	}
	surprised, ok := k.learn()
	k.s.Surprised = surprised
	switch {
	case !ok:
		return k.stay("waiting", "no call of %d succeeded in time to be measured", e.Calls)
	}
	if step, ok := k.caught(); ok {
		return step
	}
	switch {
	case surprised || k.s.Phase == KneeTest:
		return k.test(surprised)
	case k.s.Phase == KneeLook:
		return k.looked()
	}
	return k.rest()
}

func (k *kneeStep) stay(rule, format string, args ...any) Step {
	return Step{To: k.e.Limit, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// move goes to a limit in a phase; where the bounds leave no way, it rests.
func (k *kneeStep) move(phase KneePhase, to float64, rule, format string, args ...any) Step {
	to = k.bound(to)
	if to == k.e.Limit {
		return k.settled(rule, format, args...)
	}
	k.s.Phase = phase
	return Step{To: to, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// bound keeps a value inside the knob's bounds and steps, the appetite's step and the ceiling.
func (k *kneeStep) bound(to float64) float64 {
	if m := k.spec.MaxStep; m > 0 {
		to = min(max(to, k.e.Limit-m), k.e.Limit+m)
	}
	if r := k.a.StepRatio; r > 0 {
		to = min(max(to, math.Floor(k.e.Limit*(1-r))), max(k.e.Limit*(1+r), k.e.Limit+1))
	}
	if c := k.s.ceiling.limit; c > 0 {
		to = min(to, c)
	}
	if c := k.s.ceiling.tested; c > 0 {
		to = min(to, max(c*(1+lookLeast), c+1))
	}
	return math.Round(min(max(to, k.spec.Min), k.spec.Max))
}

// best is the limit with the most to be expected, at most a step from here.
func (k *kneeStep) best(of func(n float64) float64) (limit, gain float64) {
	low, high := k.bound(0), k.bound(math.Inf(1))
	score := func(n float64) float64 { return math.Log(of(n)) - thrift*math.Log(n) }
	limit, top := k.e.Limit, math.Inf(-1)
	for n := low; n <= high; n = math.Max(n+1, math.Round(n*1.015)) {
		if x := score(n); x > top {
			limit, top = n, x
		}
	}
	return limit, top - score(k.e.Limit)
}

// worth gives the throughput expected at n, as a share of the best.
func (k *kneeStep) worth() func(n float64) float64 {
	here := k.s.belief.prospect(k.spec.Max)
	if k.s.other == nil {
		return here.worth
	}
	there, odds := k.s.other.prospect(k.spec.Max), k.s.odds
	return func(n float64) float64 { return (1-odds)*here.worth(n) + odds*there.worth(n) }
}

// test steps to where the limit would be if the knee had moved, until it is clear whether it did.
func (k *kneeStep) test(surprised bool) Step {
	s := &k.s
	if s.other == nil {
		s.Phase = KneeSettle
		return k.rest()
	}
	if surprised && s.Phase != KneeTest && s.Phase != KneeLook {
		s.Rest = k.e.Limit
	}
	cause := "slower"
	if mean, _ := s.before.foretell(k.e.InFlight); s.odds > 0 && math.Log(k.e.mean()) < mean {
		cause = "faster"
	}
	if surprised {
		s.Cause = cause
	}
	s.tests++
	if !surprised && (s.odds > sureOdds || s.odds < 1-sureOdds || s.tests > testMost) {
		return k.tested()
	}
	to, _ := k.best(s.belief.prospect(k.spec.Max).worth)
	to = min(to, math.Round(s.Rest*(1+lookMost))) // upward, a look is enough to tell
	if math.Abs(math.Log(to/k.e.Limit)) < math.Log(1.05) {
		if s.Phase == KneeTest && !surprised {
			return k.tested()
		}
		s.Phase = KneeTest
		return k.stay(s.Cause, "calls take %s under %.0f workers: looking whether that lasts", millis(k.e.mean()), k.e.Limit)
	}
	return k.move(KneeTest, to, s.Cause, "calls take %s under %.0f workers, which was not to be expected: trying %.0f to see whether their number is why",
		millis(k.e.mean()), k.e.Limit, to)
}

// tested ends a test.
func (k *kneeStep) tested() Step {
	s := &k.s
	s.look.eager = eagerLooks
	if k.close() {
		s.Phase = KneeSettle
		return k.rest()
	}
	s.Phase = KneeSettle
	return k.move(KneeSettle, s.Rest, "not-ours", "calls take %s under %.0f workers as well: the upstream itself changed, and %.0f workers are right as before",
		millis(k.e.mean()), k.e.Limit, s.Rest)
}

// rest moves to where the belief says, if that is worth it, and looks from time to time.
func (k *kneeStep) rest() Step {
	s := &k.s
	to, gain := k.best(k.worth())
	if to != k.e.Limit && gain > moveGain {
		from := k.e.Limit
		knee, sure := s.belief.knee()
		s.Rest = to
		if math.Abs(math.Log(to/from)) > 0.25 {
			s.look.eager = eagerLooks
		}
		rule, what := "grow", "more"
		if to < from {
			rule, what = "shrink", "fewer"
		}
		if sure < 0.15 {
			rule = "knee"
			return k.move(KneeSettle, to, rule, "%s: the upstream works at about %.0f at once, as far as %.0f looks tell", k.sentence(), math.Exp(knee), float64(s.Curve.Epochs))
		}
		return k.move(KneeSettle, to, rule, "%s, and %s are expected to do %.0f %% better", k.sentence(), what, 100*(math.Exp(gain)-1))
	}
	if s.Phase == KneeRest || s.Phase == KneeUnused {
		s.look.quiet += k.e.Span
		s.Rested.join(k.e)
	} else {
		s.Rested = *k.e
		s.look.quiet = k.e.Span
		k.remember()
	}
	s.Rest, s.Phase = k.e.Limit, KneeRest
	if step, ok := k.lookAround(); ok {
		return step
	}
	return k.settled("settled", "%s, and neither more nor fewer are expected to do better", k.sentence())
}

func (k *kneeStep) settled(rule, format string, args ...any) Step {
	k.s.Rest, k.s.Phase = k.e.Limit, KneeRest
	return Step{To: k.e.Limit, Settled: true, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

func (k *kneeStep) sentence() string {
	return fmt.Sprintf("%.0f workers give %.1f/s at %s a call", k.e.Limit, k.e.goodput(), millis(k.e.mean()))
}

// remember keeps a knee that is known well.
func (k *kneeStep) remember() {
	knee, sure := k.s.belief.knee()
	if sure > 0.1 {
		return
	}
	n := math.Exp(knee)
	good := k.s.Good[:0:0]
	for _, g := range k.s.Good {
		if math.Abs(math.Log(g/n)) > 0.1 {
			good = append(good, g)
		}
	}
	if len(good) >= mostGood {
		good = good[1:]
	}
	k.s.Good = append(good, n)
}

func millis(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

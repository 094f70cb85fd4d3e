package tuner

import (
	"fmt"
	"math"
	"time"

	"penstock/knob"
)

// What Knee goes by. Ratios are 0..1.
const (
	// slowStartFactor is how much is added until growth first did not pay; upFactor afterwards, while it pays.
	slowStartFactor = 2.0
	upFactor        = 1.5
	firstUpFactor   = 1.25 // right after a look
	// probeLeast and probeMost bound the size of the steps that look for a change of the knee. The
	// noisier the durations the larger the step, so that its effect can be seen.
	probeLeast = 0.1
	probeMost  = 0.25
	// downFactor is the first step down, downFurther the next ones.
	downFactor  = 0.8
	downFurther = 0.6
	// payRatio: growth pays if throughput rises by more than this share of what the limit rose by.
	payRatio = 0.5
	// surePay: at this elasticity all of a limit is needed, and more may be; between payRatio and it the
	// knee was passed.
	surePay = 0.75
	// nearRatio: a knee this near to a limit is not told from it.
	nearRatio = 0.95
	// clearNoise is the most that the noise of the elasticity may be when it is acted on, unless it is
	// clearSure times that away from what matters.
	clearNoise = 0.2
	clearSure  = 2.5
	// firstNoise of the mean duration is allowed where a reference is taken, lookNoise where a look is
	// to be compared with it.
	firstNoise = 0.08
	lookNoise  = 0.03
	// slowerRatio and fasterRatio of the duration at the same limit call for an experiment, if the
	// difference is also sureNoise standard deviations of the noise.
	slowerRatio = 1.15
	fasterRatio = 0.92
	sureNoise   = 3
	// queueRatio: durations this many times the unloaded ones mean a queue inside the upstream.
	queueRatio = 1.15
	// firstProbe and lastProbe are how many epochs pass between two looks upward: as many as keep the
	// mean loss of throughput by looking under lookCost.
	firstProbe = 4
	lastProbe  = 20
	lookCost   = 0.012
	// downEvery: one look in so many is downward; it finds a queue that Base does not know of.
	downEvery = 6
	lookDown  = 0.9
	// kneeCut is the most that one cut for overload takes away.
	kneeCut = 0.5
	// mostCalls: what is still noise after that many calls is taken as it is.
	mostCalls = 2000
)

// KneePhase is what the search is at.
type KneePhase string

// The phases of the search.
const (
	KneeStart   KneePhase = ""        // nothing is known yet
	KneeUp      KneePhase = "up"      // under a limit above Ref's, to see whether it pays
	KneeDown    KneePhase = "down"    // under a limit below Ref's, to see whether it costs
	KneeConfirm KneePhase = "confirm" // under Ref's limit, to see whether a change lasts and has come to rest
	KneeSettle  KneePhase = "settle"  // under a new limit, whose reference is to be taken
	KneeSettled KneePhase = "settled" // Ref was measured under this limit
)

// KneeState is what [Knee] remembers. Its zero value is a fresh start. Epochs in it are never changed
// in place.
type KneeState struct {
	Phase KneePhase
	// Ref is the epoch that the next one is compared with.
	Ref Epoch
	// Base is the last epoch at which more permits paid: its calls hardly waited inside the upstream.
	Base *Epoch
	// Found: growth has once not paid. Before that the limit doubles.
	Found bool
	// Quiet is the time since the last look, Look what that took; Wait is how many times as long as a
	// look takes there is between two looks, 0: firstProbe.
	Quiet, Look time.Duration
	Wait        int
	// Looks counts them.
	Looks int
	// Cause is why the search under way goes down.
	Cause string
	// Steps counts the steps of the search under way.
	Steps int
}

// Step is what Knee makes of an epoch.
type Step struct {
	// To is the limit wanted.
	To float64
	// More: the epoch is too noisy to say; let it go on.
	More bool
	// Rule and Reason say which rule spoke and why.
	Rule, Reason string
	// Settled: the search under way, if any, ended at To.
	Settled bool
}

// Knee finds the number of permits beyond which an upstream gives no more throughput. It compares the
// durations of calls under two limits, route by route at the same mix. By Little's law throughput is
// limit / duration, so the elasticity of throughput to the limit is
//
//	e = 1 - ln(duration2/duration1) / ln(limit2/limit1)
//
// which is 1 below the knee (calls take as long as ever), 0 above it (the new ones only wait), and
// less than 0 where the upstream collapses. Growing goes on while e > 1/2; it doubles until it first
// fails. Then the knee lies between the two limits: with k slots, durations above it are s*n/k, so
// k = limit2 * duration1/duration2.
//
// At a settled limit, durations that change have a cause that one limit can't tell: the upstream has
// fewer slots, or is slower at each call. A step down by a fifth tells: if durations fall with it, no
// throughput is lost, and the limit goes on to the new knee; if they stay, it is the upstream's own
// doing, and the limit returns. The look upward, a tenth to a quarter for one epoch, finds capacity
// that was added.
func Knee(spec knob.Spec, e Epoch, s KneeState) (Step, KneeState) {
	k := kneeStep{spec: spec, e: &e, s: s}
	step := k.decide()
	return step, k.s
}

type kneeStep struct {
	spec knob.Spec
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
	switch k.s.Phase {
	case KneeUp:
		return k.up()
	case KneeDown:
		return k.down()
	case KneeConfirm:
		return k.confirm()
	case KneeSettled:
		return k.settled()
	}
	return k.settle()
}

func (k *kneeStep) stay(rule, format string, args ...any) Step {
	return Step{To: k.e.Limit, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// move goes to a limit in a phase; where the bounds leave no way, it stays and settles.
func (k *kneeStep) move(phase KneePhase, to float64, rule, format string, args ...any) Step {
	to = k.bound(to)
	if to == k.e.Limit {
		phase = KneeSettled
		k.s.Ref = *k.e
		k.s.Quiet = 0
	} else {
		k.s.Steps++
	}
	k.s.Phase = phase
	return Step{To: to, Rule: rule, Reason: fmt.Sprintf(format, args...), Settled: phase == KneeSettled}
}

func (k *kneeStep) bound(to float64) float64 {
	if m := k.spec.MaxStep; m > 0 {
		to = min(max(to, k.e.Limit-m), k.e.Limit+m)
	}
	return math.Round(min(max(to, k.spec.Min), k.spec.Max))
}

// settle takes the reference of a new limit, and goes on upward if nothing is known to stop it.
func (k *kneeStep) settle() Step {
	if k.e.noise() > firstNoise && k.e.Calls < mostCalls {
		return Step{To: k.e.Limit, More: true}
	}
	k.s.Ref, k.s.Phase, k.s.Quiet = *k.e, KneeSettled, 0
	if !k.s.Found {
		return k.move(KneeUp, k.growth(slowStartFactor), "slow-start",
			"all %.0f workers are busy and %.1f/s pass: twice as many may do more", k.e.Limit, k.e.goodput())
	}
	if k.queued() {
		return k.shrink("queueing")
	}
	return Step{To: k.e.Limit, Settled: true, Rule: "settled",
		Reason: fmt.Sprintf("%.0f workers give %.1f/s at %.0f ms a call", k.e.Limit, k.e.goodput(), 1e3*k.e.mean())}
}

func (k *kneeStep) growth(factor float64) float64 { return max(k.e.Limit*factor, k.e.Limit+1) }

// elasticity compares the epoch with Ref; clear is false if noise hides the answer.
func (k *kneeStep) elasticity() (el, ratio float64, clear bool) {
	ratio, noise, ok := k.e.against(&k.s.Ref)
	span := math.Log(k.e.InFlight / k.s.Ref.InFlight)
	if !ok || span == 0 {
		return 1, 1, false
	}
	el = 1 - math.Log(ratio)/span
	noise /= math.Abs(span)
	clear = noise <= clearNoise || math.Abs(el-payRatio) >= clearSure*noise || k.e.Calls >= mostCalls
	return el, ratio, clear
}

func (k *kneeStep) up() Step {
	el, ratio, clear := k.elasticity()
	if !clear {
		return Step{To: k.e.Limit, More: true}
	}
	from := k.s.Ref.Limit
	small := k.e.Limit <= (1+probeMost)*from+1 // what a large step costs says nothing of a look
	k.s.Look = k.e.Span
	if el > surePay {
		base := *k.e
		k.s.Base, k.s.Ref, k.s.Wait = &base, *k.e, 0
		factor := upFactor
		switch {
		case !k.s.Found:
			factor = slowStartFactor
		case k.s.Steps <= 1:
			factor = firstUpFactor
		}
		return k.move(KneeUp, k.growth(factor), "grow",
			"going from %.0f to %.0f workers raised throughput to %.1f/s (%.0f %% of the step)", from, k.e.Limit, k.e.goodput(), 100*el)
	}
	first := !k.s.Found
	k.s.Found = true
	if first {
		k.s.Looks = downEvery - 1 // the steps were large: make sure that there is no queue
	}
	knee := min(max(k.e.Limit/ratio, from), k.e.Limit)
	k.s.Wait = firstProbe
	if small {
		_, unsure, _ := k.e.against(&k.s.Ref)
		k.s.Wait = pause(1 - k.e.goodput()/max(k.s.Ref.goodput(), 1e-9) - unsure)
	}
	// After a look, whose effect is near the noise, only a knee beyond its middle counts: else chance
	// would push the limit up look by look.
	if k.bound(knee) <= from+max(1, 0.02*from) || small && el <= payRatio {
		k.s.Phase, k.s.Quiet = KneeSettled, 0
		step := Step{To: k.bound(from), Rule: "give-back", Settled: true,
			Reason: fmt.Sprintf("%.0f workers instead of %.0f raised throughput by %.0f %% of the step and made each call take %.0f %% longer",
				k.e.Limit, from, 100*el, 100*(ratio-1))}
		if first && k.s.Base == nil {
			// Growth never paid, so the start may be far above the knee: down from here.
			k.s.Phase, step.Settled = KneeSettle, false
		}
		return step
	}
	return k.move(KneeSettle, knee, "knee",
		"%.0f workers instead of %.0f made each call take %.0f %% longer: the upstream works at about %.0f at once", k.e.Limit, from, 100*(ratio-1), knee)
}

// pause is how many epochs to wait after a look that lost this share of the throughput.
func pause(loss float64) int {
	return min(max(int(math.Ceil(loss/lookCost))-1, firstProbe), lastProbe)
}

// queued reports whether calls wait inside the upstream, as far as Base tells; without one, they may.
func (k *kneeStep) queued() bool {
	if k.s.Base == nil {
		return true
	}
	ratio, noise, ok := k.e.against(k.s.Base)
	return ok && ratio > max(queueRatio, 1+sureNoise*noise)
}

func (k *kneeStep) shrink(rule string) Step {
	k.s.Cause = rule
	factor := downFactor
	if rule == "look-down" {
		factor = lookDown
	}
	return k.move(KneeDown, min(k.e.Limit*factor, k.e.Limit-1), rule,
		"a call takes %.0f ms under %.0f workers: fewer may do as much", 1e3*k.e.mean(), k.e.Limit)
}

func (k *kneeStep) down() Step {
	el, ratio, clear := k.elasticity()
	if !clear {
		return Step{To: k.e.Limit, More: true}
	}
	from := k.s.Ref.Limit
	if el > payRatio {
		// Below the knee: calls take as long as they must.
		if k.s.Base != nil || k.s.Steps <= 1 {
			base := *k.e
			k.s.Base = &base
		}
		knee := min(max(from*ratio, k.e.Limit), from)
		if knee >= min(nearRatio*from, from-1) || el > surePay && k.e.Limit >= downFactor*from-1 {
			// The reference is right, only slower than before.
			k.s.Phase, k.s.Quiet, k.s.Look = KneeSettled, 0, k.e.Span
			if k.s.Cause != "slower" {
				return Step{To: from, Rule: "needed", Settled: true,
					Reason: fmt.Sprintf("%.0f workers instead of %.0f lost throughput: they are needed", k.e.Limit, from)}
			}
			return Step{To: from, Rule: "not-ours", Settled: true,
				Reason: fmt.Sprintf("%.0f workers instead of %.0f lost throughput (%.1f/s) and calls took no less time: the upstream itself is slower", k.e.Limit, from, k.e.goodput())}
		}
		return k.move(KneeSettle, knee, "knee",
			"%.0f workers instead of %.0f began to cost throughput: the upstream works at about %.0f at once", k.e.Limit, from, knee)
	}
	// Throughput is the same or better: go on, to where Base says if that is sensible.
	next := k.e.Limit * downFurther
	if k.s.Base != nil {
		wait, _, ok := k.e.against(k.s.Base)
		before, _, _ := k.s.Ref.against(k.s.Base)
		switch {
		case !ok || before < queueRatio && el < payRatio/2:
			k.s.Base = nil // it knew of no queue where there was one
		case wait < queueRatio:
			return k.settleAt()
		case wait < 2:
			next = k.e.Limit / wait
		}
	}
	k.s.Ref = *k.e
	return k.move(KneeDown, min(next, k.e.Limit-1), "shrink",
		"%.0f workers instead of %.0f do as much (%.1f/s), and each call takes %.0f %% less", k.e.Limit, from, k.e.goodput(), 100*(1-ratio))
}

func (k *kneeStep) settleAt() Step {
	k.s.Ref, k.s.Phase, k.s.Quiet, k.s.Wait = *k.e, KneeSettled, 0, firstProbe
	k.s.Looks = downEvery - 2 // look up, then down: Base may be wrong
	return Step{To: k.e.Limit, Rule: "settled", Settled: true,
		Reason: fmt.Sprintf("%.0f workers give %.1f/s, and calls hardly wait inside the upstream", k.e.Limit, k.e.goodput())}
}

func (k *kneeStep) settled() Step {
	ratio, noise, ok := k.e.against(&k.s.Ref)
	k.s.Steps = 0
	switch {
	case !ok:
		return k.settle()
	case ratio > max(slowerRatio, 1+sureNoise*noise):
		k.s.Ref, k.s.Phase, k.s.Cause = *k.e, KneeConfirm, "slower"
		return k.stay("slower", "calls take %.0f %% longer under the same %.0f workers: looking whether that lasts", 100*(ratio-1), k.e.Limit)
	case ratio < min(fasterRatio, 1-sureNoise*noise):
		k.s.Ref, k.s.Phase, k.s.Cause = *k.e, KneeConfirm, "faster"
		return k.stay("faster", "calls take %.0f %% less time under the same %.0f workers: looking whether that lasts", 100*(1-ratio), k.e.Limit)
	}
	if k.s.Ref.noise() > lookNoise && k.s.Ref.Calls < mostCalls {
		ref := k.s.Ref
		ref.join(k.e)
		k.s.Ref = ref
	}
	k.s.Quiet += k.e.Span
	if k.s.Quiet < time.Duration(max(k.s.Wait, firstProbe))*k.s.Look || k.s.Ref.noise() > lookNoise && k.s.Ref.Calls < mostCalls {
		return k.stay("settled", "%.0f workers give %.1f/s, and neither more nor fewer is known to do better", k.e.Limit, k.e.goodput())
	}
	k.s.Quiet = 0
	if k.s.Looks++; k.s.Looks%downEvery == 0 && k.e.Limit > k.spec.Min {
		return k.shrink("look-down")
	}
	size := min(max(4*noise, probeLeast), probeMost)
	return k.move(KneeUp, k.growth(1+size), "look-up", "%.0f workers are busy: looking whether %.0f %% more do more", k.e.Limit, 100*size)
}

// confirm waits until durations that changed have come to rest, so that a step is not compared with what
// was still on its way.
func (k *kneeStep) confirm() Step {
	ratio, noise, ok := k.e.against(&k.s.Ref)
	moving := ok && math.Abs(math.Log(ratio)) > max(math.Log(slowerRatio), sureNoise*noise)
	k.s.Ref = *k.e
	switch {
	case moving:
		return k.stay(k.s.Cause, "the time of a call still changes under the same %.0f workers", k.e.Limit)
	case k.s.Cause == "faster":
		if k.s.Base != nil {
			if r, _, ok := k.e.against(k.s.Base); ok && r < 1 {
				base := *k.e
				k.s.Base = &base
			}
		}
		return k.move(KneeUp, k.growth(1+probeMost), "faster",
			"calls take less time (%.0f ms) under the same %.0f workers: there may be room for more", 1e3*k.e.mean(), k.e.Limit)
	case k.queued():
		return k.shrink("slower")
	}
	k.s.Phase = KneeSettled
	return Step{To: k.e.Limit, Settled: true, Rule: "settled",
		Reason: fmt.Sprintf("calls take %.0f ms again, as before", 1e3*k.e.mean())}
}

// cut gives way to overload, once for each cohort: the epoch holds only calls that started under
// the limit in force.
func (k *kneeStep) cut(over float64) Step {
	to := k.e.Limit * (1 - min(over, kneeCut))
	k.s.Wait = pause(over)
	if back := k.bound(k.s.Ref.Limit); k.s.Phase == KneeUp && back < k.e.Limit {
		k.s.Phase, k.s.Quiet, k.s.Look, k.s.Found = KneeSettled, 0, k.e.Span, true
		return Step{To: back, Rule: ruleOverload, Settled: true,
			Reason: fmt.Sprintf("%.0f %% of %d calls ended in overload or a timeout under %.0f workers", 100*over, k.e.Calls, k.e.Limit)}
	}
	k.s.Found = true
	return k.move(KneeSettle, min(to, k.e.Limit-1), ruleOverload,
		"%.0f %% of %d calls ended in overload or a timeout under %.0f workers", 100*over, k.e.Calls, k.e.Limit)
}

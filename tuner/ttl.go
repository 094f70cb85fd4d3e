package tuner

import (
	"fmt"
	"math"
	"time"

	"penstock/knob"
)

// balancedStale is the goal unless another is set.
const balancedStale = 0.01

const (
	// firstTTL is where a route begins of which nothing is known, if its configured TTL is longer.
	firstTTL = 10 * time.Second
	// ttlMinLooks is the least number of looks that a plan rests on.
	ttlMinLooks = 30
	// ttlMove is the least change of the typical TTL that is worth a decision.
	ttlMove = 0.1
	// mostStaler is how many times staler than the goal one class of keys may be.
	mostStaler = 10
	// leastTrusted and mostTrusted bound what the measured share may correct the predicted one by.
	leastTrusted, mostTrusted = 0.7, 4
)

// TTLAppetite is what presets change.
type TTLAppetite struct {
	// Stale is the freshness target: the share of answers from the cache that may be stale, 0..1.
	Stale float64
	// Grow is how many times longer the TTL may get in one decision.
	Grow float64
	// Sure is by how many standard deviations what was measured is taken for worse than it looks.
	Sure float64
}

// TTLInput is what [TTL] looks at.
type TTLInput struct {
	Now   time.Time
	Spec  knob.Spec
	Value float64 // seconds
	// Window is how long past its TTL a copy may be used while it is renewed, at most.
	Window   time.Duration
	Appetite TTLAppetite
}

// TTLProposal is a proposal with the TTLs of the classes of keys.
type TTLProposal struct {
	Proposal
	plan *ttlPlan
	// Stale and Calls are what the plan expects: the share of stale answers, and calls a second.
	Stale, Calls, CallsBefore float64
}

// TTL decides how long a route's answers are fresh:
//
//   - nothing is known: begin short;
//   - too few looks: hold;
//   - else the allocation of [planTTLs] under the freshness target, corrected by what share was stale as
//     measured against predicted. The knob's value is the typical TTL (the mean over hits, of the
//     logarithms); each class of keys has its own.
//
// It may become at most Appetite.Grow times longer at once, and shorter at once.
func TTL(in TTLInput, s *TTLState) TTLProposal {
	s.ensure()
	s.Stale = in.Appetite.Stale
	hold := func(rule, format string, args ...any) TTLProposal {
		return TTLProposal{Proposal: Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, plan: s.planned}
	}
	if s.Looks == 0 && s.planned == nil && s.trust <= 1 && in.Value > firstTTL.Seconds() {
		to := min(max(firstTTL.Seconds(), in.Spec.Min), in.Spec.Max)
		if to < in.Value {
			return TTLProposal{Proposal: Proposal{
				To: to, Rule: "start-short",
				Reason:   fmt.Sprintf("nothing is known yet of how often the answers change, so they are fresh for %s until it is", seconds(to)),
				Expected: "more calls for a while, and few stale answers",
			}}
		}
	}
	if s.Looks < ttlMinLooks {
		return hold("waiting", "%d looks at the content so far, at least %d are needed", s.Looks, ttlMinLooks)
	}
	s.learn()
	classes := s.classes(in.Now)
	correction := s.correction(in.Appetite.Sure)
	goal := ttlGoal{
		stale: in.Appetite.Stale / correction, most: min(mostStaler*in.Appetite.Stale, 0.5) / correction,
		least: max(in.Spec.Min, leastTTL), longest: in.Spec.Max, window: in.Window.Seconds(),
	}
	plan := planTTLs(classes, goal)
	limited := plan.limit(in.Value*in.Appetite.Grow, goal)
	now := s.evaluate(classes, in.Value, correction)
	return s.propose(in, &plan, now, correction, limited)
}

// correction is how many times more answers were stale, as far as is sure, than was predicted.
func (s *TTLState) correction(sure float64) float64 {
	r := &s.recent
	if r.Predicted <= 0 || r.Changes < 1 {
		return 1
	}
	return min(max((r.Stale+sure*math.Sqrt(r.StaleSquares))/r.Predicted, leastTrusted), mostTrusted)
}

// evaluate is what the TTLs in force come to by what is known now.
func (s *TTLState) evaluate(classes []ttlClass, value, correction float64) ttlPlan {
	t := ttlTables()
	p := ttlPlan{typical: value}
	var stale float64
	for i := range classes {
		c := &classes[i]
		ttl := value
		if s.planned != nil {
			if own, ok := s.planned.classes[c.id]; ok {
				ttl = own.ttl * value / s.planned.typical
			}
		}
		hits := c.keys * c.demand * c.demand * ttl / (1 + c.demand*ttl)
		p.hits += hits
		p.calls += c.keys * c.demand / (1 + c.demand*ttl)
		stale += hits * c.belief.dot(&t.stale[levelOf(ttl)])
	}
	p.stale = stale / max(p.hits, 1e-300) * correction
	return p
}

// limit shortens all TTLs alike so that the typical one is at most longest, and reports whether it had to.
func (p *ttlPlan) limit(longest float64, goal ttlGoal) bool {
	if p.typical <= longest {
		return false
	}
	f := longest / p.typical
	for id, c := range p.classes {
		p.classes[id] = classPlan{ttl: max(c.ttl*f, goal.least), window: c.window}
	}
	p.typical = max(longest, goal.least)
	return true
}

func (s *TTLState) propose(in TTLInput, plan *ttlPlan, now ttlPlan, correction float64, limited bool) TTLProposal {
	mean, low, high := s.recent.rate(1.96)
	p := TTLProposal{plan: plan, Stale: plan.stale * correction, Calls: plan.calls, CallsBefore: now.calls}
	p.To, p.Rule = in.Value, "settled"
	p.Reason = fmt.Sprintf("%.0f of the last %.0f looks found a change, which is %s a key (95 %%: %s to %s); at a TTL of %s about %s of the answers from the cache are stale, and %s may be",
		s.recent.Changes, s.recent.Looks, perTime(mean), perTime(low), perTime(high), seconds(in.Value), percent(now.stale), percent(in.Appetite.Stale))
	if math.Abs(math.Log(plan.typical/max(in.Value, 1e-9))) < ttlMove {
		// The classes may be kept up to date without a word: the typical TTL stays.
		f := in.Value / plan.typical
		for id, c := range plan.classes {
			plan.classes[id] = classPlan{ttl: c.ttl * f, window: c.window}
		}
		plan.typical = in.Value
		return p
	}
	p.To, p.Rule = plan.typical, "shorten"
	if p.To > in.Value {
		p.Rule = "lengthen"
		if limited {
			p.Rule = "lengthen-step"
		}
	}
	p.Expected = fmt.Sprintf("%s stale answers (target %s) and %s upstream calls for the same requests",
		percent(p.Stale), percent(in.Appetite.Stale), changeOf(p.Calls, p.CallsBefore))
	return p
}

// Adopt says that the proposal was carried out, so that what is measured from now on is its doing.
func (s *TTLState) Adopt(p TTLProposal, now time.Time) {
	s.planned = p.plan
	if p.Rule == "lengthen" || p.Rule == "lengthen-step" || p.Rule == "shorten" || p.Rule == "start-short" {
		s.decided, s.sinceDecision = now, ttlTally{}
	}
}

func changeOf(after, before float64) string {
	d := 100 * (after/max(before, 1e-12) - 1)
	if d <= 0 {
		return fmt.Sprintf("%.0f %% fewer", -d)
	}
	return fmt.Sprintf("%.0f %% more", d)
}

func percent(v float64) string { return fmt.Sprintf("%.2g %%", 100*v) }

// seconds writes a time so that it is easy to read.
func seconds(v float64) string {
	d := time.Duration(v * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Minute).String()
}

// perTime writes a rate as once in so long.
func perTime(rate float64) string {
	if rate <= 0 {
		return "never"
	}
	if rate >= 1 {
		return fmt.Sprintf("%.2g times a second", rate)
	}
	return "once in " + seconds(1/rate)
}

package tuner

import (
	"fmt"
	"math"
	"time"
)

// balancedStale is the goal unless another is set.
const balancedStale = 0.01

const (
	// firstTTL is where a route begins of which nothing is known, if its configured TTL is longer.
	firstTTL = 10 * time.Second
	// ttlMinLooks is the least number of looks that a plan rests on.
	ttlMinLooks = 30
	// ttlMove is the least change of the typical TTL (of its logarithm) that is worth a decision. Below it the
	// classes follow what is known, and the knob stays.
	ttlMove = 0.25
	// ttlFar is one that is, even if the calls would change by less than ttlGain and there are at most ttlLate
	// times as many stale answers as may be.
	ttlFar, ttlGain, ttlLate = 0.7, 0.03, 1.1
	// mostStaler is how many times staler than the goal one class of keys may be.
	mostStaler = 10
	// leastTrusted and mostTrusted bound what the measured share may correct the predicted one by.
	leastTrusted, mostTrusted = 0.7, 4
	// ttlSure is by how many standard deviations what was measured is taken for worse than it looks.
	ttlSure = 1
)

// TTLState is what [TTL] remembers. Its zero value is a fresh start.
type TTLState struct {
	// Plan is what each class of keys gets while the knob stands at At; empty: all get At. An operator's
	// value, or one that was rolled back to, has no plan until the next look.
	Plan map[classID]classPlan `json:"plan,omitempty"`
	At   float64               `json:"at,omitempty"`
	// Begun: the first, short TTL was set, or not needed.
	Begun bool `json:"begun,omitempty"`
	// Stale and Calls are what the plan expects: the share of stale answers, and calls a second.
	Stale float64 `json:"stale"`
	Calls float64 `json:"calls"`
	Goal  float64 `json:"goal"`
	// Correction is how many times more answers were stale than predicted.
	Correction float64 `json:"correction"`
	// LongerAt is when the TTL may grow again after that was judged worse, and Wait the pause after the
	// next time.
	LongerAt time.Time     `json:"longer_at,omitzero"`
	Wait     time.Duration `json:"wait,omitempty"`
	// Seen is the last sum of the looks, without its classes but as the page shows them.
	Seen    TTLSeen         `json:"seen"`
	Classes []ttlClassModel `json:"classes,omitempty"`
}

// TTL decides how long a route's answers are fresh:
//
//   - nothing is known: begin short;
//   - too few looks: hold;
//   - else the allocation of [planTTLs] under the freshness target, corrected by what share was stale as
//     measured against predicted. The knob's value is the typical TTL (the mean over hits, of the
//     logarithms); each class of keys has its own.
//
// It may become longer by at most Appetite.StepRatio at once, and shorter by any step.
func TTL(in In[TTLSeen], s TTLState) (Proposal, TTLState) { return decideTTL(in, s, 0) }

func decideTTL(in In[TTLSeen], s TTLState, window time.Duration) (Proposal, TTLState) {
	seen := &in.Seen
	s = s.learn(in)
	hold := func(rule, format string, args ...any) (Proposal, TTLState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	if !s.Begun {
		s.Begun = true
		if to := max(firstTTL.Seconds(), in.Spec.Min); seen.Looks < ttlMinLooks && to < in.Value {
			return Proposal{
				To: to, Rule: "start-short",
				Reason:   fmt.Sprintf("nothing is known yet of how often the answers change, so they are fresh for %s until it is", seconds(to)),
				Expected: "few stale answers, and more calls for a while",
			}, s
		}
	}
	if seen.Looks < ttlMinLooks {
		return hold("waiting", "%d looks at the content so far, at least %d are needed", seen.Looks, ttlMinLooks)
	}
	target := in.Appetite.StaleRatio
	s.Correction = seen.Recent.correction(ttlSure)
	goal := ttlGoal{
		stale: target / s.Correction, most: min(mostStaler*target, 0.5) / s.Correction,
		least: max(in.Spec.Min, leastTTL), longest: max(in.Spec.Max, leastTTL), window: window.Seconds(),
	}
	now := s.evaluate(seen.Classes, in.Value)
	plan := planTTLs(seen.Classes, goal)
	rule := ""
	move := math.Abs(math.Log(plan.typical / max(in.Value, 1e-9)))
	idle := now.stale < ttlLate*target && math.Abs(plan.calls/max(now.calls, 1e-12)-1) < ttlGain
	switch {
	case move < ttlMove, move < ttlFar && idle:
		plan.typical = in.Value
	case plan.typical < in.Value:
		rule = "shorten"
	case in.Now.Before(s.LongerAt):
		rule = "paused"
		plan.scale(in.Value/plan.typical, goal)
		plan.typical = in.Value
	default:
		rule = "lengthen"
		if most := in.Value * (1 + in.Appetite.StepRatio); plan.typical > most {
			plan.scale(most/plan.typical, goal)
			plan.typical = most
		}
	}
	if rule != "" && rule != "paused" {
		plan.typical = round(plan.typical)
	}
	s.Plan, s.At = plan.classes, min(max(plan.typical, in.Spec.Min), in.Spec.Max)
	then := s.evaluate(seen.Classes, s.At)
	s.Stale, s.Calls = then.stale, then.calls
	s.Classes = classModels(seen.Classes, &s)
	if rule == "" || rule == "paused" || s.At == in.Value {
		if rule != "paused" {
			rule = "settled"
		}
		s.At = in.Value
		return Proposal{To: in.Value, Rule: rule, Reason: s.reason(in, now)}, s
	}
	return Proposal{
		To: s.At, Rule: rule, Reason: s.reason(in, now),
		Expected: fmt.Sprintf("about %s of the answers from the cache stale (target %s), and %s upstream calls for the same requests",
			percent(then.stale), percent(target), changeOf(then.calls, now.calls)),
	}, s
}

// learn takes in the verdict on the last proposal.
func (s TTLState) learn(in In[TTLSeen]) TTLState {
	s.Goal = in.Appetite.StaleRatio
	s.Seen = in.Seen
	s.Seen.Classes = nil
	switch last := in.Last; {
	case last == nil || last.To < last.From:
	case last.Verdict == VerdictWorse:
		s.Wait = nextWait(s.Wait)
		s.LongerAt = in.Now.Add(s.Wait)
	default:
		s.Wait = 0
	}
	return s
}

func (s *TTLState) reason(in In[TTLSeen], now ttlPlan) string {
	r := &in.Seen.Recent
	mean, low, high := r.rate(1.96)
	if r.Changes < 0.5 {
		return fmt.Sprintf("none of the last %.0f looks found a change, so a key changes %s at most (95 %%); with a TTL of %s at most about %s of the answers from the cache are stale, and %s may be",
			r.Looks, perTime(3/max(r.Exposure, 1e-9)), seconds(in.Value), percent(now.stale), percent(s.Goal))
	}
	return fmt.Sprintf("%.0f of the last %.0f looks found a change, so a key changes %s (95 %%: %s to %s); with a TTL of %s about %s of the answers from the cache are stale, and %s may be",
		r.Changes, r.Looks, perTime(mean), perTime(low), perTime(high), seconds(in.Value), percent(now.stale), percent(s.Goal))
}

// correction is how many times more answers were stale, as far as is sure, than was predicted.
func (t *TTLTally) correction(sure float64) float64 {
	if t.Predicted <= 0 || t.Changes < 1 {
		return 1
	}
	return min(max((t.Stale+sure*math.Sqrt(t.StaleSquares))/t.Predicted, leastTrusted), mostTrusted)
}

// evaluate is what the plan comes to by what is known now, with the knob at value.
func (s *TTLState) evaluate(classes []TTLClass, value float64) ttlPlan {
	t := ttlTables()
	p := ttlPlan{typical: value}
	var stale float64
	for i := range classes {
		c := &classes[i]
		ttl := value
		if s.At == value && len(s.Plan) > 0 {
			ttl = s.classPlan(c.ID).TTL
		}
		hits := c.Keys * c.Demand * c.Demand * ttl / (1 + c.Demand*ttl)
		p.hits += hits
		p.calls += c.Keys * c.Demand / (1 + c.Demand*ttl)
		stale += hits * c.Belief.dot(&t.stale[levelOf(ttl)])
	}
	p.stale = min(stale/max(p.hits, 1e-300)*max(s.Correction, leastTrusted), 1)
	return p
}

// scale makes all TTLs longer or shorter alike, within bounds.
func (p *ttlPlan) scale(f float64, goal ttlGoal) {
	for id, c := range p.classes {
		p.classes[id] = classPlan{TTL: min(max(c.TTL*f, goal.least), goal.longest), Window: c.Window}
	}
}

// round gives three digits.
func round(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return math.Round(v/unit) * unit
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
	d := toTime(v)
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

package tuner

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// TTLSource is what a TTL rule works with.
type TTLSource struct {
	// Evidence gathers the looks; its table takes the plan, where the cache finds it.
	Evidence *TTLEvidence
	// Value reads the knob, in seconds.
	Value func() float64
	// Window is how long past its TTL a copy may be used while it is renewed, at most; nil: not at all.
	Window func() time.Duration
	// Heuristic: without a plan the TTL follows a rule of its own, so there is no need to begin short.
	Heuristic bool
	// Chosen: an operator set the TTL, so it is kept until the looks speak against it, and there is no short
	// beginning.
	Chosen bool
}

// TTLRule is [TTL] as a controller of a route's knob.
func TTLRule(o TTLSource) Slow {
	evidence, value, window := o.Evidence, o.Value, o.Window
	if window == nil {
		window = func() time.Duration { return 0 }
	}
	r := Rule[TTLSeen, TTLState]{
		Measure: func(_, to time.Time) (TTLSeen, int) {
			// What is known of a key stays true when the knob moves, so the window does not count. There
			// are always enough samples to look at: the rule itself says when they are too few to act.
			return evidence.Seen(to, value()), 1
		},
		MinSamples: 1,
		Signals:    TTLSeen.signals,
		Decide: func(in In[TTLSeen], s TTLState) (Proposal, TTLState) {
			return decideTTL(in, s, window())
		},
		Judge: judgeTTL,
		Model: func(value float64, s TTLState) any { return s.model(value) },
		Fade: func(s TTLState, trust float64) TTLState {
			evidence.Resume(s.Seen.Prior, trust*float64(s.Seen.Keys)/4)
			return TTLState{Begun: true}
		},
		LongestEvaluation: longestTTLTrial,
	}
	return &ttlSlow{slowRule: &slowRule[TTLSeen, TTLState]{Rule: r, state: TTLState{Begun: o.Heuristic || o.Chosen}}, evidence: evidence}
}

// ttlSlow publishes what is kept.
type ttlSlow struct {
	*slowRule[TTLSeen, TTLState]
	evidence *TTLEvidence
}

func (r *ttlSlow) keep(state any, applied bool) {
	r.slowRule.keep(state, applied)
	if applied {
		r.evidence.follow(&r.state)
		r.evidence.table.publish(&r.state)
	}
}

func (s TTLSeen) signals() map[string]float64 {
	rate, low, high := s.Recent.rate(1.96)
	stale, _, _ := s.Recent.share(0)
	return map[string]float64{
		"looks": s.Recent.Looks, "changed": s.Recent.Changes, "keys": float64(s.Keys),
		"changes_per_second": rate, "changes_per_second_low": low, "changes_per_second_high": high, "stale_ratio": stale,
	}
}

const (
	// longestTTLTrial is how long a longer TTL is watched at most before the next step.
	longestTTLTrial = 2 * time.Minute
	// alarmStale times the target, surely exceeded, ends a trial at once.
	alarmStale = 2
)

// judgeTTL compares the share of stale answers among copies made after a change with the one before it
// and with the target. A longer TTL that brought too many stale answers is worse; one that did not is
// better, as it saves calls. A shorter TTL is better if it brought the share down.
func judgeTTL(t Trial, before, after TTLSeen) Effect {
	target := t.Appetite.StaleRatio
	was, wasLow, wasHigh := before.Recent.share(1)
	is, low, high := after.Epoch.share(1.645)
	e := Effect{Verdict: VerdictNeutral, Confidence: 0.5}
	few := after.Epoch.Looks < ttlMinLooks
	e.More = few && t.For < toTime(2*t.To)
	e.Measured = fmt.Sprintf("%s of the answers from copies made since were stale (90 %%: %s to %s, by %.0f looks), %s before; the target is %s",
		percent(is), percent(low), percent(high), after.Epoch.Looks, percent(was), percent(target))
	switch {
	case after.Epoch.Looks < 1:
		e.Measured = fmt.Sprintf("no copy made since was looked at again yet; before, %s of the answers from the cache were stale", percent(was))
	case t.To > t.From && low > target && (is > wasHigh || is > alarmStale*target):
		e.Verdict, e.Confidence, e.Alarm, e.More = VerdictWorse, 0.95, low > alarmStale*target, false
	case few:
	case t.To > t.From && is <= target*1.1:
		e.Verdict, e.Confidence = VerdictBetter, 0.9
	case t.To < t.From && is < wasLow:
		e.Verdict, e.Confidence = VerdictBetter, 0.9
	}
	return e
}

// ttlModel is what the page shows.
type ttlModel struct {
	Kind    string  `json:"kind"`
	Rate    float64 `json:"changes_per_second"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Looks   uint64  `json:"looks"`
	Changed uint64  `json:"changed"`
	Early   uint64  `json:"early"`
	Keys    int     `json:"keys"`
	TTL     float64 `json:"ttl_seconds"`
	// ExpectedStale is what the TTLs in force should come to, MeasuredStale what the looks found.
	ExpectedStale float64         `json:"expected_stale_ratio"`
	MeasuredStale float64         `json:"measured_stale_ratio"`
	TargetStale   float64         `json:"target_stale_ratio"`
	Classes       []ttlClassModel `json:"classes"`
}

// ttlClassModel is one class of keys on the page: those with about one rate of change.
type ttlClassModel struct {
	Rate   float64 `json:"changes_per_second"`
	Keys   float64 `json:"keys"`
	Demand float64 `json:"requests_per_second"`
	// TTL is the shortest and the longest of the class, in seconds: what is asked for more often gets less.
	TTLLeast float64 `json:"ttl_least_seconds"`
	TTLMost  float64 `json:"ttl_most_seconds"`
}

func (s TTLState) model(value float64) any {
	rate, low, high := s.Seen.Recent.rate(1.96)
	stale, _, _ := s.Seen.Recent.share(0)
	return ttlModel{
		Kind: "ttl", Rate: rate, Low: low, High: high, Looks: s.Seen.Looks, Changed: s.Seen.Changed, Early: s.Seen.Early,
		Keys: s.Seen.Keys, TTL: value, ExpectedStale: s.Stale, MeasuredStale: stale, TargetStale: s.Goal,
		Classes: append([]ttlClassModel{}, s.Classes...),
	}
}

// classModels merges the classes of one rate.
func classModels(classes []TTLClass, s *TTLState) []ttlClassModel {
	byRate := make(map[int]*ttlClassModel)
	for i := range classes {
		c := &classes[i]
		if c.ID == newcomer {
			continue
		}
		g, ttl := int(c.ID/demandCount), s.classPlan(c.ID).TTL
		m := byRate[g]
		if m == nil {
			m = &ttlClassModel{Rate: ladder[g], TTLLeast: ttl, TTLMost: ttl}
			byRate[g] = m
		}
		m.Keys += c.Keys
		m.Demand += c.Keys * c.Demand
		m.TTLLeast, m.TTLMost = min(m.TTLLeast, ttl), max(m.TTLMost, ttl)
	}
	out := make([]ttlClassModel, 0, len(byRate))
	for _, m := range byRate {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b ttlClassModel) int { return cmp.Compare(a.Rate, b.Rate) })
	return out
}

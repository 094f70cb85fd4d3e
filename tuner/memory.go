package tuner

import (
	"fmt"
	"math"
	"time"
)

// What Memory goes by. Ratios are 0..1.
const (
	// memoryStep is one step's share of the cache, for an appetite's step of a half; more and less with it.
	memoryStep                    = 0.05
	memoryStepLeast, memoryBolder = 0.01, 0.1
	// memoryLeast is the share of the cache that no route is taken under.
	memoryLeast = 0.02
	// memoryFull of the bytes in use: the cache is full. Under memoryIdle no ceiling is needed.
	memoryFull, memoryIdle = 0.95, 0.9
	// memoryAhead is by what share the winner's hits must exceed the loser's, memoryWorth the share of all
	// requests that they must, memorySure by how many deviations.
	memoryAhead = 0.25
	memoryWorth = 0.001
	memorySure  = 2
	// memoryChange is the change of the hit ratio that counts.
	memoryChange = 0.002
	// memorySamples are the requests that a look rests on.
	memorySamples = 1000
	// A step is measured for so long, and at most: what was moved must fill first.
	memoryEvaluation = 2 * time.Minute
	memoryLongest    = 10 * time.Minute
)

// MemoryState is what [Memory] remembers. Its zero value is a fresh start.
type MemoryState struct {
	// Until: after a step that brought nothing none is tried before this moment.
	Until time.Time     `json:"until,omitzero"`
	Pause time.Duration `json:"pause"`
	// Seen is the last look, for the page.
	Seen MemorySeen `json:"seen"`
}

// Memory decides how much of the cache one route may fill, from what one band of memory is worth to each route:
// Gained, the hits that a band more would bring, and Lost, the hits that a band less would cost. Memory that a
// ceiling takes from a route goes to all others as they need it. In this order:
//
//   - the cache is not full: a ceiling that binds is raised, else hold.
//   - this route has the least to lose of all, and another would gain more: it gives one step.
//   - this route has a ceiling that binds, and would gain more than another has to lose: it takes one step back.
//
// More means: by a quarter, by a thousandth of all requests, and by two deviations of both estimates.
func Memory(in In[MemorySeen], s MemoryState) (Proposal, MemoryState) {
	m := &in.Seen
	s.Seen = *m
	if in.Last != nil {
		s.Pause, s.Until = pauseAfter(in.Last, s.Pause, in.Now)
	}
	hold := func(rule, format string, args ...any) (Proposal, MemoryState) {
		return Proposal{To: in.Value, Rule: rule, Reason: fmt.Sprintf(format, args...)}, s
	}
	if len(m.Routes) < 2 || m.Self < 0 || m.Self >= len(m.Routes) || m.MaxBytes <= 0 {
		return hold("alone", "memory is moved between routes, and fewer than two are in use")
	}
	self := &m.Routes[m.Self]
	step := in.memoryStep()
	used, all := self.Bytes/m.MaxBytes, m.Bytes/m.MaxBytes
	binds := in.Value < 1 && used > in.Value-step/2
	up := min(in.Value+step, in.Spec.Max)
	switch {
	case all < memoryIdle && binds && up > in.Value:
		return Proposal{
			To: up, Rule: "idle", Reason: fmt.Sprintf("%.0f %% of the cache is in use, and the route fills its ceiling of %.0f %%", 100*all, 100*in.Value),
			Expected: "no fewer hits, as nobody else uses that memory",
		}, s
	case all < memoryFull:
		return hold("room", "%.0f %% of the cache is in use: there is nothing to be shared out", 100*all)
	case in.Now.Before(s.Until):
		return hold("paused", "the last step brought nothing; the next try is in %s", s.Until.Sub(in.Now).Round(time.Second))
	}
	loser, winner := m.cheapest(in.Spec.Min), m.dearest(step)
	if loser == m.Self && winner >= 0 && winner != m.Self {
		if w := &m.Routes[winner]; m.pays(w, self) {
			to := math.Max(min(in.Value, used)-min(step, used/2), max(in.Spec.Min, memoryLeast))
			if to < in.Value {
				return Proposal{
					To: to, Rule: "gives", Expected: m.expected(w, self),
					Reason: fmt.Sprintf("%.1f MiB less would cost this route %.2f hits a second, and would bring %s %.2f; it has %.0f %% of the cache",
						m.Band/(1<<20), self.Lost/m.Seconds, w.name(), w.Gained/m.Seconds, 100*used),
				}, s
			}
		}
	}
	if binds && loser >= 0 && loser != m.Self && up > in.Value {
		if l := &m.Routes[loser]; m.pays(self, l) {
			return Proposal{
				To: up, Rule: "takes", Expected: m.expected(self, l),
				Reason: fmt.Sprintf("%.1f MiB more would bring this route %.2f hits a second, and would cost %s %.2f; its ceiling of %.0f %% is used up",
					m.Band/(1<<20), self.Gained/m.Seconds, l.name(), l.Lost/m.Seconds, 100*in.Value),
			}, s
		}
	}
	return hold("settled", "%.1f MiB more would bring this route %.2f hits a second, as much less would cost %.2f: no step is known to pay",
		m.Band/(1<<20), self.Gained/m.Seconds, self.Lost/m.Seconds)
}

// memoryStep is how much of the cache one step moves.
func (in *In[M]) memoryStep() float64 {
	return min(max(memoryStep*in.Appetite.StepRatio/0.5, memoryStepLeast), memoryBolder)
}

// cheapest is the route that has the least to lose of those that have something to give; -1: none.
func (m *MemorySeen) cheapest(least float64) int {
	best := -1
	for i := range m.Routes {
		r := &m.Routes[i]
		if r.Bytes/m.MaxBytes >= 2*max(memoryLeast, least) && (best < 0 || r.Lost < m.Routes[best].Lost) {
			best = i
		}
	}
	return best
}

// dearest is the route that would gain most of those that can grow by a step; -1: none.
func (m *MemorySeen) dearest(step float64) int {
	best := -1
	for i := range m.Routes {
		r := &m.Routes[i]
		if (r.Share >= 1 || r.Bytes/m.MaxBytes < r.Share-step/2) && (best < 0 || r.Gained > m.Routes[best].Gained) {
			best = i
		}
	}
	return best
}

// pays reports whether a band is surely worth more to winner than to loser.
func (m *MemorySeen) pays(winner, loser *MemoryRoute) bool {
	more := winner.Gained - loser.Lost
	return more > memoryAhead*loser.Lost && more > memoryWorth*m.requests() &&
		more > memorySure*math.Sqrt(winner.GainedVariance+loser.LostVariance)
}

func (m *MemorySeen) expected(winner, loser *MemoryRoute) string {
	return fmt.Sprintf("up to %.1f %% of all requests more from the cache", 100*(winner.Gained-loser.Lost)/max(m.requests(), 1))
}

func (r *MemoryRoute) name() string { return r.Upstream + "/" + r.Route }

// judgeMemory compares the hit ratio over all routes, at the same mix of routes. A step that brings nothing is
// taken back at the end, so that small losses do not add up; but not one of idle memory.
func judgeMemory(t Trial, before, after MemorySeen) Effect {
	b, a, deviation := hitRatios(&before, &after)
	gain, unsure := a-b, memorySure*deviation
	e := Effect{
		Verdict: VerdictNeutral, Confidence: confidence(gain, deviation), Alarm: gain < -max(0.05, unsure),
		Measured: fmt.Sprintf("hit ratio over all routes %.2f %% to %.2f %% at the same mix of routes, give or take %.2f %%", 100*b, 100*a, 100*unsure),
	}
	bound := max(memoryChange, unsure)
	switch {
	case gain > bound:
		e.Verdict = VerdictBetter
	case gain < -bound:
		e.Verdict = VerdictWorse
	case t.For < memoryLongest:
		e.More = true // what was moved fills slowly
	case t.Rule != "idle" && gain <= 0:
		e.Verdict = VerdictWorse
	}
	return e
}

// MemoryRule is [Memory] over what measure tells of the cache.
func MemoryRule(measure func(from, to time.Time) MemorySeen) Rule[MemorySeen, MemoryState] {
	return Rule[MemorySeen, MemoryState]{
		Measure: func(from, to time.Time) (MemorySeen, int) {
			m := measure(from, to)
			return m, int(m.requests())
		},
		Signals: func(m MemorySeen) map[string]float64 {
			s := map[string]float64{"requests": m.requests(), "used_ratio": m.Bytes / max(m.MaxBytes, 1)}
			hits := 0.0
			for i := range m.Routes {
				hits += m.Routes[i].Hits
			}
			s["hit_ratio"] = hits / max(m.requests(), 1)
			if m.Self >= 0 && m.Self < len(m.Routes) {
				r := &m.Routes[m.Self]
				s["bytes"], s["gained"], s["lost"] = r.Bytes, r.Gained, r.Lost
			}
			return s
		},
		Decide: Memory, Judge: judgeMemory, Model: memoryModel,
		Fade: func(s MemoryState, trust float64) MemoryState {
			return MemoryState{Pause: time.Duration(trust * float64(s.Pause))}
		},
		MinSamples: memorySamples, GoodSamples: 20 * memorySamples, Window: 30 * time.Second, Reach: flowReach,
		Evaluation: memoryEvaluation, LongestEvaluation: memoryLongest,
	}
}

// memoryModel tells for each route what it has and how many hits a minute one more MiB would bring.
func memoryModel(value float64, s MemoryState) any {
	type route struct {
		Upstream   string  `json:"upstream"`
		Route      string  `json:"route"`
		Share      float64 `json:"share"`
		Bytes      float64 `json:"bytes"`
		HitsPerMiB float64 `json:"hits_per_mib"`
		LostPerMiB float64 `json:"lost_per_mib"`
	}
	routes := []route{}
	per := 60 * (1 << 20) / max(s.Seen.Band*s.Seen.Seconds, 1)
	for i := range s.Seen.Routes {
		r := &s.Seen.Routes[i]
		routes = append(routes, route{r.Upstream, r.Route, r.Share, r.Bytes, r.Gained * per, r.Lost * per})
	}
	return map[string]any{"kind": "memory", "routes": routes, "chosen": value}
}

package tuner

import (
	"encoding/json"
	"slices"
	"time"

	"penstock/observe"
)

// Target is an upstream whose workers and rate the loop looks after.
type Target struct {
	// Upstream is whose signals count.
	Upstream string
	// Workers names the knob of its permits, an Int.
	Workers string
	// Search has Workers found by Knee from the calls given to OnCall, at their pace, in active mode.
	// Without it, and in shadow mode, the rule Workers looks at each interval.
	Search bool
	// Rate names the knob of its pace, a Float in calls per second with 0 for none; empty: its quota is
	// not learned.
	Rate string
}

// SetTargets replaces the targets. What was learned about those that stay is kept.
func (l *Loop) SetTargets(targets []Target) {
	l.mu.Lock()
	others := make([]Plug, 0, len(l.plugs))
	mine := l.targetPlugs()
	for _, p := range l.plugs {
		if !slices.ContainsFunc(mine, func(t Plug) bool { return p.same(&t) }) {
			others = append(others, p.Plug)
		}
	}
	l.targets = slices.Clone(targets)
	l.mu.Unlock()
	l.SetPlugs(others)
}

// targetPlugs are the plugs of the targets. The caller holds mu.
func (l *Loop) targetPlugs() []Plug {
	plugs := make([]Plug, 0, len(l.targets))
	for _, t := range l.targets {
		plugs = append(plugs, t.plugs(&l.o)...)
	}
	return plugs
}

func (t Target) plugs(o *Options) []Plug {
	p := Plug{
		Knob: t.Workers, Kind: "workers", Upstream: t.Upstream, Couple: t.Upstream, Safer: -1,
		Slow: WorkersRule(o.Signals, t.Upstream).Slow(),
	}
	if t.Search {
		p.Kind = "search " + t.Rate
		p.Fast = &searcher{search{o: o, target: t}}
		return []Plug{p}
	}
	if t.Rate == "" {
		return []Plug{p}
	}
	rate := Plug{
		Knob: t.Rate, Kind: "rate", Upstream: t.Upstream, Couple: t.Upstream, Safer: -1,
		Fast: &searcher{search{o: o, target: Target{Upstream: t.Upstream, Rate: t.Rate}}},
	}
	return []Plug{p, rate}
}

// WorkersRule is the rule [Workers] over the calls of an upstream.
func WorkersRule(signals Signals, upstream string) Rule[observe.CallSignals, WorkersState] {
	return Rule[observe.CallSignals, WorkersState]{
		Measure: func(from, to time.Time) (observe.CallSignals, int) {
			c := signals.Between(upstream, "", from, to).Calls
			return c, int(c.Count)
		},
		Signals: func(c observe.CallSignals) map[string]float64 { return signalMap(&c) },
		Decide:  Workers, Judge: judgeWorkers,
		Lag: func(now time.Time) time.Duration {
			return signals.Between(upstream, "", now.Add(-defaultReach), now).Calls.P95
		},
		GoodSamples: goodSamples,
	}
}

// goodSamples make the noise small against a step of a tenth.
const goodSamples = 400

// searcher is a search as a Fast controller.
type searcher struct{ search }

func (s *searcher) OnCall(c observe.Call, now time.Time, h Hand) {
	if h.Mode == ModeActive {
		s.onCall(c, now)
	}
}

func (s *searcher) Tick(now time.Time, h Hand) []Decision {
	if h.Mode != ModeActive {
		return nil
	}
	decisions := s.flush(now)
	if d, ok := s.flushRate(now); ok {
		decisions = append(decisions, d)
	}
	return decisions
}

func (s *searcher) Status() (rule, reason string)       { return s.status() }
func (s *searcher) Model() any                          { return nil }
func (s *searcher) Save() any                           { return nil }
func (s *searcher) Load(json.RawMessage, float64) error { return nil }

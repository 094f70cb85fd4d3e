package tuner

import (
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
	// Search has Workers found by Knee from the calls given to OnCall, at their pace. Without it the rule
	// Workers looks at each interval.
	Search bool
	// Rate names the knob of its pace, a Float in calls per second with 0 for none; empty: its quota is
	// not learned.
	Rate string
	// Allow takes what its quotas allow beside the rate; nil: nobody does. A pointer, so that targets can
	// be compared.
	Allow *func(Allowance)
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
	p := Plug{Knob: t.Workers, Kind: "workers", Upstream: t.Upstream, Couple: t.Upstream, Safer: -1}
	if t.Search {
		p.Kind, p.Fast = "search", NewSearch()
	} else {
		p.Slow = WorkersRule(o.Signals, t.Upstream).Slow()
	}
	if t.Rate == "" {
		return []Plug{p}
	}
	rate := QuotaOptions{}
	if allow := t.Allow; allow != nil {
		rate.Publish = *allow
	}
	return []Plug{p, QuotaPlug(t.Rate, t.Upstream, rate)}
}

// QuotaPlug has a rate's knob looked after by a [QuotaController].
func QuotaPlug(knob, upstream string, o QuotaOptions) Plug {
	return Plug{Knob: knob, Kind: "rate", Upstream: upstream, Couple: upstream, Safer: -1, Fast: NewQuotaController(o)}
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

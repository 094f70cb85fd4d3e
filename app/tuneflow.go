package app

import (
	"time"

	"penstock/configs"
	"penstock/request"
	"penstock/scheduler"
	"penstock/tuner"
)

// flow is the meter of an upstream's queue and calls.
func (a *App) flow(upstream string) *tuner.FlowMeter {
	if m, ok := a.flows.Load(upstream); ok {
		return m.(*tuner.FlowMeter)
	}
	m, _ := a.flows.LoadOrStore(upstream, tuner.NewFlowMeter())
	return m.(*tuner.FlowMeter)
}

func (a *App) onWait(upstream string) func(request.Urgency, time.Duration) {
	m := a.flow(upstream)
	return func(_ request.Urgency, wait time.Duration) { m.OnWait(wait, time.Now()) }
}

// flowPlugs are the knobs of an upstream that are judged by its queue and calls. Only those that can have
// an effect under the configuration are looked after.
func (a *App) flowPlugs(c *configs.Config, name string) []tuner.Plug {
	u, _ := c.ResolvedUpstream(name)
	measure := a.measureFlow(name)
	plug := func(knob, kind string, safer int, slow tuner.Slow) tuner.Plug {
		return tuner.Plug{Knob: knob + "." + name, Kind: kind, Upstream: name, Couple: name, Safer: safer, Slow: slow}
	}
	var plugs []tuner.Plug
	if c.Batching.Enabled && len(batchRules(c, name)) > 0 {
		plugs = append(plugs,
			plug("batch.target", "batch", 1, tuner.BatchRule(measure).Slow()),
			plug("batch.linger", "linger", 1, tuner.LingerRule(measure).Slow()))
	}
	if u.Retry.MaxAttempts > 1 {
		plugs = append(plugs, plug("retry.budget", "retry", -1, tuner.RetryRule(measure).Slow()))
	}
	if u.Workers.QueueLength > 0 {
		plugs = append(plugs, plug("codel.target", "codel", 0, tuner.CoDelRule(measure).Slow()))
	}
	return plugs
}

// measureFlow reads an upstream's meter, and shows it the counters of the stages.
func (a *App) measureFlow(name string) func(from, to time.Time) tuner.Flow {
	return func(from, to time.Time) tuner.Flow {
		n := a.table.Load().nodes[name]
		if n == nil {
			return tuner.Flow{}
		}
		st := n.scheduler.Stats()
		refused := func(reasons ...string) (sum float64) {
			for _, r := range reasons {
				sum += float64(st.Refused[r])
			}
			return sum
		}
		m := a.flow(name)
		m.Note(tuner.Totals{
			Standing: refused("codel"), Late: refused("late", "hopeless") + float64(st.Expired), Full: refused("full", "displaced"),
			Denied: float64(n.client.State().RetriesDenied),
		}, time.Now())
		return m.Between(from, to, float64(st.Permits), leastRate(&st))
	}
}

// leastRate is the most calls per second that all rates admit; 0: no bound.
func leastRate(st *scheduler.Stats) float64 {
	least := st.Pace
	for _, r := range st.Rates {
		if perSecond := r.Limit / r.Per; least == 0 || perSecond < least {
			least = perSecond
		}
	}
	return least
}

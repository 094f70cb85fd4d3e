package jobs

import (
	"github.com/VictoriaMetrics/metrics"

	"penstock/observe"
)

// counters count what happens on this node.
type counters struct {
	submitted, replayed, adopted *metrics.Counter
	hooksSent, hooksFailed       *metrics.Counter
	ended                        map[State]*metrics.Counter
}

func (s *Service) register(scope *observe.Scope) {
	c := &s.counters
	scope.Help("penstock_jobs_submitted_total", "Jobs that were accepted, by whether they were new.")
	c.submitted = scope.With("result", "new").Counter("penstock_jobs_submitted_total")
	c.replayed = scope.With("result", "replayed").Counter("penstock_jobs_submitted_total")
	scope.Help("penstock_jobs_adopted_total", "Jobs taken over from a node that is no more.")
	c.adopted = scope.Counter("penstock_jobs_adopted_total")
	scope.Help("penstock_jobs_webhooks_total", "Tries to deliver a webhook, by result.")
	c.hooksSent = scope.With("result", "ok").Counter("penstock_jobs_webhooks_total")
	c.hooksFailed = scope.With("result", "failed").Counter("penstock_jobs_webhooks_total")
	scope.Help("penstock_jobs_ended_total", "Jobs that ended, by state.")
	c.ended = make(map[State]*metrics.Counter)
	scope.Help("penstock_jobs", "Jobs that are kept, by state.")
	for _, state := range States() {
		in := scope.With("state", string(state))
		if state.Ended() {
			c.ended[state] = in.Counter("penstock_jobs_ended_total")
		}
		in.Gauge("penstock_jobs", func() float64 { return float64(s.Counts()[state]) })
	}
}

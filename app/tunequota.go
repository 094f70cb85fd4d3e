package app

import (
	"time"

	"penstock/knob"
	"penstock/request"
	"penstock/scheduler"
	"penstock/tuner"
)

// fastestRate is the upper bound of a rate's knob, calls per second.
const fastestRate = 1e6

// rateSpec describes the knob of an upstream's pace.
func rateSpec(upstream string) knob.Spec {
	return knob.Spec{
		Name: "rate." + upstream, Kind: knob.KindFloat, Unit: "calls/s", Max: fastestRate,
		Doc: "The most calls a second that start, beside the configured rates; 0 is no limit. More uses up a quota sooner and risks refusals, less spares it.",
	}
}

// quotaPlug has the pace of an upstream found by the quotas that it tells of or is seen to have.
func (a *App) quotaPlug(upstream string) tuner.Plug {
	return tuner.QuotaPlug("rate."+upstream, upstream, tuner.QuotaOptions{
		Publish: func(q tuner.Allowance) {
			if n, ok := a.table.Load().nodes[upstream]; ok {
				n.scheduler.SetAllowance(allowance(q))
			}
		},
	})
}

// allowance is what the tuner allows as the scheduler obeys it.
func allowance(q tuner.Allowance) scheduler.Allowance {
	out := scheduler.Allowance{Hold: q.Hold, Confirm: q.Confirm, Ahead: q.Ahead, Shared: q.Shared, Probing: q.Probing}
	for _, b := range q.Budgets {
		out.Budgets = append(out.Budgets, scheduler.Budget(b))
	}
	return out
}

// room says how long a retry has to wait for the upstream's rates and quotas.
func (n *node) room(r *request.Request, most time.Duration) (time.Duration, bool) {
	return n.scheduler.Reserve(r.Urgency(), most)
}

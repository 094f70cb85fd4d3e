package app

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock/configs"
	"penstock/lease"
	"penstock/scheduler"
)

// leaseClose bounds giving this node's parts of the quotas back.
const leaseClose = 2 * time.Second

// newLeases has the nodes of a cluster share the upstreams' quotas.
func (a *App) newLeases(c *configs.Config) (err error) {
	if !a.shared() || a.keeper == nil {
		return nil
	}
	q := c.Cluster.Quota
	ratio := q.CutOffRatio
	if ratio == 0 {
		ratio = -1 // none; the package's own zero is its default
	}
	a.leases, err = lease.New(lease.Options{
		// A process that begins anew must not be taken for the one that ended.
		Engine: a.keeper.o.engine, Node: a.nodeName + "." + strings.ToLower(rand.Text()[:8]),
		Lease: q.Lease, Forget: q.Forget, CutOffRatio: ratio, Hold: q.Hold, Log: a.log,
	})
	return err
}

// applyLeases has the quotas of the upstreams of a configuration shared.
func (a *App) applyLeases(c *configs.Config) {
	if a.leases == nil {
		return
	}
	var quotas []lease.Quota
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		quotas = append(quotas, a.leasedQuota(name))
	}
	a.leases.Set(quotas)
	for name := range c.Upstreams {
		a.exposeLease(name)
	}
}

// leasedQuota is the quota of an upstream as it is shared. The upstream may be gone by the time of a call.
func (a *App) leasedQuota(upstream string) lease.Quota {
	return lease.Quota{
		Name: upstream,
		Demand: func() lease.Demand {
			if n := a.table.Load().nodes[upstream]; n != nil {
				return lease.Demand(n.scheduler.Demand())
			}
			return lease.Demand{}
		},
		Bursts: func() map[time.Duration]float64 {
			if n := a.table.Load().nodes[upstream]; n != nil {
				return n.scheduler.Bursts()
			}
			return nil
		},
		Apply: func(parts []lease.Part, add map[time.Duration]float64) map[time.Duration]float64 {
			n := a.table.Load().nodes[upstream]
			if n == nil {
				return nil
			}
			sh := scheduler.Share{Add: add}
			for _, p := range parts {
				sh.Steps = append(sh.Steps, scheduler.ShareStep(p))
			}
			return n.scheduler.SetShare(sh)
		},
	}
}

// exposeLease shows how it stands with an upstream's quota.
func (a *App) exposeLease(upstream string) {
	s := a.metrics.Upstream(upstream)
	status := func(f func(lease.Status) float64) func() float64 {
		return func() float64 { return f(a.leases.Status(upstream)) }
	}
	s.Help("penstock_quota_part_ratio", "This node's part of the upstream's quota that the nodes of the cluster share.")
	s.Gauge("penstock_quota_part_ratio", status(func(st lease.Status) float64 { return st.Ratio }))
	s.Help("penstock_quota_wanted_ratio", "The part of the upstream's quota that this node's calls need.")
	s.Gauge("penstock_quota_wanted_ratio", status(func(st lease.Status) float64 { return st.Wanted }))
	s.Help("penstock_quota_lease_valid", "1 while this node's part of the quota is on lease; 0: it is cut off, or there is no quota.")
	s.Gauge("penstock_quota_lease_valid", status(func(st lease.Status) float64 { return truth(st.OK) }))
	s.Help("penstock_quota_writes_total", "Changes of the record of who has which part of the quota, by result.")
	for result, count := range map[string]func(lease.Status) float64{
		"ok":        func(st lease.Status) float64 { return float64(st.Writes) },
		"overtaken": func(st lease.Status) float64 { return float64(st.Overtaken) },
		"failed":    func(st lease.Status) float64 { return float64(st.Failed) },
	} {
		s.With("result", result).CounterFunc("penstock_quota_writes_total", status(count))
	}
}

// closeLeases gives this node's parts back. Nothing is sent any more.
func (a *App) closeLeases(ctx context.Context) {
	if a.leases == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseClose)
	defer cancel()
	a.leases.Close(ctx)
}

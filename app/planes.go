package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/api"
	"penstock/configs"
	"penstock/request"
	"penstock/tuner"
	"penstock/web"
)

func (a *App) dataOptions(path request.Doer) api.DataOptions {
	config := func() *configs.Config { return a.current.Load().Config }
	return api.DataOptions{
		Doer: path, Routes: a, Logger: a.log, Version: a.o.Version, Ready: a.Ready, Degraded: a.degraded,
		Limits: func() api.Limits {
			c := config()
			return api.Limits{
				MaxBodyBytes: int64(c.Server.MaxBodyBytes), Buffer: c.Streaming.Buffer,
				InFlight: c.Streaming.ChunkSize * c.Streaming.ParallelStages,
			}
		},
		Tenants: tenants{a.tenants}, Jobs: a.apiJobs(), WebhookAllowed: a.webhookAllowed,
		Bulk: appBulk{config: config, path: path}, Streams: &a.streams,
		DefaultDeadline: func() time.Duration { return config().Server.DefaultDeadline },
		ServerTiming:    func() bool { return config().Server.ServerTiming },
		Stats:           func() any { return a.Stats() },
	}
}

func (a *App) adminOptions(pages *web.Handler) api.AdminOptions {
	config := func() *configs.Config { return a.current.Load().Config }
	return api.AdminOptions{
		Config: adminConfig{a}, Knobs: a.knobs, Cache: newAdminCache(a), Decisions: adminDecisions{a.ledger},
		Tuning: &adminTuning{a: a}, PinsChanged: a.keeper.keep, Jobs: a.apiJobs(), Streams: &a.streams,
		Live: a.live, History: adminHistory{a, pages},
		Limits:  func() any { return a.limits() },
		Cluster: func() any { return a.viewCluster() },
		Preload: func() any { return a.preload.View() },
		Alerts:  func() any { return a.viewAlerts() },
		Metrics: a.metrics.WritePrometheus, Page: pages,
		Profiling: func() bool { return config().Profiling.Enabled },
		Token:     func() string { return a.secrets.Load().adminToken },
		Tokens:    func() []api.AdminToken { return a.secrets.Load().tokens },
		Session:   func() time.Duration { return config().Admin.Session },
		ReadOnly:  func() bool { return config().Admin.ReadOnly },
		Ready:     a.Ready, Logger: a.log, Version: a.o.Version,
	}
}

// Ready reports whether new requests are welcome, and if not, why.
func (a *App) Ready() (ok bool, why string) {
	if a.draining.Load() {
		return false, "the process is draining before it stops; send new requests to another instance"
	}
	return true, ""
}

// adminConfig is the configuration as the admin plane sees it.
type adminConfig struct{ a *App }

func (c adminConfig) Effective() api.ConfigView {
	var v api.ConfigView
	for _, e := range configs.Effective(c.a.current.Load()) {
		v.Entries = append(v.Entries, api.ConfigEntry{
			Key: e.Key, Value: e.Value, Source: string(e.Source), File: e.File, Line: e.Line,
		})
	}
	if last := c.a.LastReload(); last != nil {
		v.LastReload = &api.ReloadStatus{At: last.At, OK: last.Err == nil}
		if last.Err != nil {
			v.LastReload.Error, v.LastReload.Errors = last.Err.Error(), faultsOf(last.Err)
		}
	}
	return v
}

func (c adminConfig) Diff(context.Context) ([]api.ConfigChange, error) {
	return changesOf(c.a.Diff())
}

func (c adminConfig) Reload(ctx context.Context) ([]api.ConfigChange, error) {
	return changesOf(c.a.reloadBy(api.AuthorOf(ctx), "api"))
}

func changesOf(changes []configs.Change, err error) ([]api.ConfigChange, error) {
	if _, ok := errors.AsType[*request.Error](err); ok {
		return nil, err
	}
	if err != nil {
		return nil, &api.RejectedError{Detail: "the configuration is faulty; nothing was changed", Faults: faultsOf(err)}
	}
	out := make([]api.ConfigChange, 0, len(changes))
	for _, c := range changes {
		out = append(out, api.ConfigChange{Key: c.Key, From: c.From, To: c.To, RestartNeeded: c.RestartNeeded})
	}
	return out, nil
}

// faultsOf lists the faults of a configuration error one by one.
func faultsOf(err error) []api.Fault {
	if faults, ok := errors.AsType[*configs.Faults](err); ok {
		out := make([]api.Fault, 0, len(faults.List))
		for _, f := range faults.List {
			detail := f.Problem
			if f.Suggestion != "" {
				detail += fmt.Sprintf(" (did you mean %q?)", f.Suggestion)
			}
			out = append(out, api.Fault{File: f.File, Line: f.Line, Key: f.Key, Detail: detail})
		}
		return out
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []api.Fault
		for _, e := range joined.Unwrap() {
			out = append(out, faultsOf(e)...)
		}
		return out
	}
	return []api.Fault{{Detail: err.Error()}}
}

// adminDecisions is the ledger as the admin plane sees it.
type adminDecisions struct{ *tuner.Ledger }

func filterOf(q api.DecisionQuery) tuner.Filter {
	return tuner.Filter{Knob: q.Knob, Verdict: tuner.Verdict(q.Verdict), Since: q.Since, Limit: q.Limit}
}

func (d adminDecisions) List(q api.DecisionQuery) any { return d.Decisions(filterOf(q)) }

func (d adminDecisions) Get(id string) (any, bool) { return d.Decision(id) }

func (d adminDecisions) Changes(rev uint64, q api.DecisionQuery) []api.DecisionEvent {
	changes := d.Ledger.Changes(rev, filterOf(q))
	out := make([]api.DecisionEvent, len(changes))
	for i, c := range changes {
		out[i] = api.DecisionEvent{Rev: c.Rev, Decision: c}
	}
	return out
}

package app

import (
	"context"
	"encoding/json"
	"time"

	"penstock/api"
	"penstock/jobs"
	"penstock/web"
)

const (
	// shownJobs is how many jobs the page lists at once, shownDead how many dead letters it tells all of.
	shownJobs, shownDead = 50, 10
	// jobPageTimeout bounds what the engine may take of a page.
	jobPageTimeout = time.Second
)

// Jobs implements web.Source.
func (p pages) Jobs(q web.JobQuery) web.Jobs {
	s := p.a.jobs
	if s == nil {
		if !p.a.current.Load().Config.Jobs.Enabled {
			return web.Jobs{Off: "jobs.enabled is false: no request is accepted to be answered later."}
		}
		return web.Jobs{Off: "What is accepted must be on disk: set data_dir, or run with --ephemeral to keep jobs in memory only."}
	}
	ctx, cancel := context.WithTimeout(context.Background(), jobPageTimeout)
	defer cancel()
	out := web.Jobs{Counts: make(map[string]int)}
	for state, n := range s.Counts() {
		out.Counts[string(state)] = n
	}
	for _, t := range s.Tenants(shownTenants) {
		w := web.JobTenant{Tenant: t.Tenant, Counts: make(map[string]int)}
		for state, n := range t.Counts {
			w.Counts[string(state)] = n
		}
		out.Tenants = append(out.Tenants, w)
	}
	f := jobs.Filter{Tenant: q.Tenant, Before: q.Before, Limit: shownJobs}
	if q.State != "" {
		f.States = []jobs.State{jobs.State(q.State)}
	}
	list, err := s.List(ctx, f)
	if err != nil {
		return web.Jobs{Off: "The store of jobs does not answer: " + err.Error()}
	}
	for _, b := range list {
		out.List = append(out.List, briefOf(b))
	}
	if n := len(out.List); n == shownJobs {
		out.Next = out.List[n-1].ID
	}
	if q.Before == "" && q.State == "" || q.State == string(jobs.Dead) {
		f.States, f.Limit = []jobs.State{jobs.Dead}, shownDead
		dead, _ := s.List(ctx, f)
		for _, b := range dead {
			if j := p.job(ctx, b.ID); j != nil {
				out.Dead = append(out.Dead, *j)
			}
		}
	}
	if q.ID != "" {
		out.One = p.job(ctx, q.ID)
	}
	return out
}

func briefOf(b jobs.Brief) web.Job {
	return web.Job{ID: b.ID, State: string(b.State), Tenant: b.Tenant, Route: b.Route, Urgency: int(b.Urgency), Attempts: b.Attempts,
		Created: b.Created, RunAt: b.RunAt, Ended: b.Ended}
}

// maxShownParams bounds how much of a job's params the page shows.
const maxShownParams = 400

// job is a job with everything; nil: it is not there, or the engine does not tell in time.
func (p pages) job(ctx context.Context, id string) *web.Job {
	found, err := p.a.jobs.Job(ctx, id)
	if err != nil {
		return nil
	}
	j := shown(found)
	w := &web.Job{ID: j.ID, State: j.State, Tenant: j.Tenant, Route: j.Route, Urgency: int(j.Urgency), Attempts: j.Attempts, MaxAttempts: j.MaxAttempts,
		Created: j.Created, RunAt: j.RunAt, Started: j.Started, Ended: j.Ended, Until: j.Deadline}
	if raw, err := json.Marshal(maskParams(j.Params)); err == nil && len(j.Params) > 0 {
		w.Params, _ = web.Mask(string(raw))
		if r := []rune(w.Params); len(r) > maxShownParams {
			w.Params = string(r[:maxShownParams]) + " …"
		}
	}
	if j.Error != nil {
		w.Error = j.Error.Detail
	}
	if j.Result != nil {
		w.Status, w.Bytes = j.Result.Status, j.Result.Bytes
	}
	if j.Webhook != nil {
		w.Webhook, w.WebhookState = j.Webhook.URL, j.Webhook.State
	}
	return w
}

// maskParams hides the values whose names say that they are nobody else's business.
func maskParams(params map[string]any) map[string]any {
	out := make(map[string]any, len(params))
	for name, v := range params {
		inner, nested := v.(map[string]any)
		switch {
		case web.SecretName(name):
			out[name] = "***"
		case nested:
			out[name] = maskParams(inner)
		default:
			out[name] = v
		}
	}
	return out
}

// Streams implements web.Source.
func (p pages) Streams() []web.Stream {
	var list []web.Stream
	for _, s := range p.a.streams.List(nil) {
		list = append(list, streamOf(s))
	}
	return list
}

func streamOf(s api.StreamProgress) web.Stream {
	return web.Stream{ID: s.ID, Route: s.Route, Tenant: s.Tenant, State: s.State, Started: s.Started, Read: s.Read, Lines: s.Lines, Failed: s.Failed,
		Hits: s.Hits, Bytes: s.Bytes, Size: s.Size, Duration: time.Duration(s.DurationMs) * time.Millisecond}
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"penstock/api"
	"penstock/configs"
	"penstock/engine"
	"penstock/jobs"
	"penstock/request"
)

// newJobs opens the jobs: on disk with a data_dir, in memory when nothing is to be kept by order; else
// there are none, since an accepted job must be on disk.
func (a *App) newJobs(l *configs.Loaded, path request.Doer) (err error) {
	c := l.Config
	if !c.Jobs.Enabled {
		return nil
	}
	var e engine.Engine
	switch {
	case a.keeper != nil:
		e = a.keeper.o.engine
	case a.o.Ephemeral:
		a.scratch = engine.NewMemory()
		e = a.scratch
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	var nodes jobs.Nodes
	if a.nodes != nil {
		nodes = a.nodes
	}
	a.jobs, err = jobs.New(ctx, jobs.Options{
		Engine: e, Nodes: nodes, Settings: a.jobSettings(c), Scope: a.metrics.Process(), Log: a.log,
		Run: func(ctx context.Context, j *jobs.Job) (*jobs.Answer, error) { return a.runJob(ctx, j, path) },
	})
	if err != nil {
		return fmt.Errorf("jobs can't be kept: %w", err)
	}
	return nil
}

func (a *App) jobSettings(c *configs.Config) jobs.Settings {
	j := c.Jobs
	s := jobs.Settings{
		Running: j.Running, MaxStored: j.MaxStored, MaxAttempts: j.MaxAttempts, Backoff: j.Backoff, MaxBackoff: j.MaxBackoff,
		Retention: j.Retention, MaxWait: j.MaxWait, WebhookAttempts: j.WebhookAttempts,
	}
	if secrets := a.secrets.Load(); secrets != nil {
		s.WebhookSecret = secrets.webhook
	}
	return s
}

func (a *App) applyJobs(c *configs.Config) {
	if a.jobs != nil {
		a.jobs.Apply(a.jobSettings(c))
	}
}

func (a *App) startJobs() {
	if a.jobs != nil {
		a.jobs.Start()
	}
}

func (a *App) stopJobs(ctx context.Context) {
	if a.jobs != nil {
		a.jobs.Stop(ctx)
	}
}

// runJob asks what a job asks, by the way that every request goes.
func (a *App) runJob(ctx context.Context, j *jobs.Job, path request.Doer) (*jobs.Answer, error) {
	r, err := a.jobRequest(j)
	if err != nil {
		return nil, err
	}
	resp, err := path.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	body, err := request.ReadAll(resp, jobs.MaxResultBytes)
	if err != nil {
		return nil, err
	}
	h := make(http.Header, len(resp.Header))
	for name, values := range resp.Header {
		if !request.HopByHop(name) && name != "Content-Length" {
			h[name] = values
		}
	}
	return &jobs.Answer{Status: resp.Status, Header: h, Body: body}, nil
}

func (a *App) jobRequest(j *jobs.Job) (*request.Request, error) {
	route, ok := a.Route(j.Route)
	if !ok {
		return nil, request.Errorf(request.ProblemUnknownRoute, "the route %q is no longer configured", j.Route)
	}
	call, err := jobCall(j)
	if err != nil {
		return nil, request.Errorf(request.ProblemInternal, "what was kept of the job can't be read: %w", err)
	}
	r, err := route.Build(call.Params)
	if err != nil {
		return nil, err
	}
	r.ID, r.Arrived, r.Tenant, r.Deadline = j.ID, time.Now(), j.Tenant, j.Deadline
	r.SetUrgency(j.Urgency)
	r.Pass(j.Header)
	if call.Cache != "" {
		r.Header["Cache-Control"] = []string{call.Cache}
	}
	if trace := j.Header["Traceparent"]; len(trace) > 0 {
		r.Header["Traceparent"] = trace
	}
	r.Header["Via"] = []string{"1.1 penstock"}
	return r, nil
}

// callOfJob is the kept form of a call.
type callOfJob struct {
	Params map[string]any `json:"params"`
	Cache  string         `json:"cache"`
}

func jobCall(j *jobs.Job) (c callOfJob, err error) {
	dec := json.NewDecoder(bytes.NewReader(j.Call))
	dec.UseNumber() // ids of 2^53 and more must stay what they are
	err = dec.Decode(&c)
	if c.Cache == "default" {
		c.Cache = ""
	}
	return c, err
}

// webhookAllowed refuses hosts that the operator has not allowed: else anybody who may submit a job
// could have Penstock call what only Penstock can reach.
func (a *App) webhookAllowed(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return request.Errorf(request.ProblemBadRequest, "webhook: %w", err)
	}
	for _, allowed := range a.current.Load().Config.Jobs.WebhookHosts {
		if strings.EqualFold(allowed, u.Host) || strings.EqualFold(allowed, u.Hostname()) || allowed == "*" {
			return nil
		}
		if suffix, ok := strings.CutPrefix(allowed, "*."); ok && strings.HasSuffix(strings.ToLower(u.Hostname()), "."+strings.ToLower(suffix)) {
			return nil
		}
	}
	return request.Errorf(request.ProblemForbidden, "webhooks to %.200q are not allowed; jobs.webhook_hosts lists the hosts that are", u.Host)
}

// apiJobs is the jobs as the planes see them; nil: there are none.
func (a *App) apiJobs() api.Jobs {
	if a.jobs == nil {
		return nil
	}
	return apiJobs{a.jobs}
}

type apiJobs struct{ s *jobs.Service }

func (j apiJobs) Submit(ctx context.Context, s api.JobSpec) (api.Job, bool, error) {
	made, replayed, err := j.s.Submit(ctx, jobs.Spec{
		Tenant: s.Tenant, Route: s.Route, Call: s.Call, Header: s.Header, Urgency: s.Urgency, RunAt: s.RunAt, Deadline: s.Deadline,
		MaxAttempts: s.MaxAttempts, Webhook: s.Webhook, Key: s.Key, Fingerprint: s.Fingerprint,
	})
	return shown(made), replayed, jobError(err)
}

func (j apiJobs) Job(ctx context.Context, id string) (api.Job, error) {
	found, err := j.s.Job(ctx, id)
	return shown(found), jobError(err)
}

func (j apiJobs) Cancel(ctx context.Context, id string) (api.Job, error) {
	changed, err := j.s.Cancel(ctx, id)
	return shown(changed), jobError(err)
}

func (j apiJobs) Retry(ctx context.Context, id string) (api.Job, error) {
	changed, err := j.s.Retry(ctx, id)
	return shown(changed), jobError(err)
}

func (j apiJobs) Jobs(ctx context.Context, f api.JobFilter) ([]api.Job, error) {
	filter := jobs.Filter{Tenant: f.Tenant, Route: f.Route, Before: f.Before, Limit: f.Limit}
	for _, s := range f.States {
		filter.States = append(filter.States, jobs.State(s))
	}
	found, err := j.s.List(ctx, filter)
	if err != nil {
		return nil, jobError(err)
	}
	list := make([]api.Job, len(found))
	for i, b := range found {
		list[i] = api.Job{ID: b.ID, State: string(b.State), Tenant: b.Tenant, Route: b.Route, Urgency: b.Urgency,
			Created: b.Created, RunAt: b.RunAt, Ended: b.Ended, Attempts: b.Attempts}
	}
	return list, nil
}

func (j apiJobs) Result(ctx context.Context, id string) (*request.Response, error) {
	found, body, err := j.s.Result(ctx, id)
	if err != nil {
		return nil, jobError(err)
	}
	return &request.Response{Status: found.Result.Status, Header: found.Result.Header, Body: request.NewBody(body), ContentLength: int64(len(body))}, nil
}

func (j apiJobs) Watch(id string) (<-chan struct{}, func()) {
	w := j.s.Watch(id)
	return w.C, w.Close
}

func (j apiJobs) Counts() map[string]int {
	counts := make(map[string]int)
	for _, s := range jobs.States() {
		counts[string(s)] = 0
	}
	for s, n := range j.s.Counts() {
		counts[string(s)] = n
	}
	return counts
}

// shown is a job as the API shows it.
func shown(j *jobs.Job) api.Job {
	if j == nil {
		return api.Job{}
	}
	out := api.Job{
		ID: j.ID, State: string(j.State), Tenant: j.Tenant, Route: j.Route, Urgency: j.Urgency, Created: j.Created, RunAt: j.RunAt,
		Started: j.Started, Ended: j.Ended, Deadline: j.Deadline, Attempts: j.Attempts, MaxAttempts: j.MaxAttempts,
	}
	if call, err := jobCall(j); err == nil {
		out.Params = call.Params
	}
	if r := j.Result; r != nil && j.State.Ended() {
		out.Result = &api.JobResult{Status: r.Status, Bytes: r.Bytes, URL: "/v1/jobs/" + j.ID + "/result"}
	}
	if f := j.Fault; f != nil {
		out.Error = &api.JobError{Type: f.Problem.Type(), Title: f.Problem.Title(), Detail: f.Detail}
	}
	if w := j.Webhook; w != nil {
		out.Webhook = &api.JobWebhook{URL: w.URL, State: w.State, Attempts: w.Attempts, Error: w.Fault}
	}
	return out
}

// jobError makes a problem of what the jobs say.
func jobError(err error) error {
	const again = 2 * time.Second
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jobs.ErrNotFound):
		return request.Errorf(request.ProblemNotFound, "there is no such job, or it is no longer kept (jobs.retention)")
	case errors.Is(err, jobs.ErrKeyReused):
		return request.Errorf(request.ProblemUnprocessable, "the Idempotency-Key was used for another request; take a new key for each request (keys are kept for jobs.retention)")
	case errors.Is(err, jobs.ErrEnded):
		return request.Errorf(request.ProblemConflict, "the job has ended already")
	case errors.Is(err, jobs.ErrNotEnded):
		return request.Errorf(request.ProblemConflict, "the job has not ended yet, or ended without an answer; GET it with Prefer: wait=30 to wait for its end")
	case errors.Is(err, jobs.ErrFull):
		return &request.Error{Problem: request.ProblemUnavailable, RetryAfter: 30 * time.Second, Err: err,
			Detail: "no more jobs can be kept; wait until some are done, or raise jobs.max_stored or shorten jobs.retention"}
	case errors.Is(err, jobs.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &request.Error{Problem: request.ProblemUnavailable, RetryAfter: again, Err: err,
			Detail: "the store of jobs is not available now; try again later, with the same Idempotency-Key if a job must not be accepted twice"}
	}
	return err
}

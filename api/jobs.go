package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

// JobSpec is a request to be answered later.
type JobSpec struct {
	Tenant, Route string
	// Call is the call as JSON: route, params and cache.
	Call []byte
	// Header holds the headers to send.
	Header  http.Header
	Urgency request.Urgency
	// RunAt is when it is due; zero: at once.
	RunAt time.Time
	// Deadline is when it is not wanted any more; zero: never.
	Deadline time.Time
	// MaxAttempts: 0 means the service's.
	MaxAttempts int
	// Webhook is told of the end; "": nobody is.
	Webhook string
	// Key is the Idempotency-Key, "" for none; Fingerprint tells equal requests.
	Key, Fingerprint string
}

// Job is a job as it is shown.
type Job struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Tenant   string          `json:"tenant,omitempty"`
	Route    string          `json:"route"`
	Params   map[string]any  `json:"params,omitempty"`
	Urgency  request.Urgency `json:"urgency"`
	Created  time.Time       `json:"created"`
	RunAt    time.Time       `json:"run_at,omitzero"`
	Started  time.Time       `json:"started,omitzero"`
	Ended    time.Time       `json:"ended,omitzero"`
	Deadline time.Time       `json:"deadline,omitzero"`
	// Attempts counts those that were begun, MaxAttempts bounds them.
	Attempts    int         `json:"attempts"`
	MaxAttempts int         `json:"max_attempts,omitempty"`
	Result      *JobResult  `json:"result,omitempty"`
	Error       *JobError   `json:"error,omitempty"`
	Webhook     *JobWebhook `json:"webhook,omitempty"`
}

// JobResult tells of a job's answer, which stands at URL.
type JobResult struct {
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"`
	URL    string `json:"url"`
}

// JobError is why the last attempt failed.
type JobError struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// JobWebhook is how the notice of the end fares.
type JobWebhook struct {
	URL      string `json:"url"`
	State    string `json:"state"`
	Attempts int    `json:"attempts"`
	Error    string `json:"error,omitempty"`
}

// jobStates are the states that a job can be in, and jobEnds those in which it stays.
var (
	jobStates = []string{"queued", "running", "done", "failed", "cancelled", "dead"}
	jobEnds   = jobStates[2:]
)

func (j *Job) ended() bool { return slices.Contains(jobEnds, j.State) }

// JobFilter narrows a list of jobs. What is empty does not limit.
type JobFilter struct {
	States []string
	// Tenant, if not nil, is whose jobs.
	Tenant *string
	Route  string
	// Before is the id of a job; only older ones are listed.
	Before string
	// Limit is the most to list; 1 to 1000.
	Limit int
}

// Jobs keeps asynchronous requests. Its errors are [request.Error]s. It may be called at once.
type Jobs interface {
	// Submit accepts a job; when it returns, the job is on disk. replayed: its Idempotency-Key was used
	// for the same before, and the job is that one.
	Submit(ctx context.Context, s JobSpec) (j Job, replayed bool, err error)
	Job(ctx context.Context, id string) (Job, error)
	// Jobs lists jobs, newest first, without params, results and errors.
	Jobs(ctx context.Context, f JobFilter) ([]Job, error)
	// Result is the answer of a job that ended with one.
	Result(ctx context.Context, id string) (*request.Response, error)
	Cancel(ctx context.Context, id string) (Job, error)
	Retry(ctx context.Context, id string) (Job, error)
	// Watch gives a channel that holds a token when the job has changed, until cancel is called.
	Watch(id string) (changed <-chan struct{}, cancel func())
	// Counts is how many jobs there are in each state.
	Counts() map[string]int
}

const (
	headerIdempotency = "Idempotency-Key"
	// maxKeyBytes bounds an Idempotency-Key.
	maxKeyBytes = 255
	// maxJobWait bounds a long poll.
	maxJobWait = 5 * time.Minute
	// jobPoll is when a client should look again at a job that has not ended.
	jobPoll = time.Second
)

func (d *data) mountJobs() {
	d.mux.Post("/v1/jobs", d.serveSubmit)
	d.mux.Get("/v1/jobs", d.serveJobs)
	d.mux.Get("/v1/jobs/{id}", d.serveJob)
	d.mux.Get("/v1/jobs/{id}/result", d.serveJobResult)
	d.mux.Get("/v1/jobs/{id}/events", d.serveJobEvents)
	d.mux.Post("/v1/jobs/{id}/cancel", d.changeJob(func(ctx context.Context, id string) (Job, error) { return d.o.Jobs.Cancel(ctx, id) }))
	d.mux.Post("/v1/jobs/{id}/retry", d.changeJob(func(ctx context.Context, id string) (Job, error) { return d.o.Jobs.Retry(ctx, id) }))
}

// serveSubmit answers POST /v1/jobs.
func (d *data) serveSubmit(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	tenant, err := d.admit(w, r, x)
	if err == nil {
		err = d.submit(w, r, x, tenant)
	}
	if err != nil {
		d.fail(w, r, x, err)
	}
}

// submit accepts a job and answers 202, or with its result if it ends within the time of Prefer: wait.
func (d *data) submit(w http.ResponseWriter, r *http.Request, x *exchange, tenant Tenant) error {
	if d.o.Jobs == nil {
		return request.Errorf(request.ProblemUnavailable, "jobs are off: what is accepted must be on disk, so set data_dir (or run with --ephemeral to keep them in memory only)")
	}
	wait, err := jobWait(r.Header)
	if err != nil {
		return err
	}
	raw, err := readBody(w, r, min(d.o.Limits().withDefaults().MaxBodyBytes, maxJobBytes))
	if err != nil {
		return err
	}
	spec, err := d.jobSpec(r, x, tenant, raw)
	if err != nil {
		return err
	}
	j, replayed, err := d.o.Jobs.Submit(x, spec)
	if err != nil {
		return err
	}
	if wait > 0 {
		if j, err = d.await(x, j.ID, wait); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Location", "/v1/jobs/"+j.ID)
	h.Set("Preference-Applied", "respond-async")
	h.Add("Vary", "Prefer")
	if replayed {
		h.Set("Idempotency-Replayed", "true")
	}
	if !j.ended() {
		h.Set("Retry-After", strconv.Itoa(int(jobPoll.Seconds())))
	}
	d.writeJSON(w, r, http.StatusAccepted, j)
	return nil
}

// prefersAsync reports whether the client asks for RFC 7240's respond-async.
func prefersAsync(h http.Header) bool {
	for _, v := range h["Prefer"] {
		for p := range elements(v, ',') {
			p, _, _ = cutUnquoted(p, ';')
			if strings.EqualFold(strings.TrimSpace(p), "respond-async") {
				return true
			}
		}
	}
	return false
}

// jobWait is how long the client wants to wait for a job's end; 0: not at all.
func jobWait(h http.Header) (time.Duration, error) {
	v := h["Prefer"]
	if len(v) == 0 {
		return 0, nil
	}
	wait, err := preferWait(v)
	return min(wait, maxJobWait), err
}

// await waits for a job's end, at most for d, and returns the job as it is then.
func (d *data) await(x *exchange, id string, most time.Duration) (Job, error) {
	changed, cancel := d.o.Jobs.Watch(id)
	defer cancel()
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		j, err := d.o.Jobs.Job(x, id)
		if err != nil || j.ended() {
			return j, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return j, nil
		case <-x.Done():
			return j, x.Err()
		}
	}
}

// ownJob finds the tenant's job that the path names. Another tenant's is not there.
func (d *data) ownJob(w http.ResponseWriter, r *http.Request) (Job, error) {
	tenant, err := d.identify(w, r)
	if err != nil {
		return Job{}, err
	}
	id := chi.URLParam(r, "id")
	missing := &request.Error{Problem: request.ProblemNotFound,
		Detail: fmt.Sprintf("there is no job %.100q, or it is no longer kept (jobs.retention)", id)}
	if d.o.Jobs == nil {
		return Job{}, missing
	}
	j, err := d.o.Jobs.Job(r.Context(), id)
	if err == nil && j.Tenant != tenant.Name {
		return Job{}, missing
	}
	return j, err
}

// serveJob answers with a job, after its end if the client prefers to wait.
func (d *data) serveJob(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	j, err := d.ownJob(w, r)
	var wait time.Duration
	if err == nil {
		wait, err = jobWait(r.Header)
	}
	if err == nil && wait > 0 && !j.ended() {
		j, err = d.await(x, j.ID, wait)
	}
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	if wait > 0 {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait.Seconds())))
	}
	if !j.ended() {
		w.Header().Set("Retry-After", strconv.Itoa(int(jobPoll.Seconds())))
	}
	d.writeJSON(w, r, http.StatusOK, j)
}

// serveJobResult answers as the upstream answered the job.
func (d *data) serveJobResult(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	j, err := d.ownJob(w, r)
	var resp *request.Response
	if err == nil {
		resp, err = d.o.Jobs.Result(x, j.ID)
	}
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	d.answer(w, r, x, resp)
}

// serveJobEvents sends the job at each change, until it has ended.
func (d *data) serveJobEvents(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	j, err := d.ownJob(w, r)
	if err == nil && d.streams.Add(1) > maxJobStreams {
		err = request.Errorf(request.ProblemReducedCapacity, "%d event streams of jobs are open already; close some, or ask with Prefer: wait=30", maxJobStreams)
	}
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	defer d.streams.Add(-1)
	changed, cancel := d.o.Jobs.Watch(j.ID)
	defer cancel()
	e := startEvents(w, x)
	defer e.end()
	e.run(x, changed, func() error { return d.sendJob(e, x, j.ID) })
}

// maxJobStreams is how many event streams of jobs are open at most.
const maxJobStreams = 1024

// serveJobs lists the tenant's jobs.
func (d *data) serveJobs(w http.ResponseWriter, r *http.Request) {
	tenant, err := d.identify(w, r)
	var f JobFilter
	if err == nil {
		f, err = jobFilter(r.URL.Query())
	}
	if err != nil {
		d.fail(w, r, exchangeOf(r), err)
		return
	}
	f.Tenant = &tenant.Name
	var list jobList
	if d.o.Jobs != nil {
		if list, err = listJobs(r.Context(), d.o.Jobs, f); err != nil {
			d.fail(w, r, exchangeOf(r), err)
			return
		}
	}
	d.writeJSON(w, r, http.StatusOK, list.complete())
}

// changeJob serves what changes one job of the tenant.
func (d *data) changeJob(change func(ctx context.Context, id string) (Job, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, err := d.ownJob(w, r)
		if err == nil {
			j, err = change(r.Context(), j.ID)
		}
		if err != nil {
			d.fail(w, r, exchangeOf(r), err)
			return
		}
		d.writeJSON(w, r, http.StatusOK, j)
	}
}

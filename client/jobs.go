package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// JobItem is one request to be answered later.
type JobItem struct {
	Item
	// RunAt is when it is due; zero: at once.
	RunAt time.Time `json:"run_at,omitzero"`
	// MaxAttempts bounds the attempts; 0: the server's.
	MaxAttempts int `json:"max_attempts,omitempty"`
	// Webhook is told of the end; empty: nobody is.
	Webhook string `json:"webhook,omitempty"`
}

// Job is an accepted request.
type Job struct {
	ID string `json:"id"`
	// State is queued, running, or its end: done, failed, cancelled or dead.
	State       string         `json:"state"`
	Tenant      string         `json:"tenant,omitempty"`
	Route       string         `json:"route"`
	Params      map[string]any `json:"params,omitempty"`
	Urgency     int            `json:"urgency"`
	Created     time.Time      `json:"created"`
	RunAt       time.Time      `json:"run_at,omitzero"`
	Started     time.Time      `json:"started,omitzero"`
	Ended       time.Time      `json:"ended,omitzero"`
	Deadline    time.Time      `json:"deadline,omitzero"`
	Attempts    int            `json:"attempts"`
	MaxAttempts int            `json:"max_attempts,omitempty"`
	Result      *JobResult     `json:"result,omitempty"`
	Error       *JobError      `json:"error,omitempty"`
	Webhook     *JobWebhook    `json:"webhook,omitempty"`
}

// HasEnded reports whether nothing more happens to the job by itself.
func (j *Job) HasEnded() bool { return j.State != "queued" && j.State != "running" }

// JobResult tells of the answer, which [Client.JobResult] fetches.
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

// SubmitJob has the server answer an item later. With a key, not empty, submitting the same item again
// gives the same job.
func (c *Client) SubmitJob(ctx context.Context, item JobItem, key string) (Job, error) {
	var j Job
	more := http.Header{}
	if key != "" {
		more.Set("Idempotency-Key", strconv.Quote(key))
	}
	err := c.with(more).plane(ctx, http.MethodPost, "/v1/jobs", item, &j)
	return j, err
}

// Job returns a job; with a wait it returns at the job's end or after that time, in whole seconds.
func (c *Client) Job(ctx context.Context, id string, wait time.Duration) (Job, error) {
	more := http.Header{}
	if s := int(wait.Seconds()); s > 0 {
		more.Set("Prefer", "wait="+strconv.Itoa(s))
	}
	var j Job
	err := c.with(more).getJSON(ctx, "/v1/jobs/"+url.PathEscape(id), &j)
	return j, err
}

// JobResult returns the upstream's answer to a job that has ended.
func (c *Client) JobResult(ctx context.Context, id string) (*Answer, error) {
	return c.call(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(id)+"/result", "", nil)
}

// CancelJob ends a job that has not ended.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	var j Job
	err := c.plane(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(id)+"/cancel", nil, &j)
	return j, err
}

// JobQuery narrows a list of jobs. What is empty does not limit.
type JobQuery struct {
	States []string
	Route  string
	// Tenant counts on the admin plane only: nil is all.
	Tenant *string
	// Before is the Next of the page before.
	Before string
	// Limit is the most to list, 1 to 1000; 0: 100.
	Limit int
}

func (q JobQuery) path(base string) string {
	v := url.Values{}
	if len(q.States) > 0 {
		v.Set("state", strings.Join(q.States, ","))
	}
	if q.Tenant != nil {
		v.Set("tenant", *q.Tenant)
	}
	for name, value := range map[string]string{"route": q.Route, "before": q.Before} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if len(v) == 0 {
		return base
	}
	return base + "?" + v.Encode()
}

// JobList is a page of jobs, newest first.
type JobList struct {
	Jobs []Job `json:"jobs"`
	// Next is the Before of the next page; empty: this is the last.
	Next string `json:"next,omitempty"`
	// Counts is how many jobs there are in each state; the admin plane tells.
	Counts map[string]int `json:"counts,omitempty"`
}

// Jobs lists the tenant's jobs.
func (c *Client) Jobs(ctx context.Context, q JobQuery) (JobList, error) {
	var l JobList
	err := c.getJSON(ctx, q.path("/v1/jobs"), &l)
	return l, err
}

// Jobs lists the jobs of all tenants.
func (a *Admin) Jobs(ctx context.Context, q JobQuery) (JobList, error) {
	var l JobList
	err := a.getJSON(ctx, q.path("/admin/v1/jobs"), &l)
	return l, err
}

// Job returns a job of any tenant.
func (a *Admin) Job(ctx context.Context, id string) (Job, error) {
	var j Job
	err := a.getJSON(ctx, "/admin/v1/jobs/"+url.PathEscape(id), &j)
	return j, err
}

// CancelJob ends a job that has not ended.
func (a *Admin) CancelJob(ctx context.Context, id string) (Job, error) {
	var j Job
	err := a.plane(ctx, http.MethodPost, "/admin/v1/jobs/"+url.PathEscape(id)+"/cancel", nil, &j)
	return j, err
}

// RetryJob sends a job again that has failed, died or been cancelled.
func (a *Admin) RetryJob(ctx context.Context, id string) (Job, error) {
	var j Job
	err := a.plane(ctx, http.MethodPost, "/admin/v1/jobs/"+url.PathEscape(id)+"/retry", nil, &j)
	return j, err
}

package web

import (
	"cmp"
	"slices"
	"time"
)

// JobStates are the states of jobs in the order in which they are shown.
var JobStates = []string{"queued", "running", "done", "failed", "cancelled", "dead"}

// JobQuery says which jobs are wanted.
type JobQuery struct {
	// State and Tenant limit the list; empty and nil: they don't.
	State  string
	Tenant *string
	// Before is the id of a job: only older ones are listed.
	Before string
	// ID, if not empty, is a job that is wanted with everything.
	ID string
}

// Jobs are requests that were accepted to be answered later.
type Jobs struct {
	// Off says why there are none; empty: they are on.
	Off string
	// Counts is how many there are in each state.
	Counts map[string]int
	// Tenants has those with most that has not ended well, first.
	Tenants []JobTenant
	// List is a page of those that were asked for, newest first, and Next the Before of the page after it.
	List []Job
	Next string
	// Dead are the newest that are dead, with their errors.
	Dead []Job
	// One is the job that was asked for; nil: none was, or it is not there.
	One *Job
}

// JobTenant is how many jobs one tenant has in each state.
type JobTenant struct {
	Tenant string
	Counts map[string]int
}

// Job is one job. Params, Error, Webhook and the result are known of a single one only, and of the dead.
type Job struct {
	ID, State, Tenant, Route              string
	Urgency, Attempts, MaxAttempts        int
	Created, RunAt, Started, Ended, Until time.Time
	// Params is JSON.
	Params string
	// Error is why the last attempt failed.
	Error string
	// Status and Bytes are the answer's; 0: there is none.
	Status, Bytes int
	// Webhook is where its end is told, and WebhookState how that fares.
	Webhook, WebhookState string
}

// HasEnded reports whether nothing more happens to the job by itself.
func (j Job) HasEnded() bool { return j.State != "queued" && j.State != "running" }

// MayRetry reports whether the job can be sent again.
func (j Job) MayRetry() bool {
	return j.State == "dead" || j.State == "failed" || j.State == "cancelled"
}

// Stream is a stream of lines, under way or lately so.
type Stream struct {
	ID, Route, Tenant string
	// State is running, done, cancelled or broken.
	State   string
	Started time.Time
	// Read are the lines that were read, Lines those that were answered, Failed of them not well, Hits from
	// the cache.
	Read, Lines, Failed, Hits int64
	// Bytes of Size were read; 0: the size is not known.
	Bytes, Size int64
	Duration    time.Duration
}

// Running reports whether the stream has not ended.
func (s Stream) Running() bool { return s.State == "running" }

// Rate is its lines a second so far.
func (s Stream) Rate() float64 { return float64(s.Lines) / max(s.Duration.Seconds(), .001) }

// Share is how much of the stream is answered, by its bytes: what was read and waits does not count.
func (s Stream) Share() float64 {
	return min(ratio(s.Bytes, s.Size), 1) * min(float64(s.Lines)/float64(max(s.Read, 1)), 1)
}

// Left is how many seconds are left at the pace so far; 0: nobody knows.
func (s Stream) Left() float64 {
	share := s.Share()
	if share == 0 {
		return 0
	}
	return s.Duration.Seconds() * (1 - share) / share
}

type jobsPage struct {
	Jobs
	States []string
	// State and Tenant are what the list is limited to.
	State, Tenant     string
	ByTenant          bool
	Asked             string
	Older             bool
	Running, Streamed []Stream
	Kept              int
}

// shownStreams bounds the ended streams that are listed.
const shownStreams = 10

func (h *Handler) jobs(v *view) any {
	q := JobQuery{Before: v.Query.Get("before"), ID: v.Query.Get("job")}
	if s := v.Query.Get("state"); slices.Contains(JobStates, s) {
		q.State = s
	}
	p := jobsPage{States: JobStates, State: q.State, Asked: q.ID, Older: q.Before != ""}
	if v.Query.Has("tenant") {
		p.Tenant, p.ByTenant = v.Query.Get("tenant"), true
		q.Tenant = &p.Tenant
	}
	p.Jobs = h.source.Jobs(q)
	for _, n := range p.Counts {
		p.Kept += n
	}
	for _, s := range h.source.Streams() {
		if s.Running() {
			p.Running = append(p.Running, s)
		} else if len(p.Streamed) < shownStreams {
			p.Streamed = append(p.Streamed, s)
		}
	}
	slices.SortStableFunc(p.Running, func(a, b Stream) int { return cmp.Compare(a.ID, b.ID) })
	return p
}

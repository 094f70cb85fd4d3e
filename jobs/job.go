package jobs

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"penstock/request"
)

// State is where a job stands.
type State string

// The states. The last four are ends: a job that has reached one leaves it only when it is sent again by
// hand, see [Service.Retry].
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"      // the upstream answered below 400
	Failed    State = "failed"    // it can't go well: refused by the upstream or by Penstock, or too late
	Cancelled State = "cancelled" // by a client or an operator
	Dead      State = "dead"      // every attempt failed
)

// States lists all states.
func States() []State { return []State{Queued, Running, Done, Failed, Cancelled, Dead} }

// Ended reports whether nothing more happens to a job in this state by itself.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled || s == Dead }

// Spec is what a client asks for.
type Spec struct {
	Tenant string
	// Route names the route; Call is what the Runner needs beside it and is kept as it is.
	Route string
	Call  json.RawMessage
	// Header holds the headers to send with the call.
	Header  http.Header
	Urgency request.Urgency
	// RunAt is when the job is due; zero: at once.
	RunAt time.Time
	// Deadline is when the answer stops being wanted; zero: never.
	Deadline time.Time
	// MaxAttempts bounds the attempts; 0: Options.MaxAttempts.
	MaxAttempts int
	// Webhook is the URL that is told of the end; "": none.
	Webhook string
	// Key is the client's Idempotency-Key: a second Spec of the tenant with the same key and
	// Fingerprint gives the first one's job. "": none.
	Key, Fingerprint string
}

// Job is the record of a job.
type Job struct {
	ID      string          `json:"id"`
	Tenant  string          `json:"tenant,omitempty"`
	Route   string          `json:"route"`
	Call    json.RawMessage `json:"call,omitempty"`
	Header  http.Header     `json:"header,omitempty"`
	Urgency request.Urgency `json:"urgency"`
	State   State           `json:"state"`

	Created time.Time `json:"created"`
	// Due is when it was to run first, RunAt when it is to run next.
	Due      time.Time `json:"due"`
	RunAt    time.Time `json:"run_at,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`

	// Attempts counts those that were begun and told something about the job.
	Attempts    int    `json:"attempts"`
	MaxAttempts int    `json:"max_attempts"`
	Owner       string `json:"owner,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`

	Result  *Result  `json:"result,omitempty"`
	Fault   *Fault   `json:"fault,omitempty"`
	Webhook *Webhook `json:"webhook,omitempty"`
}

// Result is the upstream's answer.
type Result struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Bytes  int         `json:"bytes"`
	// Body is the answer if it is small; else it stands beside the record (Apart).
	Body  []byte `json:"body,omitempty"`
	Apart bool   `json:"apart,omitempty"`
	// Run is the revision at which the run was claimed that brought it; part of the name of what stands apart.
	Run uint64 `json:"run,omitempty"`
}

// Fault is why the last attempt failed.
type Fault struct {
	Problem request.Problem `json:"problem"`
	Detail  string          `json:"detail"`
}

// Webhook is the notice of the end.
type Webhook struct {
	URL string `json:"url"`
	// State is "waiting" (for the end or the next try), "delivered" or "failed".
	State    string    `json:"state"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"`
	// Fault is why the last try failed.
	Fault string `json:"fault,omitempty"`
}

// The states of a Webhook.
const (
	WebhookWaiting   = "waiting"
	WebhookDelivered = "delivered"
	WebhookFailed    = "failed"
)

// blob is the name of a result that stands beside the record.
func (j *Job) blob() string {
	if j.Result.Run == 0 {
		return j.ID // of a version before runs had their own
	}
	return j.ID + "." + strconv.FormatUint(j.Result.Run, 10)
}

// end brings the job to an end.
func (j *Job) end(s State, now time.Time) {
	j.State, j.Ended, j.Owner = s, now, ""
	if j.Webhook != nil {
		j.Webhook.State, j.Webhook.Next = WebhookWaiting, now
	}
}

// again makes the job due at a time.
func (j *Job) again(at time.Time) {
	j.State, j.RunAt, j.Owner = Queued, at, ""
}

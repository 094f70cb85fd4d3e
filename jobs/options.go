package jobs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"penstock/engine"
	"penstock/observe"
)

// Runner runs a job's call. The answer's body is read whole. An error should be a [request.Error]: what
// kind it is decides whether the job is tried again.
type Runner func(ctx context.Context, j *Job) (*Answer, error)

// Nodes is what a Service asks of those who share its engine.
type Nodes interface {
	// Run names this process; it is the owner in the records of the jobs that it runs.
	Run() string
	// Gone reports whether a process is no more, for certain: then its jobs are taken over.
	Gone(run string) bool
	// Leads reports whether this node does what one should do for all: it deletes what is old and sends
	// the webhooks.
	Leads() bool
	// Mine reports whether a job falls to this node. Others take it up if it is not begun within a second.
	Mine(id string) bool
}

// alone is the Nodes of a process that shares its engine with nobody.
type alone string

func (a alone) Run() string       { return string(a) }
func (alone) Gone(string) bool    { return true }
func (alone) Leads() bool         { return true }
func (alone) Mine(id string) bool { return true }

// Answer is what an upstream said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Options set up a Service. What is zero gets its default.
type Options struct {
	// Engine keeps the jobs. Required.
	Engine engine.Engine
	// Run runs one. Required.
	Run Runner
	// Nodes knows the other nodes that share the engine; nil: there are none.
	Nodes Nodes
	// Settings may be changed while it runs, see [Service.Apply].
	Settings
	// Client sends webhooks; nil: a client of its own that follows no redirects.
	Client *http.Client
	Scope  *observe.Scope
	Log    *slog.Logger
}

// Settings are the Options that a reload may change.
type Settings struct {
	// Running is how many jobs run at once: default 64. More fills batches and fast upstreams better;
	// each waits in its upstream's queue like any request.
	Running int
	// MaxStored bounds the jobs kept, ended ones too: default 100,000, some 300 bytes of memory each.
	MaxStored int
	// MaxAttempts is how often a job is tried that does not say: default 5.
	MaxAttempts int
	// Backoff is the pause after the first failed attempt, twice as long after each further one, at most
	// MaxBackoff: defaults 1 s and 5 min. Each is shortened by up to a fifth by chance.
	Backoff, MaxBackoff time.Duration
	// Retention is how long an ended job, its result and its Idempotency-Key are kept: default 24 h. Large
	// results are kept for what it was when the Service was made.
	Retention time.Duration
	// MaxWait is how long after it is due a job may wait for its end before it is dead: default 24 h.
	MaxWait time.Duration
	// WebhookSecret signs the webhooks; empty: they are not signed.
	WebhookSecret string
	// WebhookAttempts is how often a webhook is tried: default 8, over about ten minutes.
	WebhookAttempts int
}

// The defaults of the settings.
const (
	DefaultRunning         = 64
	DefaultMaxStored       = 100_000
	DefaultMaxAttempts     = 5
	DefaultBackoff         = time.Second
	DefaultMaxBackoff      = 5 * time.Minute
	DefaultRetention       = 24 * time.Hour
	DefaultMaxWait         = 24 * time.Hour
	DefaultWebhookAttempts = 8
)

func (s *Settings) defaults() {
	s.Running = cmp.Or(s.Running, DefaultRunning)
	s.MaxStored = cmp.Or(s.MaxStored, DefaultMaxStored)
	s.MaxAttempts = cmp.Or(s.MaxAttempts, DefaultMaxAttempts)
	s.Backoff = cmp.Or(s.Backoff, DefaultBackoff)
	s.MaxBackoff = cmp.Or(s.MaxBackoff, DefaultMaxBackoff)
	s.Retention = cmp.Or(s.Retention, DefaultRetention)
	s.MaxWait = cmp.Or(s.MaxWait, DefaultMaxWait)
	s.WebhookAttempts = cmp.Or(s.WebhookAttempts, DefaultWebhookAttempts)
}

func (o *Options) ensureDefaults() error {
	if o.Engine == nil || o.Run == nil {
		return errors.New("jobs: Options needs Engine and Run")
	}
	o.defaults()
	if o.Nodes == nil {
		o.Nodes = alone(uuid.NewString())
	}
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Scope == nil {
		o.Scope = observe.NewRegistry().Process()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// The bounds of one job.
const (
	// MaxCallBytes bounds what is kept of the question.
	MaxCallBytes = 256 << 10
	// MaxResultBytes bounds a result; a larger answer fails the job.
	MaxResultBytes = 8 << 20
	// inlineBytes is up to what size a result stands in the record.
	inlineBytes = 4 << 10
)

// The stores, and the bounds of their files.
const (
	bucketName  = "jobs"
	bucketBytes = 256 << 20
	blobsName   = "results"
	blobsBytes  = 256 << 20
)

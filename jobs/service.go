package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"penstock/engine"
)

// Service keeps and runs jobs. Make it with New.
type Service struct {
	o        Options
	settings atomic.Pointer[Settings]
	store    *store
	index    *index
	owner    string // names this run of this node in the records
	counters counters

	loaded  chan struct{} // closed when all records are known
	wake    chan struct{} // a job may be due, or a slot free
	hook    chan struct{} // a webhook may be due
	changed chan struct{} // nodes came or went

	lifecycle sync.Mutex // guards what follows
	begun     bool
	loops     sync.WaitGroup
	quit      context.CancelFunc // ends the loops
	cut       context.CancelFunc // ends the jobs under way
	runs      runs
}

// runs are the jobs under way on this node.
type runs struct {
	mu   sync.Mutex // guards what follows
	jobs map[string]context.CancelCauseFunc
	all  sync.WaitGroup
}

// New opens the jobs' stores. Nothing runs before Start.
func New(ctx context.Context, o Options) (*Service, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	s := &Service{
		o: o, index: newIndex(), owner: o.Nodes.Run(), loaded: make(chan struct{}),
		wake: make(chan struct{}, 1), hook: make(chan struct{}, 1), changed: make(chan struct{}, 1), runs: runs{jobs: make(map[string]context.CancelCauseFunc)},
	}
	s.settings.Store(&o.Settings)
	var err error
	if s.store, err = openStore(ctx, o.Engine, s.index, o.Retention); err != nil {
		return nil, err
	}
	s.register(o.Scope)
	return s, nil
}

// Apply puts new settings in force.
func (s *Service) Apply(n Settings) {
	n.defaults()
	s.settings.Store(&n)
	s.kick()
}

// Start reads what is kept and begins to run jobs.
func (s *Service) Start() {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.begun {
		return
	}
	s.begun = true
	ctx, quit := context.WithCancel(context.Background())
	running, cut := context.WithCancel(context.Background())
	s.quit, s.cut = quit, cut
	s.loops.Go(func() { s.follow(ctx) })
	s.loops.Go(func() { s.dispatch(ctx, running) })
	s.loops.Go(func() { s.notify(ctx) })
	s.loops.Go(func() { s.sweep(ctx) })
}

// Stop takes no more jobs from the queue, lets those under way end until ctx does, and then cuts them:
// they go back into the queue. Idempotent.
func (s *Service) Stop(ctx context.Context) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if !s.begun {
		return
	}
	s.quit()
	s.loops.Wait()
	ended := make(chan struct{})
	go func() {
		s.runs.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.cut()
		<-ended
	}
	s.cut()
	s.begun = false
}

// NodesChanged tells the Service that nodes came or went, or that this one leads now or does not any more.
func (s *Service) NodesChanged() {
	token(s.changed)
	token(s.hook)
	s.kick()
}

func (s *Service) kick() { token(s.wake) }

func token(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ready reports whether all records are known.
func (s *Service) ready() bool {
	select {
	case <-s.loaded:
		return true
	default:
		return false
	}
}

// Submit accepts a job. When it returns without an error the job is durable. replayed: it was accepted
// before, under the same Idempotency-Key. Errors: ErrKeyReused, ErrFull, ErrUnavailable.
func (s *Service) Submit(ctx context.Context, spec Spec) (j *Job, replayed bool, err error) {
	if err := s.await(ctx); err != nil {
		return nil, false, err
	}
	settings := s.settings.Load()
	if spec.Key != "" { // also when the store is full
		if j, _, err := s.store.get(ctx, keyedID(spec.Tenant, spec.Key)); err == nil {
			return s.replay(j, spec)
		} else if !errors.Is(err, ErrNotFound) {
			return nil, false, err
		}
	}
	if n := s.index.size(); n >= settings.MaxStored {
		return nil, false, fmt.Errorf("%w: %d", ErrFull, n)
	}
	j = newJob(spec, settings, time.Now())
	err = s.store.create(ctx, j)
	if spec.Key != "" && errors.Is(err, engine.ErrExists) { // somebody was faster
		if j, _, err = s.store.get(ctx, j.ID); err == nil {
			return s.replay(j, spec)
		}
	}
	if err != nil {
		return nil, false, err
	}
	s.counters.submitted.Inc()
	s.kick()
	return j, false, nil
}

// loadWait is how long a submission or a list waits for the kept records to be read.
const loadWait = 5 * time.Second

// await waits until all records are known.
func (s *Service) await(ctx context.Context) error {
	if s.ready() {
		return nil
	}
	timer := time.NewTimer(loadWait)
	defer timer.Stop()
	select {
	case <-s.loaded:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return fmt.Errorf("%w: what is kept is still being read", ErrUnavailable)
}

func (s *Service) replay(j *Job, spec Spec) (*Job, bool, error) {
	if j.Fingerprint != spec.Fingerprint {
		return nil, false, ErrKeyReused
	}
	s.counters.replayed.Inc()
	return j, true, nil
}

func newJob(spec Spec, settings *Settings, now time.Time) *Job {
	j := &Job{
		Tenant: spec.Tenant, Route: spec.Route, Call: spec.Call, Header: spec.Header, Urgency: spec.Urgency,
		State: Queued, Created: now, Due: later(now, spec.RunAt), RunAt: spec.RunAt, Deadline: spec.Deadline,
		MaxAttempts: spec.MaxAttempts, Fingerprint: spec.Fingerprint,
	}
	if j.MaxAttempts <= 0 {
		j.MaxAttempts = settings.MaxAttempts
	}
	if spec.Webhook != "" {
		j.Webhook = &Webhook{URL: spec.Webhook, State: WebhookWaiting}
	}
	if spec.Key != "" {
		j.ID = keyedID(spec.Tenant, spec.Key)
	} else {
		j.ID = newID()
	}
	return j
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New() // panics if there is no randomness at all, as it must
	}
	return id.String()
}

// keyedID is the id of the job of an Idempotency-Key: the same key finds the same record.
func keyedID(tenant, key string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + key))
	return "key-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

// Job returns a job as it stands.
func (s *Service) Job(ctx context.Context, id string) (*Job, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	j, _, err := s.store.get(ctx, id)
	return j, err
}

func validID(id string) bool { return id != "" && len(id) <= 64 }

// Result returns the answer of a job that ended with one.
func (s *Service) Result(ctx context.Context, id string) (*Job, []byte, error) {
	j, err := s.Job(ctx, id)
	switch {
	case err != nil:
		return nil, nil, err
	case !j.State.Ended() || j.Result == nil:
		return j, nil, ErrNotEnded
	}
	body, err := s.store.body(ctx, j)
	return j, body, err
}

// List returns the jobs that match, newest first, without asking the engine. Just after a start it waits
// until what is kept has been read. Errors: ErrUnavailable.
func (s *Service) List(ctx context.Context, f Filter) ([]Brief, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	return s.index.list(f), nil
}

// Counts is how many jobs there are in each state.
func (s *Service) Counts() map[State]int { return s.index.Counts() }

// Tenants counts the jobs of each tenant: those with most that has not ended well come first, at most
// limit.
func (s *Service) Tenants(limit int) []TenantCounts { return s.index.Tenants(limit) }

// Watch begins to watch a job.
func (s *Service) Watch(id string) *Watch { return s.index.watch(id) }

// Cancel ends a job that has not ended. A call under way is given up. Errors: ErrNotFound, ErrEnded.
func (s *Service) Cancel(ctx context.Context, id string) (*Job, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	j, err := s.store.change(ctx, id, func(j *Job) error {
		if j.State.Ended() {
			return ErrEnded
		}
		j.end(Cancelled, time.Now())
		return nil
	})
	if err == nil {
		s.ended(j)
		s.giveUp(id)
	}
	return j, err
}

// Retry sends a job again that has failed, died or been cancelled, with its attempts counted anew.
// Errors: ErrNotFound, ErrNotEnded, ErrEnded (it is done).
func (s *Service) Retry(ctx context.Context, id string) (*Job, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	j, err := s.store.change(ctx, id, func(j *Job) error {
		switch {
		case j.State == Done:
			return ErrEnded
		case !j.State.Ended():
			return ErrNotEnded
		}
		now := time.Now()
		if !j.Deadline.IsZero() && j.Deadline.Before(now) {
			j.Deadline = time.Time{} // whoever sends it again wants it
		}
		j.Due, j.Attempts, j.Ended, j.Fault, j.Result = now, 0, time.Time{}, nil, nil
		j.again(now)
		if j.Webhook != nil {
			j.Webhook = &Webhook{URL: j.Webhook.URL, State: WebhookWaiting}
		}
		return nil
	})
	if err == nil {
		s.kick()
	}
	return j, err
}

// follow takes in every change of the bucket, until ctx ends.
func (s *Service) follow(ctx context.Context) {
	for pause := time.Duration(0); ctx.Err() == nil; pause = min(2*pause+100*time.Millisecond, 30*time.Second) {
		if wait(ctx, pause) != nil {
			return
		}
		changes, err := s.store.kv.Watch(ctx)
		if err != nil {
			s.o.Log.Warn("jobs: the bucket can't be followed; trying again", "error", err)
			continue
		}
		for e := range changes {
			s.take(ctx, e)
			pause = 0
		}
	}
}

// take takes in one change.
func (s *Service) take(ctx context.Context, e engine.Entry) {
	switch {
	case e.Current:
		s.adopt(ctx)
		select {
		case <-s.loaded:
		default:
			close(s.loaded)
		}
		s.kick()
	case e.Deleted:
		s.index.remove(e.Key, e.Revision)
	default:
		j := new(Job)
		if err := json.Unmarshal(e.Value, j); err != nil || j.ID != e.Key {
			s.o.Log.Error("jobs: a record can't be read; it is left alone", "job", e.Key, "error", err)
			return
		}
		if !s.index.put(j, e.Revision, time.Now()) {
			return // our own
		}
		if j.State.Ended() {
			s.giveUp(j.ID)
			token(s.hook)
		}
		s.kick()
	}
}

// adopt puts back into the queue what owners ran that are no more.
func (s *Service) adopt(ctx context.Context) {
	alive := func(owner string) bool { return owner == s.owner || !s.o.Nodes.Gone(owner) }
	for _, id := range s.index.orphans(alive) {
		_, err := s.store.change(ctx, id, func(j *Job) error {
			if j.State != Running || alive(j.Owner) {
				return ErrEnded
			}
			j.again(time.Now())
			return nil
		})
		if errors.Is(err, ErrEnded) || errors.Is(err, ErrNotFound) {
			continue // another node was faster
		}
		if err != nil {
			s.o.Log.Warn("jobs: a job that was under way could not be taken over", "job", id, "error", err)
			return // the engine is away; the next look tries again
		}
		s.counters.adopted.Inc()
	}
}

// giveUp ends the run of a job on this node, if there is one.
func (s *Service) giveUp(id string) {
	s.runs.mu.Lock()
	cancel := s.runs.jobs[id]
	s.runs.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}

var errCancelled = errors.New("jobs: the job was cancelled")

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package scheduler

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"penstock/request"
)

// Scheduler is the queue and the gate of one upstream. Make it with New.
type Scheduler struct {
	next    request.BatchDoer
	metrics *metrics
	options atomic.Pointer[Options] // the options in force, for what needs no lock

	base     context.Context // of batches; ends with Close
	stop     context.CancelFunc
	batching sync.WaitGroup // batches under way

	mu        sync.Mutex // guards what follows; see the package doc for the lock order
	opts      Options
	q         queue
	windows   windows
	quotas    quotas
	share     sharing
	started   uint64   // calls that were sent
	came      float64  // calls that were asked for, background work's not
	all       estimate // of all routes together
	routes    map[string]*estimate
	demand    [classes]meter // permit-seconds admitted per second
	inFlight  int            // permits taken, held ones included
	held      map[*hold]struct{}
	members   int      // of the calls in flight
	forming   []*batch // batches that wait for more members
	nForming  int      // their members
	meanBatch float64  // members of a call, on average
	binding   bindings
	counts    Counts
	wake      *time.Timer
	shed      time.Time // when a request was last refused for want of capacity
	closed    bool
	drained   []chan struct{}
	freeItems *item
	nFree     int
}

// New makes a Scheduler in front of next. Options must be valid. Close it after use.
func New(o Options, next request.BatchDoer) *Scheduler {
	o = o.withDefaults()
	s := &Scheduler{
		next:      next,
		opts:      o,
		routes:    make(map[string]*estimate),
		held:      make(map[*hold]struct{}),
		meanBatch: 1,
		share:     sharing{ratio: 1},
	}
	s.base, s.stop = context.WithCancel(context.Background())
	s.options.Store(&o)
	s.q.init(o.UrgencyShare)
	s.windows = newWindows(o.Rates, nil, time.Now()).addPace(o.PaceRate, nil, time.Now())
	s.binding.init(len(s.windows)+1, time.Now())
	s.metrics = newMetrics(s, o.Scope)
	return s
}

// Apply changes the options, which must be valid, without touching what is queued or in flight:
// a shorter queue refuses arrivals, it drops nobody. A rate window keeps its tokens if its Per stays. Scope stays as it was.
func (s *Scheduler) Apply(o Options) {
	o = o.withDefaults()
	now := time.Now()
	s.mu.Lock()
	o.Scope = s.opts.Scope
	s.opts = o
	s.options.Store(&o)
	s.q.share = o.UrgencyShare
	s.windows = newWindows(o.Rates, s.windows, now).addPace(o.PaceRate, s.windows, now)
	s.windows.setShare(s.share.ratio, s.quotas.Shared, nil, now)
	s.binding.init(len(s.windows)+1+len(s.quotas.budgets), now)
	s.dispatch(now)
	s.mu.Unlock()
}

// Kick makes the scheduler look at its knobs again. Call it when Workers, PaceRate,
// BatchTarget or BatchLinger changed.
func (s *Scheduler) Kick() {
	now := time.Now()
	s.mu.Lock()
	s.dispatch(now)
	s.mu.Unlock()
}

// Do queues r until a permit and a token of each rate window are there, and has next answer it.
// The permit is held until the answer's body ended or was closed.
//
// Errors of its own: ProblemReducedCapacity with RetryAfter when the queue is full or r can't be
// served in time, ProblemDeadline when r's deadline passed while it was queued, ProblemShuttingDown
// after Close, and ProblemClientClosed, wrapping ctx's cause, when ctx ended first.
func (s *Scheduler) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	if ctx.Err() != nil {
		return nil, s.gone(ctx, 0, false)
	}
	plan := s.next.Plan(r)
	weight := s.options.Load().weight(r.Tenant)
	now := time.Now()

	s.mu.Lock()
	if s.closed {
		name := s.opts.Upstream
		s.mu.Unlock()
		return nil, closedError(name)
	}
	it := s.newItem(ctx, r, plan, weight, now)
	s.enqueue(it, now)
	if it.state == itemGranted && it.forming == nil {
		<-it.ready
		t := s.ticket(it)
		s.freeItem(it)
		s.mu.Unlock()
		return s.run(ctx, r, t)
	}
	queued := it.state == itemQueued || it.state == itemForming
	s.mu.Unlock()

	if queued {
		r.OnPromote(it.promote)
		it.promote(r.Urgency()) // one that came before OnPromote
		defer r.OnPromote(nil)
	}
	return s.await(ctx, it)
}

// await waits for it to be granted, refused or answered, or for its client to go.
func (s *Scheduler) await(ctx context.Context, it *item) (*request.Response, error) {
	var expired <-chan time.Time
	if d, ok := ctx.Deadline(); !it.deadline.IsZero() && (!ok || d.After(it.deadline)) {
		t := time.NewTimer(time.Until(it.deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-it.ready:
		return s.proceed(ctx, it)
	case <-ctx.Done():
		return s.leave(ctx, it, false)
	case <-expired:
		return s.leave(ctx, it, true)
	}
}

// proceed acts on the verdict that was signalled.
func (s *Scheduler) proceed(ctx context.Context, it *item) (*request.Response, error) {
	s.mu.Lock()
	if it.state == itemDone {
		res := it.result
		s.freeItem(it)
		s.mu.Unlock()
		return res.Response, res.Err
	}
	t, r := s.ticket(it), it.req
	s.freeItem(it)
	s.mu.Unlock()
	return s.run(ctx, r, t)
}

// leave takes a request whose client has gone, or whose deadline has passed, out of wherever it
// is. One that was granted meanwhile gives its permit back; one inside a batch that is under way
// is left to it.
func (s *Scheduler) leave(ctx context.Context, it *item, expired bool) (*request.Response, error) {
	now := time.Now()
	s.mu.Lock()
	wait := now.Sub(it.at)
	switch {
	case it.state == itemDone:
		<-it.ready
		res := it.result
		s.freeItem(it)
		s.mu.Unlock()
		return res.Response, res.Err
	case it.state == itemQueued:
		s.q.remove(it, now)
		s.freeItem(it)
	case it.state == itemForming:
		s.unform(it, now)
		s.freeItem(it)
	case it.forming != nil:
		it.state = itemGone
		s.mu.Unlock()
		return nil, s.gone(ctx, wait, expired)
	default:
		<-it.ready
		t := s.ticket(it)
		s.freeItem(it)
		s.release(t, 0, now)
	}
	s.countGone(expired || isDeadline(ctx))
	s.dispatch(now)
	s.mu.Unlock()
	return nil, s.gone(ctx, wait, expired)
}

// promoted moves it up if its request has become more urgent. It looks at its own request, not
// at the urgency it is told, so a call that comes late, when the item serves another request,
// does no harm.
func (s *Scheduler) promoted(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.state != itemQueued {
		return
	}
	class := s.classOf(it.req)
	if class >= it.class {
		return
	}
	now := time.Now()
	s.q.promote(it, class, now)
	s.dispatch(now)
}

// classOf is the queue's class for r. Background work counts as such only at the least urgency:
// a real request that joined it has promoted it.
func (s *Scheduler) classOf(r *request.Request) uint8 {
	u := r.Urgency()
	switch {
	case r.InBackground() && u == request.LeastUrgent:
		return backgroundClass
	case !s.opts.Priorities:
		return uint8(request.DefaultUrgency)
	}
	return uint8(u)
}

// Drain waits until nothing is queued or in flight any more, or ctx ends; it gives ctx's cause
// then. It refuses nothing: who calls it has closed the way in. Permits held for cancelled calls
// don't count.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.mu.Lock()
	if s.empty() {
		s.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	s.drained = append(s.drained, done)
	s.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Scheduler) empty() bool { return s.queued() == 0 && s.inFlight == len(s.held) }

// queued is how many requests wait.
func (s *Scheduler) queued() int { return s.q.count + s.nForming }

// Close refuses all that is queued or comes later with ProblemShuttingDown, cancels batches and
// stops the timers. Calls of single requests go on under their own contexts. It may be called
// more than once.
func (s *Scheduler) Close() {
	now := time.Now()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.shutdown(now)
	}
	s.mu.Unlock()
	s.stop()
	s.batching.Wait()
}

func (s *Scheduler) shutdown(now time.Time) {
	for it := s.q.next(); it != nil; it = s.q.next() {
		s.refuse(it, reasonClosed, now)
	}
	for len(s.forming) > 0 {
		it := s.forming[0].members[0]
		s.unform(it, now)
		s.finishRefused(it, reasonClosed, 0)
	}
	if s.wake != nil {
		s.wake.Stop()
	}
	for h := range s.held {
		h.timer.Stop()
		delete(s.held, h)
		s.release(h.ticket, now.Sub(h.started), now)
	}
	s.dispatch(now)
}

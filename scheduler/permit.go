package scheduler

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"penstock/request"
)

// ticket is what one dispatched request owes: its share of a permit.
type ticket struct {
	flow    *flow
	est     *estimate
	cost    float64
	class   uint8
	members int // of the call
	started time.Time
	wait    time.Duration
	timeout time.Duration // of the route, 0: none
}

func (s *Scheduler) ticket(it *item) ticket {
	return ticket{
		flow: it.flow, est: it.est, cost: it.cost, class: it.class, members: 1,
		started: it.granted, wait: it.granted.Sub(it.at), timeout: routeTimeout(it.req),
	}
}

func routeTimeout(r *request.Request) time.Duration {
	if r.Route == nil {
		return 0
	}
	return r.Route.Timeout
}

// run makes the call of a single request on the caller's goroutine.
func (s *Scheduler) run(ctx context.Context, r *request.Request, t ticket) (*request.Response, error) {
	s.waited(request.Urgency(min(t.class, uint8(request.LeastUrgent))), t.wait)
	returned := false
	defer func() {
		if !returned { // next panicked
			s.finish(t, false)
		}
	}()
	resp, err := s.next.Do(ctx, r)
	returned = true
	if err != nil {
		if ctx.Err() != nil {
			s.abandon(t)
		} else {
			s.finish(t, timedOut(err))
		}
		return nil, err
	}
	if resp == nil {
		s.finish(t, false)
		return nil, internalError(s.options.Load().Upstream, "gave neither an answer nor an error")
	}
	resp.Timing.Queue = t.wait
	if inMemory(resp) {
		s.finish(t, healthy(resp))
		return resp, nil
	}
	ok := healthy(resp)
	resp.Body = watch(resp.Body, func(complete bool) {
		switch {
		case !complete && ctx.Err() != nil:
			s.abandon(t)
		default:
			s.finish(t, ok && complete)
		}
	})
	return resp, nil
}

// healthy reports whether the answer says how long such calls take: refusals and failures tend to
// come fast, and one fast failure must not make the upstream look fast.
func healthy(r *request.Response) bool {
	return r.Status < http.StatusInternalServerError && r.Status != http.StatusTooManyRequests
}

// timedOut reports whether the upstream took too long: unlike other failures, that does say how
// long its calls take.
func timedOut(err error) bool {
	var e *request.Error
	return errors.As(err, &e) && e.Problem == request.ProblemUpstreamTimeout
}

func inMemory(r *request.Response) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	_, ok := r.Body.(*request.Body)
	return ok
}

// finish ends a call that is known to have ended at the upstream. sample: its duration tells
// something about the route.
func (s *Scheduler) finish(t ticket, sample bool) {
	now := time.Now()
	d := now.Sub(t.started)
	s.mu.Lock()
	if sample {
		t.est.add(d, t.members)
		s.all.add(d, t.members)
	}
	s.release(t, d, now)
	s.dispatch(now)
	s.mu.Unlock()
}

// release gives back the permit of a single call and settles its cost. The caller holds the lock.
func (s *Scheduler) release(t ticket, d time.Duration, now time.Time) {
	s.inFlight--
	s.members--
	s.q.settle(t.class, t.flow, t.cost, max(d.Seconds(), minCost), now)
}

// hold is a permit kept for a call that our side has cancelled.
type hold struct {
	ticket
	timer *time.Timer
}

// abandon ends a call that our side cut short. Most upstreams work on for a client that has gone,
// so the permit stays taken for as long as such calls usually take.
func (s *Scheduler) abandon(t ticket) {
	now := time.Now()
	d := now.Sub(t.started)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.est.addCut(d)
	s.all.addCut(d)
	usual := seconds(t.est.call)
	if t.timeout > 0 {
		usual = min(usual, t.timeout)
	}
	rest := min(usual-d, s.opts.HoldMax)
	if rest <= 0 || s.closed {
		s.release(t, d, now)
		s.dispatch(now)
		return
	}
	h := &hold{ticket: t}
	s.held[h] = struct{}{}
	h.timer = time.AfterFunc(rest, func() { s.unhold(h) })
	s.dispatch(now) // for Drain: a held permit is not in flight
}

func (s *Scheduler) unhold(h *hold) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[h]; !ok {
		return
	}
	delete(s.held, h)
	s.release(h.ticket, now.Sub(h.started), now)
	s.dispatch(now)
}

// body tells when an answer's body has ended, by its end, an error or Close.
type body struct {
	io.ReadCloser
	once sync.Once
	done func(complete bool)
}

// bodyTo is a body whose inner one can write itself.
type bodyTo struct {
	*body
	to io.WriterTo
}

// watch has done called once, when rc ended; complete says whether it was read to its end.
func watch(rc io.ReadCloser, done func(complete bool)) io.ReadCloser {
	b := &body{ReadCloser: rc, done: done}
	if to, ok := rc.(io.WriterTo); ok {
		return bodyTo{b, to}
	}
	return b
}

func (b *body) end(complete bool) { b.once.Do(func() { b.done(complete) }) }

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(errors.Is(err, io.EOF))
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end(false)
	return err
}

// WriteTo writes the rest of the body. An error may be w's, so only success ends the body; Close
// ends it otherwise.
func (b bodyTo) WriteTo(w io.Writer) (int64, error) {
	n, err := b.to.WriteTo(w)
	if err == nil {
		b.end(true)
	}
	return n, err
}

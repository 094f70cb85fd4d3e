package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/request"
)

// reason is why a request was refused; the metric label reason.
type reason uint8

const (
	reasonFull      reason = iota // the queue is full
	reasonDisplaced               // it gave way to another in a full queue
	reasonLate                    // it was predicted to miss its deadline
	reasonHopeless                // it would miss its deadline if it were sent now
	reasonCoDel                   // it was the oldest of a standing queue
	reasonGone                    // its context has ended
	reasonClosed                  // the scheduler was closed
	reasons
)

var reasonNames = [reasons]string{"full", "displaced", "late", "hopeless", "codel", "gone", "closed"}

// refuse takes a queued request out and has its goroutine answer. The caller holds the lock.
func (s *Scheduler) refuse(it *item, why reason, now time.Time) {
	wait := s.predict(it.class, s.ahead(it), now)
	if why == reasonLate || why == reasonHopeless {
		// When what is ahead now has gone down to what the time left would have allowed.
		wait -= it.deadline.Sub(now) - seconds(it.est.call)
	}
	retry := max(wait, seconds(s.costOf(it.est)), time.Millisecond)
	s.q.remove(it, now)
	s.finishRefused(it, why, retry)
}

func (s *Scheduler) finishRefused(it *item, why reason, retry time.Duration) {
	switch why {
	case reasonGone:
		it.result.Err = s.gone(it.ctx, time.Since(it.at), false)
		s.countGone(isDeadline(it.ctx))
	case reasonClosed:
		it.result.Err = closedError(s.opts.Upstream)
	default:
		it.result.Err = s.refusal(it, why, retry)
		s.shed = time.Now()
	}
	s.counts.Refused[why]++
	s.metrics.refused[why].Inc()
	it.state = itemDone
	it.ready <- struct{}{}
}

func (s *Scheduler) refusal(it *item, why reason, retry time.Duration) error {
	e := &request.Error{Problem: request.ProblemReducedCapacity, RetryAfter: retry, Upstream: s.opts.Upstream}
	e.Timing.Queue = time.Since(it.at)
	shown := retry.Round(time.Millisecond)
	switch why {
	case reasonFull, reasonDisplaced:
		e.Detail = fmt.Sprintf("the queue of upstream %q is full (%d may wait); retry in %v, or raise workers.queue_length or workers.count",
			s.opts.Upstream, s.opts.QueueLength, shown)
		if why == reasonDisplaced {
			e.Detail = "given up for another request: " + e.Detail
		}
	case reasonLate, reasonHopeless:
		e.Detail = fmt.Sprintf("upstream %q can't answer before the deadline; retry in %v, or allow more time", s.opts.Upstream, shown)
	default:
		e.Detail = fmt.Sprintf("the queue of upstream %q does not get shorter; retry in %v", s.opts.Upstream, shown)
	}
	if reason := s.quotaReason(s.binding.now, time.Now()); reason != "" {
		e.Detail += "; " + reason
	}
	return e
}

func closedError(upstream string) error {
	return &request.Error{Problem: request.ProblemShuttingDown, Upstream: upstream,
		Detail: fmt.Sprintf("the queue of upstream %q is closed; retry at another instance", upstream)}
}

func internalError(upstream, what string) error {
	return &request.Error{Problem: request.ProblemInternal, Upstream: upstream,
		Detail: fmt.Sprintf("the stage behind the queue of upstream %q %s; this is a fault in Penstock, please report it", upstream, what)}
}

// countGone counts a request that left the queue unserved. The caller holds the lock.
func (s *Scheduler) countGone(expired bool) {
	if expired {
		s.counts.Expired++
		s.metrics.expired.Inc()
		return
	}
	s.counts.Cancelled++
	s.metrics.cancelled.Inc()
}

// gone is the error for a request whose context ended, or whose own deadline expired, after so
// long.
func (s *Scheduler) gone(ctx context.Context, wait time.Duration, expired bool) error {
	upstream, cause := s.options.Load().Upstream, context.Cause(ctx)
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	e := &request.Error{Upstream: upstream, Err: cause, Timing: request.Timing{Queue: wait}}
	if !expired && !isDeadline(ctx) && !errors.Is(cause, context.DeadlineExceeded) {
		e.Problem = request.ProblemClientClosed
		e.Detail = fmt.Sprintf("the request was cancelled before upstream %q had answered it", upstream)
		return e
	}
	e.Problem = request.ProblemDeadline
	e.Detail = fmt.Sprintf("the deadline passed %v after the request reached the queue of upstream %q; allow more time or make it more urgent",
		wait.Round(time.Millisecond), upstream)
	return e
}

// isDeadline reports whether ctx ended by its deadline.
func isDeadline(ctx context.Context) bool { return ctx.Err() == context.DeadlineExceeded }

package scheduler

import (
	"context"
	"time"

	"penstock/request"
)

// newItem prepares an item for r. The caller holds the lock.
func (s *Scheduler) newItem(ctx context.Context, r *request.Request, plan request.BatchPlan, weight float64, now time.Time) *item {
	it := s.freeItems
	if it != nil {
		s.freeItems = it.nextFree
		s.nFree--
		it.nextFree = nil
	} else {
		it = &item{ready: make(chan struct{}, 1)}
		it.promote = func(request.Urgency) { s.promoted(it) }
	}
	it.req, it.ctx, it.plan, it.weight, it.at = r, ctx, plan, weight, now
	it.class = s.classOf(r)
	it.deadline = r.Deadline
	if d, ok := ctx.Deadline(); ok && (it.deadline.IsZero() || d.Before(it.deadline)) {
		it.deadline = d
	}
	it.est = s.estimateOf(r.Route)
	it.cost = s.costOf(it.est)
	return it
}

// freeItem gives it back for reuse.
func (s *Scheduler) freeItem(it *item) {
	*it = item{ready: it.ready, promote: it.promote}
	if s.nFree < freeMax {
		it.nextFree, s.freeItems = s.freeItems, it
		s.nFree++
	}
}

// enqueue puts it into the queue, dispatches what may go, and, if it has to wait, refuses whom
// there is no room or no time for. The caller holds the lock.
func (s *Scheduler) enqueue(it *item, now time.Time) {
	it.est.arrivals.add(1, now)
	if it.class != backgroundClass {
		s.came += 1 / max(1, s.meanBatch)
	}
	s.q.push(it, it.req.Tenant, now)
	if b := s.q.groups[it.plan.Group]; b != nil && b.forming != nil {
		s.joinForming(it, b.forming, now)
	}
	s.dispatch(now)
	if it.state == itemQueued && s.late(it, now) {
		s.refuse(it, reasonLate, now)
		return
	}
	if it.state != itemDone {
		s.demand[it.class].add(it.cost, now)
	}
	if it.state == itemQueued && s.queued() > s.opts.QueueLength {
		victim := s.q.victim(it, s.opts.QueueLength)
		reason := reasonDisplaced
		if victim == it {
			reason = reasonFull
		}
		s.refuse(victim, reason, now)
	}
}

// dispatch grants permits as long as there are permits, tokens and requests, and plans when to
// look again. The caller holds the lock.
func (s *Scheduler) dispatch(now time.Time) {
	var wake time.Duration
	bound := boundNothing
	s.stepShare(now)
	s.windows.setPace(s.opts.PaceRate, now)
	for !s.closed {
		b, wait := s.dueBatch(now)
		if wait > 0 && (wake == 0 || wait < wake) {
			wake = wait
		}
		var it *item
		if b == nil {
			if it = s.pick(now); it == nil {
				break
			}
			it = s.allowed(it, now)
		}
		background := it != nil && it.class == backgroundClass
		if free := s.opts.Workers.Get() - s.inFlight; free <= 0 {
			if !background { // what only fills gaps is kept waiting by no limit
				bound = boundPermits
			}
			break
		} else if background && free == 1 && s.inFlight > 0 {
			break // the last permit is kept for work that somebody waits for
		}
		class := backgroundClass
		if it != nil {
			class = int(it.class)
		} else if len(b.members) > 0 {
			class = int(b.members[0].class)
		}
		if wait, limit := s.limitWait(uint8(class), now); wait > 0 {
			if wake == 0 || wait < wake {
				wake = wait
			}
			if d := s.nextShare(now); d > 0 {
				wake = min(wake, d)
			}
			if !background {
				bound = limit
			}
			break
		}
		if b == nil {
			if it.group != nil {
				if b = s.form(it, now); b == nil {
					continue // it lingers, and holds no permit meanwhile
				}
			} else {
				s.windows.take(now)
				s.takeQuota(it.class, now)
				s.grant(it, now)
				continue
			}
		}
		s.windows.take(now)
		s.takeQuota(uint8(class), now)
		s.launch(b, now)
	}
	s.binding.set(bound, now)
	s.plan(wake)
	if len(s.drained) > 0 && s.empty() {
		for _, c := range s.drained {
			close(c)
		}
		s.drained = nil
	}
}

// limitWait is how long rates and quotas keep a call of a class, and which of them does; 0 if it may go.
func (s *Scheduler) limitWait(class uint8, now time.Time) (time.Duration, int) {
	wait, i := s.windows.wait(now, class == backgroundClass, s.quotas.Ahead)
	limit := boundRate + i
	if d, by := s.quotaWait(class, now); d > wait {
		wait, limit = d, by
	}
	return wait, limit
}

// plan sets the timer that wakes the dispatcher when only time is missing.
func (s *Scheduler) plan(d time.Duration) {
	switch {
	case s.closed || d == 0:
		if s.wake != nil {
			s.wake.Stop()
		}
	case s.wake == nil:
		s.wake = time.AfterFunc(d, s.Kick)
	default:
		s.wake.Reset(d)
	}
}

// pick is the next request worth a permit, nil if there is none. It drops those whose client has
// gone or that can't be answered in time any more, and what the overload control gives up.
func (s *Scheduler) pick(now time.Time) *item {
	for {
		it := s.q.next()
		if it == nil {
			return nil
		}
		if s.judge(it.class, now) {
			continue // the order has changed, or something was dropped
		}
		if s.usable(it, now) {
			return it
		}
	}
}

// usable reports whether it is still worth a permit, and drops it otherwise.
func (s *Scheduler) usable(it *item, now time.Time) bool {
	switch {
	case it.ctx.Err() != nil:
		// Its own goroutine is about to take it out; it must not reach a worker before.
		s.refuse(it, reasonGone, now)
	case s.hopeless(it, now):
		s.refuse(it, reasonHopeless, now)
	default:
		return true
	}
	return false
}

// judge runs the overload control of a class. It reports whether that changed what comes next.
func (s *Scheduler) judge(class uint8, now time.Time) bool {
	c := &s.q.classes[class]
	oldest := c.all.head
	if oldest == nil {
		c.newest, c.codel = false, codel{}
		return false
	}
	target, interval := s.codelTimes()
	over := c.codel.over(now.Sub(oldest.at), target, interval, now)
	newest := over && class <= interactive
	changed := newest != c.newest
	c.newest = newest
	// Who set no deadline and finds room is not dropped for being old: nobody else gains by it.
	if newest && (!oldest.deadline.IsZero() || 2*s.queued() > s.opts.QueueLength) && c.all.n > 1 && c.codel.drop(interval, now) {
		s.refuse(oldest, reasonCoDel, now)
		return true
	}
	return changed
}

// interactive is the least urgent class in which the newest goes first under overload.
const interactive = uint8(request.DefaultUrgency)

func (s *Scheduler) codelTimes() (target, interval time.Duration) {
	trip := seconds(s.all.call)
	target = max(codelMinTarget, codelTargetTrips*trip)
	if k := s.opts.CoDelTarget; k.Knob != nil && k.Get() > 0 {
		target = k.Get()
	}
	if k := s.opts.CoDelInterval; k.Knob != nil && k.Get() > 0 {
		return target, max(k.Get(), target)
	}
	return target, max(codelMinInterval, codelIntervalTrips*trip, target)
}

// grant gives it a permit of its own.
func (s *Scheduler) grant(it *item, now time.Time) {
	s.q.take(it, now)
	s.inFlight++
	s.members++
	s.meanBatch += estimateGain * (1 - s.meanBatch)
	s.mark(it, now)
	it.ready <- struct{}{}
}

// mark notes that it was dispatched.
func (s *Scheduler) mark(it *item, now time.Time) {
	it.state, it.granted = itemGranted, now
	it.req.MarkStarted()
	s.counts.Dispatched++
}

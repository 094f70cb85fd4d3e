package scheduler

import (
	"time"

	"penstock/request"
)

// Reserve is for a call that is made again inside its permit, such as a retry: it counts as one more call of the
// rates and the quotas. It says how long to wait before it is made; ok is false, and nothing is
// counted, if that would be more than most.
func (s *Scheduler) Reserve(u request.Urgency, most time.Duration) (wait time.Duration, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	class := uint8(min(u, request.LeastUrgent))
	if wait, _ = s.limitWait(class, now); wait > most {
		return wait, false
	}
	for i := range s.windows {
		if w := &s.windows[i]; !w.off && !(w.pace && s.quotas.Ahead) {
			wait = max(wait, w.limiter.ReserveN(now, 1).DelayFrom(now))
		}
	}
	for _, w := range s.quotas.budgets {
		w.take(now)
	}
	s.started++
	s.came++
	return wait, true
}

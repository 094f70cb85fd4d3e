package scheduler

import "time"

// Spare reports whether a call that nobody asked for could go now without taking a permit, a place or a
// token that somebody wants: nobody waits, a permit besides the last one is free, and no rate or
// quota is short.
func (s *Scheduler) Spare() bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if free := s.opts.Workers.Get() - s.inFlight; free < 1 || free == 1 && s.inFlight > 0 {
		return false
	}
	if s.q.mask&ordinaryMask != 0 {
		return false
	}
	wait, _ := s.limitWait(backgroundClass, now)
	return wait == 0
}

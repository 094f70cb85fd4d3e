package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"penstock/engine"
	"penstock/request"
)

// dispatch begins jobs as they become due and slots are free, until ctx ends. They run under the second
// context.
func (s *Service) dispatch(ctx, running context.Context) {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		for s.slots() > 0 && ctx.Err() == nil {
			id, due := s.index.next(time.Now(), s.o.Nodes.Mine, leaveTo)
			if id == "" {
				if !due.IsZero() {
					timer.Reset(time.Until(due))
				}
				break
			}
			s.begin(running, id)
		}
	}
}

// slots is how many more jobs may begin.
func (s *Service) slots() int {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	return s.settings.Load().Running - len(s.runs.jobs)
}

// Running is how many jobs are under way on this node.
func (s *Service) Running() int {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	return len(s.runs.jobs)
}

// begin runs a job in a goroutine of its own.
func (s *Service) begin(ctx context.Context, id string) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.runs.mu.Lock()
	_, there := s.runs.jobs[id]
	if !there {
		s.runs.jobs[id] = cancel
		s.runs.all.Add(1)
	}
	s.runs.mu.Unlock()
	if there { // its last run is about to end
		cancel(nil)
		s.index.requeue(id, time.Now().Add(requeuePause))
		return
	}
	go func() {
		defer s.runs.all.Done()
		defer s.kick()
		defer func() {
			s.runs.mu.Lock()
			delete(s.runs.jobs, id)
			s.runs.mu.Unlock()
			cancel(nil)
		}()
		if err := s.run(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
			s.o.Log.Warn("jobs: a job could not be begun; trying again", "job", id, "error", err)
			s.index.requeue(id, time.Now().Add(requeuePause))
		}
	}()
}

// leaveTo is how long a job is left to the node to which it falls before others take it up: longer than that
// node takes to begin it if it is free.
const leaveTo = time.Second

// requeuePause is how long a job waits that could not be begun.
const requeuePause = time.Second

// run claims a job, runs it and writes down what it came to. An error means that it was not claimed.
func (s *Service) run(ctx context.Context, id string) error {
	j, revision, err := s.store.get(ctx, id)
	if err != nil {
		return err
	}
	now := time.Now()
	if j.State != Queued || j.RunAt.After(now) {
		return nil // it changed meanwhile; the index hears of it
	}
	if !j.Deadline.IsZero() && !now.Before(j.Deadline) {
		j.Fault = &Fault{request.ProblemDeadline, "the job's deadline passed before it could run"}
		j.end(Failed, now)
		return s.write(ctx, j, revision)
	}
	j.State, j.Owner, j.Started, j.Attempts = Running, s.owner, now, j.Attempts+1
	if revision, err = s.claim(ctx, j, revision); err != nil || revision == 0 {
		return err
	}
	a, err := s.call(ctx, j)
	s.settle(ctx, j, revision, a, err)
	return nil
}

// claim writes down that this node runs the job, and returns the record's revision; 0: somebody else
// has changed the job. While the engine does not tell whether the write took place, it asks.
func (s *Service) claim(ctx context.Context, j *Job, revision uint64) (uint64, error) {
	for {
		claimed, err := s.store.update(ctx, j, revision)
		if !errors.Is(err, ErrUnavailable) {
			if errors.Is(err, engine.ErrConflict) {
				err = nil
			}
			return claimed, err
		}
		for errors.Is(err, ErrUnavailable) {
			if err := wait(ctx, requeuePause); err != nil {
				return 0, err
			}
			var now *Job
			if now, claimed, err = s.store.get(ctx, j.ID); err == nil && now.Owner == j.Owner && now.Started.Equal(j.Started) {
				return claimed, nil
			}
		}
		if err != nil || claimed != revision {
			return 0, err
		}
	}
}

// write writes a record; that another was faster is no error.
func (s *Service) write(ctx context.Context, j *Job, revision uint64) error {
	if _, err := s.store.update(ctx, j, revision); err != nil {
		if errors.Is(err, engine.ErrConflict) {
			return nil
		}
		return err
	}
	s.ended(j)
	return nil
}

// call makes the call. A panic fails the attempt and not the process.
func (s *Service) call(ctx context.Context, j *Job) (a *Answer, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.o.Log.Error("jobs: a job panicked", "job", j.ID, "panic", fault)
			err = request.Errorf(request.ProblemInternal, "the job panicked")
		}
	}()
	if !j.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, j.Deadline)
		defer cancel()
	}
	a, err = s.o.Run(ctx, j)
	if err == nil && len(a.Body) > MaxResultBytes {
		return nil, request.AnswerTooLarge(MaxResultBytes)
	}
	return a, err
}

// settle writes down what an attempt came to. It goes on until that is on disk or somebody else has
// changed the job. ctx is the run's.
func (s *Service) settle(ctx context.Context, j *Job, revision uint64, a *Answer, err error) {
	if errors.Is(context.Cause(ctx), errCancelled) {
		return
	}
	s.outcome(j, a, err, ctx.Err() != nil)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		fault := s.finish(context.WithoutCancel(ctx), j, revision, a)
		if fault == nil {
			return
		}
		s.o.Log.Warn("jobs: what a job came to could not be written; trying again", "job", j.ID, "error", fault)
		if wait(ctx, pause) != nil {
			return // it is found running by the next start, and runs again
		}
	}
}

// outcome judges an attempt. cut: the service stops.
func (s *Service) outcome(j *Job, a *Answer, err error, cut bool) {
	settings, now := s.settings.Load(), time.Now()
	if a == nil {
		a = new(Answer)
	}
	fate, after := request.FateOf(a.Status, a.Header, err)
	if err != nil {
		j.Fault = faultOf(err)
		if cut {
			fate = request.FateWait
		}
	} else if fate == request.FateGood {
		j.Fault = nil
	} else {
		j.Fault = &Fault{request.ProblemUpstreamInvalid, fmt.Sprintf("the upstream answered %d", a.Status)}
	}
	late := !j.Deadline.IsZero() && !now.Before(j.Deadline)
	switch {
	case fate == request.FateGood:
		j.end(Done, now)
	case fate == request.FateFinal || late && !cut:
		j.end(Failed, now)
	case fate == request.FateWait:
		j.Attempts--
		j.again(now.Add(max(after, s.pause(settings, 1))))
	case j.Attempts >= j.MaxAttempts:
		j.end(Dead, now)
	default:
		j.again(now.Add(max(after, s.pause(settings, j.Attempts))))
	}
	if cut && j.State == Queued {
		j.RunAt = now
	}
}

// pause is how long to wait after so many attempts.
func (s *Service) pause(settings *Settings, attempts int) time.Duration {
	d := settings.MaxBackoff
	if shift := attempts - 1; shift < 30 {
		d = min(settings.Backoff<<shift, d)
	}
	return d - time.Duration(rand.Float64()*0.2*float64(d))
}

// finish writes an outcome. An error means that it is worth trying again.
func (s *Service) finish(ctx context.Context, j *Job, revision uint64, a *Answer) error {
	if a != nil && j.State.Ended() {
		if err := s.store.keepResult(ctx, j, revision, a); errors.Is(err, ErrFull) {
			j.Result = nil
			j.Fault = &Fault{request.ProblemInternal, "there was no room to keep the answer; make the jobs' results smaller or their retention shorter"}
			j.State = Failed
		} else if err != nil {
			return err
		}
	}
	_, err := s.store.update(ctx, j, revision)
	switch {
	case err == nil:
		s.ended(j)
		return nil
	case errors.Is(err, engine.ErrConflict):
		return s.conflict(ctx, j)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull):
		return err
	}
	s.o.Log.Error("jobs: what a job came to can't be written", "job", j.ID, "error", err)
	return err
}

// conflict looks who changed the record first: an earlier try of ours whose answer was lost, or somebody
// who may, and whose word then stands.
func (s *Service) conflict(ctx context.Context, j *Job) error {
	now, _, err := s.store.get(ctx, j.ID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if now.State == j.State && now.Ended.Equal(j.Ended) {
		s.ended(j)
		return nil
	}
	if j.Result != nil && j.Result.Apart {
		_ = s.store.blobs.Delete(ctx, j.blob()) // nobody asks for it; its age would end it too
	}
	return nil
}

// ended counts an end and has its webhook sent.
func (s *Service) ended(j *Job) {
	if !j.State.Ended() {
		return
	}
	s.counters.ended[j.State].Inc()
	token(s.hook)
}

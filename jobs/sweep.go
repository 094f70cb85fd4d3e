package jobs

import (
	"context"
	"errors"
	"time"

	"penstock/request"
)

const (
	// adoptInterval is how often the jobs of nodes that are gone are looked for, also when nobody tells of
	// such a node.
	adoptInterval = 2 * time.Second
	// sweepInterval is how often old jobs are looked for.
	sweepInterval = time.Minute
	// sweepBatch bounds what one look deletes.
	sweepBatch = 5000
)

// sweep deletes what is kept long enough, ends what waited too long and takes over what nobody runs,
// until ctx ends.
func (s *Service) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	look := time.NewTicker(adoptInterval)
	defer look.Stop()
	for {
		old := false
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-look.C:
		case <-ticker.C:
			old = true
		}
		if !s.ready() {
			continue
		}
		s.adopt(ctx)
		if old && s.o.Nodes.Leads() {
			s.tidy(ctx, time.Now())
		}
	}
}

func (s *Service) tidy(ctx context.Context, now time.Time) {
	settings := s.settings.Load()
	ended, late := s.index.old(now.Add(-settings.Retention), now.Add(-settings.MaxWait), sweepBatch)
	for _, id := range ended {
		if err := s.store.delete(ctx, id); err != nil {
			s.o.Log.Warn("jobs: an old job could not be deleted", "job", id, "error", err)
			return // the engine is away; the others wait for the next look
		}
	}
	for _, id := range late {
		j, err := s.store.change(ctx, id, func(j *Job) error {
			if j.State != Queued {
				return ErrEnded
			}
			if j.Fault == nil {
				j.Fault = &Fault{request.ProblemReducedCapacity, "it never had its turn"}
			}
			j.end(Dead, now)
			return nil
		})
		if err == nil {
			s.ended(j)
		} else if !errors.Is(err, ErrEnded) && !errors.Is(err, ErrNotFound) {
			return
		}
	}
}

package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"penstock/engine"
)

// store reads and writes records.
type store struct {
	kv    engine.KV
	blobs engine.Blobs
	index *index
}

func openStore(ctx context.Context, e engine.Engine, x *index, retention time.Duration) (*store, error) {
	kv, err := e.KV(ctx, engine.KVOptions{Name: bucketName, MaxBytes: bucketBytes, Transient: true})
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	// Results go by themselves too: one whose job was cancelled in the last moment has no record.
	blobs, err := e.Blobs(ctx, engine.BlobOptions{Name: blobsName, MaxBytes: blobsBytes, MaxAge: retention + time.Hour})
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return &store{kv: kv, blobs: blobs, index: x}, nil
}

// get reads a record and its revision.
func (s *store) get(ctx context.Context, id string) (*Job, uint64, error) {
	e, err := s.kv.Get(ctx, id)
	if err != nil {
		return nil, 0, translate(err)
	}
	j := new(Job)
	if err := json.Unmarshal(e.Value, j); err != nil {
		return nil, 0, fmt.Errorf("jobs: the record of %s can't be read: %w", id, err)
	}
	return j, e.Revision, nil
}

// create writes a new record; engine.ErrExists if there is one.
func (s *store) create(ctx context.Context, j *Job) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	revision, err := s.kv.Create(ctx, j.ID, raw)
	if err != nil {
		return translate(err)
	}
	s.index.put(j, revision, time.Now())
	return nil
}

// update writes a record in place of the revision given; engine.ErrConflict if there is another.
func (s *store) update(ctx context.Context, j *Job, revision uint64) (uint64, error) {
	raw, err := json.Marshal(j)
	if err != nil {
		return 0, err
	}
	next, err := s.kv.Update(ctx, j.ID, raw, revision)
	if err != nil {
		return 0, translate(err)
	}
	s.index.put(j, next, time.Now())
	return next, nil
}

// change reads a record, has f change it, and writes it; it begins anew when somebody else was faster.
// An error of f ends it.
func (s *store) change(ctx context.Context, id string, f func(*Job) error) (*Job, error) {
	for {
		j, revision, err := s.get(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := f(j); err != nil {
			return j, err
		}
		if _, err = s.update(ctx, j, revision); err == nil {
			return j, nil
		}
		if !errors.Is(err, engine.ErrConflict) {
			return nil, err
		}
	}
}

// delete removes a job that has ended.
func (s *store) delete(ctx context.Context, id string) error {
	j, revision, err := s.get(ctx, id)
	if errors.Is(err, ErrNotFound) { // another node was faster, and the watch did not tell
		s.index.remove(id, math.MaxUint64)
		return nil
	}
	if err != nil {
		return err
	}
	if j.Result != nil && j.Result.Apart {
		if err := s.blobs.Delete(ctx, j.blob()); err != nil {
			return translate(err)
		}
	}
	if err := s.kv.Delete(ctx, id); err != nil {
		return translate(err)
	}
	s.index.remove(id, revision+1)
	return nil
}

// keepResult puts an answer into the record, or beside it under a name of this run's own: a run that was
// taken for dead must not put its answer in the place of its successor's. revision is that of the claim.
func (s *store) keepResult(ctx context.Context, j *Job, revision uint64, a *Answer) error {
	j.Result = &Result{Status: a.Status, Header: a.Header, Bytes: len(a.Body)}
	if len(a.Body) <= inlineBytes {
		j.Result.Body = a.Body
		return nil
	}
	j.Result.Apart, j.Result.Run = true, revision
	return translate(s.blobs.Put(ctx, j.blob(), a.Body))
}

// body reads a result's body.
func (s *store) body(ctx context.Context, j *Job) ([]byte, error) {
	if !j.Result.Apart {
		return j.Result.Body, nil
	}
	b, err := s.blobs.Get(ctx, j.blob())
	return b, translate(err)
}

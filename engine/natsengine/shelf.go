package natsengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// shelf is an engine.Shelf: a stream in memory that keeps the last message of each subject and lets the oldest go. It has
// one replica: what is lost with it is only fetched again.
type shelf struct {
	opening[jetstream.Stream]
	subject string
}

// Shelf implements engine.Shelver.
func (e *Engine) Shelf(ctx context.Context, o engine.ShelfOptions) (engine.Shelf, error) {
	name := "SHELF_" + e.name(o.Name)
	s := &shelf{subject: "shelf." + e.name(o.Name) + "."}
	s.opening = opening[jetstream.Stream]{e: e, make: func(ctx context.Context) (jetstream.Stream, error) {
		return e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{s.subject + ">"}, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			Storage: jetstream.MemoryStorage, MaxBytes: o.MaxBytes, MaxMsgsPerSubject: 1, AllowMsgTTL: true, AllowDirect: true, Replicas: 1,
		})
	}}
	if err := s.first(ctx); err != nil {
		return nil, fmt.Errorf("open the shelf %s: %w", o.Name, err)
	}
	return s, nil
}

// Put implements engine.Shelf.
func (s *shelf) Put(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if err := engine.CheckKey(key); err != nil {
		return err
	}
	if len(data) > engine.MaxValueBytes {
		return engine.ErrTooLarge
	}
	whole := max((ttl + time.Second - 1).Truncate(time.Second), time.Second)
	return s.do(ctx, func(ctx context.Context, _ jetstream.Stream) error {
		_, err := s.e.js.Publish(ctx, s.subject+encodeKey(key), data, jetstream.WithMsgTTL(whole))
		return err
	})
}

// Get implements engine.Shelf.
func (s *shelf) Get(ctx context.Context, key string) (data []byte, err error) {
	if err := engine.CheckKey(key); err != nil {
		return nil, err
	}
	err = s.do(ctx, func(ctx context.Context, st jetstream.Stream) error {
		m, err := st.GetLastMsgForSubject(ctx, s.subject+encodeKey(key))
		if err == nil {
			data = m.Data
		}
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, engine.ErrNotFound
	}
	return data, err
}

// Delete implements engine.Shelf.
func (s *shelf) Delete(ctx context.Context, key string) error {
	if err := engine.CheckKey(key); err != nil {
		return err
	}
	return s.do(ctx, func(ctx context.Context, st jetstream.Stream) error {
		return st.Purge(ctx, jetstream.WithPurgeSubject(s.subject+encodeKey(key)))
	})
}

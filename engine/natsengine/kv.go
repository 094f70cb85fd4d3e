package natsengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// markerTTL is how long a transient bucket remembers that a key was deleted, so that watches hear of it.
const markerTTL = 10 * time.Minute

// bucket is an engine.KV.
type bucket struct {
	opening[jetstream.KeyValue]
	transient bool
}

// KV implements engine.Engine.
func (e *Engine) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	b := &bucket{transient: o.Transient}
	b.opening = opening[jetstream.KeyValue]{e: e, make: func(ctx context.Context) (jetstream.KeyValue, error) { return e.openBucket(ctx, o) }}
	if err := b.first(ctx); err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", o.Name, err)
	}
	return b, e.opened("KV_" + o.Name)
}

func (e *Engine) openBucket(ctx context.Context, o engine.KVOptions) (jetstream.KeyValue, error) {
	if e.remote == nil {
		config := jetstream.KeyValueConfig{Bucket: o.Name, History: 1, MaxBytes: o.MaxBytes, Storage: jetstream.FileStorage}
		if o.Transient {
			config.LimitMarkerTTL = markerTTL
		}
		return e.js.CreateOrUpdateKeyValue(ctx, config)
	}
	// A bucket as the client makes it, but for direct reads: those may be answered by a replica that has
	// not heard of the last write.
	name := e.name(o.Name)
	config := jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, MaxMsgsPerSubject: 1, MaxBytes: o.MaxBytes,
		MaxMsgSize: -1, MaxMsgs: -1, MaxConsumers: -1, Storage: jetstream.FileStorage, Replicas: e.replicas(),
		AllowRollup: true, DenyDelete: true, Duplicates: 2 * time.Minute, Discard: jetstream.DiscardNew,
	}
	if o.Transient {
		config.AllowMsgTTL, config.SubjectDeleteMarkerTTL = true, markerTTL
	}
	if _, err := e.js.CreateOrUpdateStream(ctx, config); err != nil {
		return nil, err
	}
	return e.js.KeyValue(ctx, name)
}

// Get implements engine.KV.
func (b *bucket) Get(ctx context.Context, key string) (e engine.Entry, err error) {
	if err := engine.CheckKey(key); err != nil {
		return e, err
	}
	err = b.do(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		got, err := kv.Get(ctx, encodeKey(key))
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrKeyDeleted) {
			return engine.ErrNotFound
		}
		if err == nil {
			e = entry(got)
		}
		return err
	})
	return e, err
}

// entry translates one; a key that encodeKey did not write is given as it is.
func entry(got jetstream.KeyValueEntry) engine.Entry {
	key, err := decodeKey(got.Key())
	if err != nil {
		key = got.Key()
	}
	return engine.Entry{
		Key: key, Value: got.Value(), Revision: got.Revision(), Time: got.Created(),
		Deleted: got.Operation() != jetstream.KeyValuePut,
	}
}

// List implements engine.KV.
func (b *bucket) List(ctx context.Context) ([]engine.Entry, error) {
	list := []engine.Entry{}
	err := b.do(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		list = list[:0]
		w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
		if err != nil {
			return err
		}
		defer stop(w)
		for {
			select {
			case got, ok := <-w.Updates():
				switch {
				case !ok:
					return cmp.Or(ctx.Err(), engine.ErrUnavailable)
				case got == nil:
					return nil // all that was there has been given
				}
				list = append(list, entry(got))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	slices.SortFunc(list, func(a, b engine.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return list, err
}

// stop ends a watch and takes what it still has to say, on which its goroutine would wait.
func stop(w jetstream.KeyWatcher) {
	_ = w.Stop()
	for range w.Updates() {
	}
}

// Put implements engine.KV.
func (b *bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, key, value, jetstream.KeyValue.Put)
}

// Create implements engine.KV.
func (b *bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := b.write(ctx, key, value, func(kv jetstream.KeyValue, ctx context.Context, key string, value []byte) (uint64, error) {
		return kv.Create(ctx, key, value)
	})
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, engine.ErrExists
	}
	return rev, err
}

// Update implements engine.KV.
func (b *bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	rev, err := b.write(ctx, key, value, func(kv jetstream.KeyValue, ctx context.Context, key string, value []byte) (uint64, error) {
		return kv.Update(ctx, key, value, revision)
	})
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, engine.ErrConflict
	}
	return rev, err
}

type writing func(kv jetstream.KeyValue, ctx context.Context, key string, value []byte) (uint64, error)

func (b *bucket) write(ctx context.Context, key string, value []byte, f writing) (rev uint64, err error) {
	if err := engine.CheckKey(key); err != nil {
		return 0, err
	}
	if len(value) > engine.MaxValueBytes {
		return 0, engine.ErrTooLarge
	}
	err = b.do(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		rev, err = f(kv, ctx, encodeKey(key), value)
		return err
	})
	return rev, namedFull(err)
}

// Delete implements engine.KV.
func (b *bucket) Delete(ctx context.Context, key string) error {
	if _, err := b.Get(ctx, key); errors.Is(err, engine.ErrNotFound) {
		return nil // else a marker would be written for nothing
	} else if err != nil {
		return err
	}
	return b.do(ctx, func(ctx context.Context, kv jetstream.KeyValue) error {
		if b.transient {
			return kv.Purge(ctx, encodeKey(key), jetstream.PurgeTTL(markerTTL))
		}
		return kv.Delete(ctx, encodeKey(key))
	})
}

// Watch implements engine.KV.
func (b *bucket) Watch(ctx context.Context) (<-chan engine.Entry, error) {
	var w jetstream.KeyWatcher
	own, cancel := context.WithCancel(ctx)
	err := b.do(ctx, func(_ context.Context, kv jetstream.KeyValue) (err error) {
		w, err = kv.WatchAll(own)
		return err
	})
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan engine.Entry)
	go func() {
		defer close(out)
		defer stop(w)
		defer cancel()
		b.forward(ctx, w, out)
	}()
	return out, nil
}

func (b *bucket) forward(ctx context.Context, w jetstream.KeyWatcher, out chan<- engine.Entry) {
	first := true
	for {
		select {
		case got, ok := <-w.Updates():
			switch {
			case !ok:
				return
			}
			e := engine.Entry{Current: true}
			if got == nil {
				first = false
			} else if e = entry(got); first && e.Deleted {
				continue // it went before the watch began
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			case <-b.e.quit:
				return
			}
		case <-ctx.Done():
			return
		case <-b.e.quit:
			return
		}
	}
}

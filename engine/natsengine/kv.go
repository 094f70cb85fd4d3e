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
	e         *Engine
	kv        jetstream.KeyValue
	transient bool
}

// KV implements engine.Engine.
func (e *Engine) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	b := &bucket{e: e, transient: o.Transient}
	config := jetstream.KeyValueConfig{Bucket: o.Name, History: 1, MaxBytes: o.MaxBytes, Storage: jetstream.FileStorage}
	if o.Transient {
		config.LimitMarkerTTL = markerTTL
	}
	err := e.call(ctx, func(ctx context.Context) (err error) {
		b.kv, err = e.js.CreateOrUpdateKeyValue(ctx, config)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", o.Name, err)
	}
	return b, e.opened("KV_" + o.Name)
}

// Get implements engine.KV.
func (b *bucket) Get(ctx context.Context, key string) (e engine.Entry, err error) {
	if err := engine.CheckKey(key); err != nil {
		return e, err
	}
	err = b.e.call(ctx, func(ctx context.Context) error {
		got, err := b.kv.Get(ctx, encodeKey(key))
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
	err := b.e.call(ctx, func(ctx context.Context) error {
		w, err := b.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
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
	return b.write(ctx, key, value, b.kv.Put)
}

// Create implements engine.KV.
func (b *bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := b.write(ctx, key, value, func(ctx context.Context, key string, value []byte) (uint64, error) {
		return b.kv.Create(ctx, key, value)
	})
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, engine.ErrExists
	}
	return rev, err
}

// Update implements engine.KV.
func (b *bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	rev, err := b.write(ctx, key, value, func(ctx context.Context, key string, value []byte) (uint64, error) {
		return b.kv.Update(ctx, key, value, revision)
	})
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, engine.ErrConflict
	}
	return rev, err
}

func (b *bucket) write(ctx context.Context, key string, value []byte, f func(context.Context, string, []byte) (uint64, error)) (rev uint64, err error) {
	if err := engine.CheckKey(key); err != nil {
		return 0, err
	}
	if len(value) > engine.MaxValueBytes {
		return 0, engine.ErrTooLarge
	}
	err = b.e.call(ctx, func(ctx context.Context) error {
		rev, err = f(ctx, encodeKey(key), value)
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
	return b.e.call(ctx, func(ctx context.Context) error {
		if b.transient {
			return b.kv.Purge(ctx, encodeKey(key), jetstream.PurgeTTL(markerTTL))
		}
		return b.kv.Delete(ctx, encodeKey(key))
	})
}

// Watch implements engine.KV.
func (b *bucket) Watch(ctx context.Context) (<-chan engine.Entry, error) {
	var w jetstream.KeyWatcher
	own, cancel := context.WithCancel(ctx)
	err := b.e.call(ctx, func(context.Context) (err error) {
		w, err = b.kv.WatchAll(own)
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

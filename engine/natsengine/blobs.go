package natsengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// blobs is an engine.Blobs: an object store, which cuts large values into pieces.
type blobs struct{ opening[jetstream.ObjectStore] }

// Blobs implements engine.Engine.
func (e *Engine) Blobs(ctx context.Context, o engine.BlobOptions) (engine.Blobs, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	b := &blobs{opening[jetstream.ObjectStore]{e: e, make: func(ctx context.Context) (jetstream.ObjectStore, error) {
		return e.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: e.name(o.Name), MaxBytes: o.MaxBytes, TTL: o.MaxAge, Storage: jetstream.FileStorage, Replicas: e.replicas(),
		})
	}}}
	if err := b.first(ctx); err != nil {
		return nil, fmt.Errorf("open the blobs %s: %w", o.Name, err)
	}
	return b, e.opened("OBJ_" + o.Name)
}

// Put implements engine.Blobs.
func (b *blobs) Put(ctx context.Context, key string, data []byte) error {
	if err := engine.CheckKey(key); err != nil {
		return err
	}
	return namedFull(b.do(ctx, func(ctx context.Context, store jetstream.ObjectStore) error {
		_, err := store.PutBytes(ctx, key, data)
		return err
	}))
}

// Get implements engine.Blobs.
func (b *blobs) Get(ctx context.Context, key string) (data []byte, err error) {
	if err := engine.CheckKey(key); err != nil {
		return nil, err
	}
	err = b.do(ctx, func(ctx context.Context, store jetstream.ObjectStore) error {
		data, err = store.GetBytes(ctx, key)
		return err
	})
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, engine.ErrNotFound
	}
	return data, err
}

// Delete implements engine.Blobs.
func (b *blobs) Delete(ctx context.Context, key string) error {
	if err := engine.CheckKey(key); err != nil {
		return err
	}
	err := b.do(ctx, func(ctx context.Context, store jetstream.ObjectStore) error { return store.Delete(ctx, key) })
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	return err
}

// namedFull names the failure that a bound makes.
func namedFull(err error) error {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == codeStreamStoreFailed {
		return fmt.Errorf("%w: %w", engine.ErrFull, err)
	}
	return err
}

// codeStreamStoreFailed is the server's JSStreamStoreFailedF: with DiscardNew, that a bound was met.
const codeStreamStoreFailed = 10077

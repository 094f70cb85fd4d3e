package engine

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"
)

// Blobs implements Engine.
func (m *Memory) Blobs(ctx context.Context, o BlobOptions) (Blobs, error) {
	if err := cmp.Or(m.usable(ctx), o.Defaults()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[o.Name]
	if !ok {
		b = &memoryBlobs{m: m, o: o, blobs: make(map[string]blob)}
		m.blobs[o.Name] = b
	}
	return b, nil
}

// memoryBlobs is a store of blobs of a Memory.
type memoryBlobs struct {
	m *Memory
	o BlobOptions

	mu    sync.Mutex // guards what follows
	blobs map[string]blob
	bytes int64
}

type blob struct {
	data []byte
	at   time.Time
}

// Put implements Blobs.
func (b *memoryBlobs) Put(ctx context.Context, key string, data []byte) error {
	if err := cmp.Or(b.m.usable(ctx), CheckKey(key)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for k, old := range b.blobs {
		if b.o.MaxAge > 0 && now.Sub(old.at) >= b.o.MaxAge {
			b.remove(k)
		}
	}
	if b.bytes+int64(len(data)-len(b.blobs[key].data)) > b.o.MaxBytes {
		return fmt.Errorf("%w: the store may hold %d bytes", ErrFull, b.o.MaxBytes)
	}
	b.remove(key)
	b.blobs[key] = blob{bytes.Clone(data), now}
	b.bytes += int64(len(data))
	return nil
}

// remove takes a blob out. The caller holds mu.
func (b *memoryBlobs) remove(key string) {
	b.bytes -= int64(len(b.blobs[key].data))
	delete(b.blobs, key)
}

// Get implements Blobs.
func (b *memoryBlobs) Get(ctx context.Context, key string) ([]byte, error) {
	if err := cmp.Or(b.m.usable(ctx), CheckKey(key)); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	found, ok := b.blobs[key]
	if !ok || b.o.MaxAge > 0 && time.Since(found.at) >= b.o.MaxAge {
		return nil, ErrNotFound
	}
	return bytes.Clone(found.data), nil
}

// Delete implements Blobs.
func (b *memoryBlobs) Delete(ctx context.Context, key string) error {
	if err := cmp.Or(b.m.usable(ctx), CheckKey(key)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(key)
	return nil
}

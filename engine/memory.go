package engine

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is an Engine that keeps everything in memory and nothing beyond its Close. Make it with
// NewMemory.
type Memory struct {
	mu      sync.Mutex // guards what follows
	kvs     map[string]*memoryKV
	logs    map[string]*memoryLog
	blobs   map[string]*memoryBlobs
	shelves map[string]*memoryShelf
	closed  chan struct{}
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		kvs: make(map[string]*memoryKV), logs: make(map[string]*memoryLog),
		blobs: make(map[string]*memoryBlobs), shelves: make(map[string]*memoryShelf), closed: make(chan struct{}),
	}
}

// usable reports why a call can't be served.
func (m *Memory) usable(ctx context.Context) error {
	select {
	case <-m.closed:
		return fmt.Errorf("%w: it was closed", ErrUnavailable)
	default:
		return ctx.Err()
	}
}

// KV implements Engine.
func (m *Memory) KV(ctx context.Context, o KVOptions) (KV, error) {
	if err := cmp.Or(m.usable(ctx), o.Defaults()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kv, ok := m.kvs[o.Name]
	if !ok {
		kv = &memoryKV{m: m, max: o.MaxBytes, entries: make(map[string]Entry), watches: make(map[*watch]bool)}
		m.kvs[o.Name] = kv
	}
	return kv, nil
}

// Log implements Engine.
func (m *Memory) Log(ctx context.Context, o LogOptions) (Log, error) {
	if err := cmp.Or(m.usable(ctx), o.Defaults()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.logs[o.Name]
	if !ok {
		l = &memoryLog{m: m, o: o}
		m.logs[o.Name] = l
	}
	return l, nil
}

// Status implements Engine.
func (m *Memory) Status() Status {
	if err := m.usable(context.Background()); err != nil {
		return Status{Kind: "memory", Detail: err.Error()}
	}
	return Status{Kind: "memory", OK: true}
}

// Close implements Engine.
func (m *Memory) Close(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	return nil
}

// memoryKV is a bucket of a Memory.
type memoryKV struct {
	m   *Memory
	max int64

	mu       sync.Mutex // guards what follows
	entries  map[string]Entry
	bytes    int64
	revision uint64
	watches  map[*watch]bool
}

// Get implements KV.
func (k *memoryKV) Get(ctx context.Context, key string) (Entry, error) {
	if err := cmp.Or(k.m.usable(ctx), CheckKey(key)); err != nil {
		return Entry{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.entries[key]
	if !ok {
		return Entry{}, ErrNotFound
	}
	return e.clone(), nil
}

// List implements KV.
func (k *memoryKV) List(ctx context.Context) ([]Entry, error) {
	if err := k.m.usable(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sorted(func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) }), nil
}

func (k *memoryKV) sorted(order func(a, b Entry) int) []Entry {
	all := make([]Entry, 0, len(k.entries))
	for _, e := range k.entries {
		all = append(all, e.clone())
	}
	slices.SortFunc(all, order)
	return all
}

// Put implements KV.
func (k *memoryKV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, value, func(Entry, bool) error { return nil })
}

// Create implements KV.
func (k *memoryKV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, value, func(_ Entry, there bool) error {
		if there {
			return ErrExists
		}
		return nil
	})
}

// Update implements KV.
func (k *memoryKV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.write(ctx, key, value, func(e Entry, _ bool) error {
		if e.Revision != revision {
			return ErrConflict
		}
		return nil
	})
}

func (k *memoryKV) write(ctx context.Context, key string, value []byte, check func(Entry, bool) error) (uint64, error) {
	if err := cmp.Or(k.m.usable(ctx), CheckKey(key)); err != nil {
		return 0, err
	}
	if len(value) > MaxValueBytes {
		return 0, ErrTooLarge
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old, there := k.entries[key]
	if err := check(old, there); err != nil {
		return 0, err
	}
	size := k.bytes + int64(len(value)-len(old.Value))
	if !there {
		size += int64(len(key))
	}
	if size > k.max {
		return 0, fmt.Errorf("%w: the bucket may hold %d bytes", ErrFull, k.max)
	}
	k.revision++
	k.bytes = size
	e := Entry{Key: key, Value: bytes.Clone(value), Revision: k.revision, Time: time.Now()}
	k.entries[key] = e
	k.tell(e)
	return e.Revision, nil
}

// Delete implements KV.
func (k *memoryKV) Delete(ctx context.Context, key string) error {
	if err := cmp.Or(k.m.usable(ctx), CheckKey(key)); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old, ok := k.entries[key]
	if !ok {
		return nil
	}
	k.revision++
	k.bytes -= int64(len(key) + len(old.Value))
	delete(k.entries, key)
	k.tell(Entry{Key: key, Revision: k.revision, Time: time.Now(), Deleted: true})
	return nil
}

func (e Entry) clone() Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}

// watch is one reader of a bucket's changes. What it has not read yet is kept by key, so a slow
// reader costs no more than the bucket.
type watch struct {
	wake    chan struct{}
	pending []Entry // guarded by the bucket's mu; in order of revision, one for each key
}

// tell passes a change to the watches. The caller holds mu.
func (k *memoryKV) tell(e Entry) {
	for w := range k.watches {
		w.pending = slices.DeleteFunc(w.pending, func(old Entry) bool { return !old.Current && old.Key == e.Key })
		w.pending = append(w.pending, e)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch implements KV.
func (k *memoryKV) Watch(ctx context.Context) (<-chan Entry, error) {
	if err := k.m.usable(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := &watch{wake: make(chan struct{}, 1), pending: k.sorted(func(a, b Entry) int { return cmp.Compare(a.Revision, b.Revision) })}
	w.pending = append(w.pending, Entry{Current: true})
	w.wake <- struct{}{}
	k.watches[w] = true
	out := make(chan Entry)
	go k.feed(ctx, w, out)
	return out, nil
}

func (k *memoryKV) feed(ctx context.Context, w *watch, out chan<- Entry) {
	defer close(out)
	defer func() {
		k.mu.Lock()
		delete(k.watches, w)
		k.mu.Unlock()
	}()
	for {
		k.mu.Lock()
		var e Entry
		more := len(w.pending) > 0
		if more {
			e = w.pending[0].clone()
			w.pending = w.pending[1:]
		}
		k.mu.Unlock()
		var to chan<- Entry
		wake := w.wake
		if more {
			to, wake = out, nil
		}
		select {
		case to <- e:
		case <-wake:
		case <-ctx.Done():
			return
		case <-k.m.closed:
			return
		}
	}
}

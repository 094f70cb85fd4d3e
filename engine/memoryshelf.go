package engine

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"
)

// Shelf implements Shelver. The same name gives the same shelf.
func (m *Memory) Shelf(ctx context.Context, o ShelfOptions) (Shelf, error) {
	if err := cmp.Or(m.usable(ctx), checkName(o.Name)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.shelves[o.Name]
	if !ok {
		s = &memoryShelf{m: m, max: o.MaxBytes, values: make(map[string]shelved)}
		m.shelves[o.Name] = s
	}
	return s, nil
}

// memoryShelf is a shelf of a Memory.
type memoryShelf struct {
	m   *Memory
	max int64

	mu     sync.Mutex // guards what follows
	values map[string]shelved
	bytes  int64
	number uint64
}

type shelved struct {
	data   []byte
	ends   time.Time
	number uint64 // rises: the lowest is the oldest
}

// Put implements Shelf.
func (s *memoryShelf) Put(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if err := cmp.Or(s.m.usable(ctx), CheckKey(key)); err != nil {
		return err
	}
	if len(data) > MaxValueBytes {
		return ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
	s.number++
	s.values[key] = shelved{bytes.Clone(data), time.Now().Add(ttl), s.number}
	s.bytes += int64(len(key) + len(data))
	for s.bytes > s.max {
		oldest := ""
		for k, v := range s.values {
			if oldest == "" || v.number < s.values[oldest].number {
				oldest = k
			}
		}
		s.remove(oldest)
	}
	return nil
}

// remove takes a value out. The caller holds mu.
func (s *memoryShelf) remove(key string) {
	if v, ok := s.values[key]; ok {
		s.bytes -= int64(len(key) + len(v.data))
		delete(s.values, key)
	}
}

// Get implements Shelf.
func (s *memoryShelf) Get(ctx context.Context, key string) ([]byte, error) {
	if err := cmp.Or(s.m.usable(ctx), CheckKey(key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok || !time.Now().Before(v.ends) {
		s.remove(key)
		return nil, ErrNotFound
	}
	return bytes.Clone(v.data), nil
}

// Delete implements Shelf.
func (s *memoryShelf) Delete(ctx context.Context, key string) error {
	if err := cmp.Or(s.m.usable(ctx), CheckKey(key)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
	return nil
}

package engine

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// memoryLog is a log of a Memory.
type memoryLog struct {
	m *Memory
	o LogOptions

	mu      sync.Mutex // guards what follows
	records []Record   // oldest first
	bytes   int64
	seq     uint64        // of the newest ever
	grown   chan struct{} // closed by the next Append; nil: nobody waits
}

// Append implements Log.
func (l *memoryLog) Append(ctx context.Context, data []byte) (uint64, error) {
	if err := l.m.usable(ctx); err != nil {
		return 0, err
	}
	if len(data) > MaxValueBytes {
		return 0, ErrTooLarge
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	l.records = append(l.records, Record{Seq: l.seq, Time: time.Now(), Data: bytes.Clone(data)})
	l.bytes += int64(len(data))
	l.retain()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.seq, nil
}

// retain drops the oldest records beyond the bounds. The caller holds mu.
func (l *memoryLog) retain() {
	now := time.Now()
	n := 0
	for _, r := range l.records {
		over := l.o.MaxRecords > 0 && int64(len(l.records)-n) > l.o.MaxRecords
		old := l.o.MaxAge > 0 && now.Sub(r.Time) > l.o.MaxAge
		if !over && !old && l.bytes <= l.o.MaxBytes {
			break
		}
		l.bytes -= int64(len(r.Data))
		n++
	}
	l.records = slices.Delete(l.records, 0, n)
}

// Read implements Log.
func (l *memoryLog) Read(ctx context.Context, after uint64, limit int) ([]Record, error) {
	if err := l.m.usable(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retain()
	from, _ := slices.BinarySearchFunc(l.records, after, func(r Record, after uint64) int {
		if r.Seq <= after {
			return -1
		}
		return 1
	})
	found := slices.Clone(l.records[from:min(len(l.records), from+max(limit, 0))])
	for i := range found {
		found[i].Data = bytes.Clone(found[i].Data)
	}
	return found, nil
}

// Bounds implements Log.
func (l *memoryLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	if err := l.m.usable(ctx); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retain()
	if len(l.records) == 0 {
		return l.seq + 1, l.seq, nil
	}
	return l.records[0].Seq, l.seq, nil
}

// Follow implements Log.
func (l *memoryLog) Follow(ctx context.Context, after uint64) (<-chan Record, error) {
	if err := l.m.usable(ctx); err != nil {
		return nil, err
	}
	out := make(chan Record)
	go func() {
		defer close(out)
		for {
			found, grown := l.following(after)
			for _, r := range found {
				select {
				case out <- r:
					after = r.Seq
				case <-ctx.Done():
					return
				case <-l.m.closed:
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			case <-l.m.closed:
				return
			}
		}
	}()
	return out, nil
}

// following returns some records after a number, and what is closed when there may be more.
func (l *memoryLog) following(after uint64) ([]Record, <-chan struct{}) {
	const page = 64
	l.mu.Lock()
	grown := l.grown
	if grown == nil {
		grown = make(chan struct{})
		l.grown = grown
	}
	l.mu.Unlock()
	found, err := l.Read(context.Background(), after, page)
	if err == nil && len(found) == page {
		now := make(chan struct{})
		close(now)
		return found, now
	}
	return found, grown
}

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

// Queue implements Engine.
func (m *Memory) Queue(ctx context.Context, o QueueOptions) (Queue, error) {
	if err := cmp.Or(m.usable(ctx), o.Defaults()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.queues[o.Name]
	if !ok {
		q = &memoryQueue{m: m, o: o, tasks: make([][]*memoryTask, o.Classes), known: make(map[string]time.Time)}
		m.queues[o.Name] = q
	}
	return q, nil
}

// memoryQueue is a queue of a Memory.
type memoryQueue struct {
	m *Memory
	o QueueOptions

	mu    sync.Mutex // guards what follows
	tasks [][]*memoryTask
	bytes int64
	known map[string]time.Time // ids, and until when they are known
}

// memoryTask is a task; its queue's mu guards it.
type memoryTask struct {
	q          *memoryQueue
	class      int
	data       []byte
	deliveries int
	held       time.Time // until when; zero: by nobody
}

// taken is one taking of a task.
type taken struct {
	*memoryTask
	delivery int
}

// Put implements Queue.
func (q *memoryQueue) Put(ctx context.Context, class int, id string, data []byte) error {
	if err := cmp.Or(q.m.usable(ctx), q.o.CheckClass(class)); err != nil {
		return err
	}
	if len(data) > MaxValueBytes {
		return ErrTooLarge
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if until, ok := q.known[id]; ok && now.Before(until) {
		return nil
	}
	if q.bytes+int64(len(data)) > q.o.MaxBytes {
		return fmt.Errorf("%w: the queue may hold %d bytes", ErrFull, q.o.MaxBytes)
	}
	for old, until := range q.known {
		if !now.Before(until) {
			delete(q.known, old)
		}
	}
	q.known[id] = now.Add(q.o.Remember)
	q.bytes += int64(len(data))
	q.tasks[class] = append(q.tasks[class], &memoryTask{q: q, class: class, data: bytes.Clone(data)})
	return nil
}

// Take implements Queue.
func (q *memoryQueue) Take(ctx context.Context, class, limit int) ([]Task, error) {
	if err := cmp.Or(q.m.usable(ctx), q.o.CheckClass(class)); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	var tasks []Task
	for _, t := range q.tasks[class] {
		if len(tasks) == limit {
			break
		}
		if now.Before(t.held) {
			continue
		}
		t.deliveries++
		t.held = now.Add(q.o.Hold)
		tasks = append(tasks, &taken{t, t.deliveries})
	}
	return tasks, nil
}

// Len implements Queue.
func (q *memoryQueue) Len(ctx context.Context) (int, error) {
	if err := q.m.usable(ctx); err != nil {
		return 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, class := range q.tasks {
		n += len(class)
	}
	return n, nil
}

// Data implements Task.
func (t *taken) Data() []byte { return t.data }

// Deliveries implements Task.
func (t *taken) Deliveries() int { return t.delivery }

// Done implements Task.
func (t *taken) Done(ctx context.Context) error {
	return t.change(ctx, func() {
		q := t.q
		before := len(q.tasks[t.class])
		q.tasks[t.class] = slices.DeleteFunc(q.tasks[t.class], func(x *memoryTask) bool { return x == t.memoryTask })
		if len(q.tasks[t.class]) < before {
			q.bytes -= int64(len(t.data))
		}
	})
}

// Extend implements Task.
func (t *taken) Extend(ctx context.Context) error {
	return t.change(ctx, func() { t.held = time.Now().Add(t.q.o.Hold) })
}

// Return implements Task.
func (t *taken) Return(ctx context.Context) error {
	return t.change(ctx, func() { t.held = time.Time{} })
}

// change runs f unless somebody else has taken the task since.
func (t *taken) change(ctx context.Context, f func()) error {
	if err := t.q.m.usable(ctx); err != nil {
		return err
	}
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	if t.deliveries == t.delivery {
		f()
	}
	return nil
}

package engine

import (
	"context"
	"fmt"
	"time"
)

// QueueOptions describe a queue.
type QueueOptions struct {
	// Name is made of a-z, 0-9, _ and -, at most 32 long.
	Name string
	// Classes is how many classes its tasks have, 1 to MaxClasses. A taker says from which it takes.
	Classes int
	// MaxBytes is the most that the queue may take; a Put beyond it fails with ErrFull. 0: 64 MiB.
	MaxBytes int64
	// Hold is how long a task belongs to who took it; then it is given to the next unless it was
	// extended or done. 0: 30 s.
	Hold time.Duration
	// Remember is how long the queue knows the ids that were put, to drop what comes twice. 0: 2 min.
	Remember time.Duration
}

// The bounds and defaults of a queue.
const (
	MaxClasses           = 16
	DefaultQueueBytes    = 64 << 20
	DefaultQueueHold     = 30 * time.Second
	DefaultQueueRemember = 2 * time.Minute
)

// Defaults sets what is zero and checks the rest.
func (o *QueueOptions) Defaults() error {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultQueueBytes
	}
	if o.Hold <= 0 {
		o.Hold = DefaultQueueHold
	}
	if o.Remember <= 0 {
		o.Remember = DefaultQueueRemember
	}
	if o.Classes < 1 || o.Classes > MaxClasses {
		return fmt.Errorf("engine: a queue has 1 to %d classes, not %d", MaxClasses, o.Classes)
	}
	return checkName(o.Name)
}

// CheckClass reports why class can't be one of this queue, nil if it can.
func (o *QueueOptions) CheckClass(class int) error {
	if class < 0 || class >= o.Classes {
		return fmt.Errorf("engine: the queue has the classes 0 to %d, not %d", o.Classes-1, class)
	}
	return nil
}

// Queue holds tasks until somebody has done them. Each is given to one taker at a time, at least once:
// a taker that dies or is too slow is followed by another.
type Queue interface {
	// Put adds a task at the end of a class. If one with the same id was put a short while ago
	// (QueueOptions.Remember), nothing is added and nil returned.
	Put(ctx context.Context, class int, id string, data []byte) error
	// Take gives up to limit tasks of a class that nobody holds, the oldest first. It does not wait:
	// none means that there are none now.
	Take(ctx context.Context, class, limit int) ([]Task, error)
	// Len is how many tasks are in the queue, taken ones too.
	Len(ctx context.Context) (int, error)
}

// Task is a task that was taken.
type Task interface {
	// Data is what was put. It must not be changed.
	Data() []byte
	// Deliveries is how often the task was taken, this time included.
	Deliveries() int
	// Done removes it from the queue. That somebody else has it by now is no error.
	Done(ctx context.Context) error
	// Extend makes the hold begin anew.
	Extend(ctx context.Context) error
	// Return gives it back at once.
	Return(ctx context.Context) error
}

// BlobOptions describe a store of blobs.
type BlobOptions struct {
	// Name is made of a-z, 0-9, _ and -, at most 32 long.
	Name string
	// MaxBytes is the most that the store may take; a Put beyond it fails with ErrFull. 0: 256 MiB.
	MaxBytes int64
	// MaxAge is how long a blob is kept; 0: until it is deleted.
	MaxAge time.Duration
}

// DefaultBlobBytes is the default of BlobOptions.MaxBytes.
const DefaultBlobBytes = 256 << 20

// Defaults sets what is zero and checks the rest.
func (o *BlobOptions) Defaults() error {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultBlobBytes
	}
	return checkName(o.Name)
}

// Blobs holds values of any size by key; unlike in a KV they have no revisions and can't be watched.
type Blobs interface {
	// Put writes whatever is there. What was there stays until the new one is whole.
	Put(ctx context.Context, key string, data []byte) error
	// Get returns the blob, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Delete removes it; that it was not there is no error.
	Delete(ctx context.Context, key string) error
}

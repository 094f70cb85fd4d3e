package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The errors that a caller acts on. Others mean that the call failed for a reason of its own; whether
// the write took place is then unknown.
var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("engine: not found")
	// ErrExists: Create found the key there already.
	ErrExists = errors.New("engine: the key exists already")
	// ErrConflict: Update found another revision than the one it was told.
	ErrConflict = errors.New("engine: the key was changed meanwhile")
	// ErrUnavailable: the engine is away, stopped or too slow; try again later.
	ErrUnavailable = errors.New("engine: not available")
	// ErrTooLarge: the value is over [MaxValueBytes].
	ErrTooLarge = errors.New("engine: the value is too large")
	// ErrFull: the bucket or store has met its bound.
	ErrFull = errors.New("engine: full")
)

// The bounds of a key and of a value in bytes. A key may hold any bytes, and at least one.
const (
	MaxKeyBytes   = 256
	MaxValueBytes = 512 << 10
)

// Engine opens buckets and logs by name, making those that are new. The same name gives the same
// contents; a bucket and a log may have the same name.
type Engine interface {
	KV(ctx context.Context, o KVOptions) (KV, error)
	Log(ctx context.Context, o LogOptions) (Log, error)
	Blobs(ctx context.Context, o BlobOptions) (Blobs, error)
	// Status tells how the engine is, at once and without asking it.
	Status() Status
	// Close ends everything, watches too; later calls fail with ErrUnavailable. Idempotent. What was
	// acknowledged is kept; ctx bounds the wait for a clean end.
	Close(ctx context.Context) error
}

// KVOptions describe a bucket.
type KVOptions struct {
	// Name is made of a-z, 0-9, _ and -, at most 32 long.
	Name string
	// MaxBytes is the most that the bucket may take; a Put beyond it fails with ErrFull. 0: 16 MiB.
	MaxBytes int64
	// Transient is for keys that come and go without end: what a deletion leaves behind goes too,
	// after a while.
	Transient bool
}

// LogOptions describe a log. The oldest records go when any bound is met.
type LogOptions struct {
	// Name is made of a-z, 0-9, _ and -, at most 32 long.
	Name string
	// MaxAge is how long a record is kept; 0: for ever.
	MaxAge time.Duration
	// MaxBytes is the most that the log takes; 0: 64 MiB.
	MaxBytes int64
	// MaxRecords is the most records that it holds; 0: no bound.
	MaxRecords int64
}

// The defaults of the options.
const (
	DefaultKVBytes  = 16 << 20
	DefaultLogBytes = 64 << 20
)

// Defaults sets what is zero and checks the rest.
func (o *KVOptions) Defaults() error {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultKVBytes
	}
	return checkName(o.Name)
}

// Defaults sets what is zero and checks the rest.
func (o *LogOptions) Defaults() error {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultLogBytes
	}
	return checkName(o.Name)
}

func checkName(name string) error {
	ok := name != "" && len(name) <= 32
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("engine: %q is no name for a bucket or log: take a-z, 0-9, _ and -, at most 32", name)
	}
	return nil
}

// CheckKey reports why key can't be one, nil if it can.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKeyBytes {
		return fmt.Errorf("engine: a key has 1 to %d bytes, not %d", MaxKeyBytes, len(key))
	}
	return nil
}

// Entry is one key of a bucket.
type Entry struct {
	Key   string
	Value []byte
	// Revision rises with every write to the bucket.
	Revision uint64
	// Time is when it was written.
	Time time.Time
	// Deleted marks, in a watch, that the key went.
	Deleted bool
	// Current marks, in a watch, that all that was there at its beginning has been given.
	Current bool
}

// KV is a bucket: values by key.
type KV interface {
	// Get returns the entry of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns all entries in order of key.
	List(ctx context.Context) ([]Entry, error)
	// Put writes whatever is there.
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Create writes only if the key is not there, else ErrExists.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update writes only if the key's revision is still the one given, else ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes the key; that it was not there is no error.
	Delete(ctx context.Context, key string) error
	// Watch gives every entry that is there, then one with Current set and nothing else, and then each
	// change in order, until ctx ends, the engine closes or it loses track (a cluster may); then the
	// channel is closed. A slow reader may be given only the last of several changes of one key.
	Watch(ctx context.Context) (<-chan Entry, error)
}

// Record is one record of a log.
type Record struct {
	// Seq begins at 1 and rises.
	Seq  uint64
	Time time.Time
	Data []byte
}

// Log is an append-only list of records.
type Log interface {
	// Append adds a record at the end.
	Append(ctx context.Context, data []byte) (seq uint64, err error)
	// Read returns up to limit records whose sequence number is over after, oldest first; none: the
	// end was reached.
	Read(ctx context.Context, after uint64, limit int) ([]Record, error)
	// Follow gives every record whose sequence number is over after, in order, and then each as it is
	// appended, until ctx ends, the engine closes or it loses track (a cluster may); then the channel is
	// closed, and whoever wants more follows on from the last number that he saw.
	Follow(ctx context.Context, after uint64) (<-chan Record, error)
	// Bounds returns the numbers of the oldest and the newest record kept; last < first: it is empty.
	Bounds(ctx context.Context) (first, last uint64, err error)
}

// Status is how an engine is.
type Status struct {
	// Kind is "memory", "embedded" or "cluster".
	Kind string `json:"kind"`
	// OK is false while the engine can't be reached.
	OK bool `json:"ok"`
	// Detail says why not.
	Detail string `json:"detail,omitempty"`
}

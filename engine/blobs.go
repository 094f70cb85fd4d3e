package engine

import (
	"context"
	"time"
)

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

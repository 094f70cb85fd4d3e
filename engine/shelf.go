package engine

import (
	"context"
	"time"
)

// Shelf holds values by key, each for a time of its own. It is a cache: when it is full the oldest go, and what it holds may
// go at any time.
type Shelf interface {
	// Put writes whatever is there. ttl is rounded up to whole seconds.
	Put(ctx context.Context, key string, data []byte, ttl time.Duration) error
	// Get returns the value, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Delete removes it; that it was not there is no error.
	Delete(ctx context.Context, key string) error
}

// ShelfOptions describe a shelf.
type ShelfOptions struct {
	// Name is made of a-z, 0-9, _ and -, at most 32 long.
	Name string
	// MaxBytes is the most that it takes, in memory. Required.
	MaxBytes int64
}

// Shelver is an Engine that has shelves.
type Shelver interface {
	Shelf(ctx context.Context, o ShelfOptions) (Shelf, error)
}

package cache

import (
	"context"
	"sync"
)

// disk keeps the cache in a file over a restart.
type disk struct {
	c       *Cache
	path    string
	changed chan struct{} // wakes maintain

	saving sync.Mutex // held by the one who writes the file

	mu      sync.Mutex // guards what follows
	loading bool
	// forgotten are the purges since loading began.
	forgotten []func(key, route, upstream string) bool
}

func newDisk(c *Cache, path string) *disk {
	return &disk{c: c, path: path, changed: make(chan struct{}, 1), loading: path != ""}
}

func (d *disk) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// forget keeps what matches from being loaded.
func (d *disk) forget(match func(key, route, upstream string) bool) {
	d.mu.Lock()
	if d.loading {
		d.forgotten = append(d.forgotten, match)
	}
	d.mu.Unlock()
}

func (d *disk) load() {}

func (d *disk) save(ctx context.Context) error { return nil }

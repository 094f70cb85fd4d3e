package app

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// diskInterval is how often the disk is looked at. A look can hang with a network file system, so it
// is made by a goroutine of its own.
const diskInterval = 15 * time.Second

// disk knows how full the disk of data_dir is.
type disk struct {
	dir  string
	bits atomic.Uint64 // the share used, as a float64; NaN: unknown
}

func newDisk(dir string) *disk {
	d := &disk{dir: dir}
	d.look()
	return d
}

func (d *disk) look() {
	used := math.NaN()
	if d.dir != "" {
		if share, err := diskUsed(d.dir); err == nil {
			used = share
		}
	}
	d.bits.Store(math.Float64bits(used))
}

// used is the share of the disk that is used, 0..1; false if there is no data_dir, or its disk can't
// be asked.
func (d *disk) used() (float64, bool) {
	if d == nil {
		return 0, false
	}
	v := math.Float64frombits(d.bits.Load())
	if math.IsNaN(v) {
		return 0, false
	}
	return v, true
}

// watch looks until ctx ends.
func (d *disk) watch(ctx context.Context) {
	if d.dir == "" {
		return
	}
	ticker := time.NewTicker(diskInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.look()
		}
	}
}

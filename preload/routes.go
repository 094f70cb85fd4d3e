package preload

import (
	"time"

	"penstock/preload/learn"
	"penstock/request"
)

const maxRoutes = 1024

// routeCounts say what became of the prefetches of a route.
type routeCounts struct {
	Issued, Redundant, Unstored uint64
	Ended                       [learn.Fates]uint64
	WastedBytes                 uint64
	Saved                       time.Duration
}

// routeRecord is what is known of a route.
type routeRecord struct {
	upstream, name string
	wait           time.Duration // how long a call takes, smoothed
	counts         routeCounts
}

// took takes in how long a call took.
func (r *routeRecord) took(d time.Duration) {
	switch {
	case d <= 0:
	case r.wait == 0:
		r.wait = d
	default:
		r.wait += (d - r.wait) / 8
	}
}

func (r *routeRecord) latency() int64 { return int64(r.wait) }

// routes are what is known of each route.
type routes struct{ table *clockTable[*routeRecord] }

func newRoutes() *routes { return &routes{newClockTable[*routeRecord](maxRoutes)} }

// of returns the record of a route, a new one if need be.
func (t *routes) of(hash uint64, r *request.Request) *routeRecord {
	v := t.table.add(hash, nil)
	if *v == nil {
		*v = &routeRecord{}
	}
	if x := *v; x.name == "" && r != nil && r.Route != nil {
		x.upstream, x.name = r.Route.Upstream, r.Route.Name
	}
	return *v
}

// known returns the record of a route, nil if there is none.
func (t *routes) known(hash uint64) *routeRecord {
	if v := t.table.get(hash); v != nil {
		return *v
	}
	return nil
}

package preload

// maxOutstanding bounds the prefetches whose routes and sizes are followed.
const maxOutstanding = 1 << 16

// outstanding follows the prefetches without a fate: their routes and sizes. Not safe for concurrent
// use.
type outstanding struct{ table *clockTable[followed] }

type followed struct {
	route uint64
	since int64 // model time
	bytes int64
}

func newOutstanding() *outstanding { return &outstanding{newClockTable[followed](maxOutstanding)} }

func (o *outstanding) issue(key, route uint64, now int64) {
	*o.table.add(key, nil) = followed{route: route, since: now}
}

func (o *outstanding) size(key uint64, bytes int64) {
	if f := o.table.get(key); f != nil {
		f.bytes = bytes
	}
}

// take ends the following of a prefetch.
func (o *outstanding) take(key uint64) followed {
	f := o.table.get(key)
	if f == nil {
		return followed{}
	}
	x := *f
	o.table.remove(key)
	return x
}

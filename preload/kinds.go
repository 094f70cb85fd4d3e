package preload

import (
	"strings"
	"time"

	"penstock/request"
)

const (
	// kindDoubts is how many more answers of a kind may turn out not to be kept than kept before the kind is
	// left alone for pauseUnkept.
	kindDoubts = 2
	maxKinds   = 4096
	// longSegment is the longest segment of a path that is taken for a name.
	longSegment = 32
)

// kinds remember of which kinds of requests the answers are kept by the cache. A kind is a declared route, or
// on the proxy path the path with what looks like an id left out. Not safe for concurrent use.
type kinds struct{ table *clockTable[kindRecord] }

type kindRecord struct {
	doubts int // answers not kept less answers kept, within narrow bounds
	until  time.Time
}

func newKinds() *kinds { return &kinds{newClockTable[kindRecord](maxKinds)} }

// note takes in whether an answer of the kind is kept.
func (k *kinds) note(kind uint64, kept bool, now time.Time) {
	r := k.table.add(kind, nil)
	if kept {
		r.doubts = max(r.doubts-1, -kindDoubts)
		return
	}
	r.doubts = min(r.doubts+1, kindDoubts)
	if r.doubts == kindDoubts {
		r.until = now.Add(pauseUnkept)
	}
}

// worthwhile reports whether prefetches of the kind have a chance to be kept.
func (k *kinds) worthwhile(kind uint64, now time.Time) bool {
	r := k.table.get(kind)
	return r == nil || r.doubts < kindDoubts || !now.Before(r.until)
}

// kindOf is the kind of a request.
func (h hasher) kindOf(r *request.Request) uint64 {
	if r.Route == nil || r.Params != nil {
		return h.route(r.Route)
	}
	s := h.begin()
	s.text(r.Route.Upstream)
	for path := r.Path; path != ""; {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		if len(segment) > longSegment || strings.ContainsAny(segment, "0123456789") {
			segment = "*"
		}
		s.text(segment)
	}
	return s.end() | 1
}

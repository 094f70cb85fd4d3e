package observe

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSpan is how far back a Window reaches unless told otherwise.
const DefaultSpan = 2 * time.Minute

// WindowOptions sets up a Window.
type WindowOptions struct {
	// Span is how far back the window reaches: default DefaultSpan, at least 10 s, at most 1 h.
	// More costs about half a kilobyte for each second in which a route had traffic.
	Span time.Duration
}

// Window keeps the last seconds of all requests and upstream calls, by route, in slots of one
// second, and answers with [Signals] over any part of it. What an upstream does is the sum over its
// routes.
type Window struct {
	born       time.Time
	slots      int
	generation atomic.Uint64 // counts Forgets

	mu     sync.RWMutex // guards routes
	routes map[RouteName]*routeWindow
}

type routeWindow struct {
	requests ring[requestCounts]
	calls    ring[callCounts]
	inFlight atomic.Int64
}

// NewWindow returns an empty Window.
func NewWindow(o WindowOptions) *Window {
	if o.Span == 0 {
		o.Span = DefaultSpan
	}
	span := min(max(o.Span, 10*time.Second), time.Hour)
	return &Window{
		born:   time.Now(),
		slots:  int(span/slotLength) + 1,
		routes: make(map[RouteName]*routeWindow),
	}
}

func (w *Window) epoch(t time.Time) int64 {
	d := t.Sub(w.born)
	if d < 0 {
		return -1
	}
	return int64(d / slotLength)
}

func (w *Window) route(n RouteName) *routeWindow {
	w.mu.RLock()
	r, ok := w.routes[n]
	w.mu.RUnlock()
	if ok {
		return r
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok = w.routes[n]; !ok {
		r = &routeWindow{requests: newRing[requestCounts](w.slots), calls: newRing[callCounts](w.slots)}
		w.routes[n] = r
	}
	return r
}

// Forget drops the signals of an upstream that a reload removed.
func (w *Window) Forget(upstream string) {
	w.mu.Lock()
	maps.DeleteFunc(w.routes, func(n RouteName, _ *routeWindow) bool { return n.Upstream == upstream })
	w.mu.Unlock()
	w.generation.Add(1)
}

// OnCall takes a finished upstream call; it is a [CallFunc].
func (w *Window) OnCall(c Call) {
	r := w.route(RouteName{c.Upstream, c.Route})
	items := uint64(max(c.Items, 1))
	started, ended := w.epoch(c.Start), w.epoch(c.Start.Add(c.Duration))

	r.calls.mu.Lock()
	defer r.calls.mu.Unlock()
	if s := r.calls.at(ended); s != nil {
		s.counts.ended++
		s.counts.endedItems += items
		if c.Outcome == OutcomeOK || c.Outcome == OutcomeClient {
			s.counts.goodItems += items
		}
	}
	s := r.calls.at(started)
	if s == nil {
		return
	}
	s.counts.outcomes.add(c.Outcome)
	s.counts.items += items
	s.counts.bytes += uint64(max(c.Bytes, 0))
	s.counts.inFlight += uint64(max(c.InFlight, 0))
	s.counts.maxInFlight = max(s.counts.maxInFlight, c.InFlight)
	s.counts.duration += c.Duration
	s.latency.add(c.Duration)
}

// finished is one request that ended, as the Doer saw it.
type finished struct {
	at       time.Time
	duration time.Duration
	bytes    int64
	failed   bool
	cache    cacheResult
}

func (w *Window) onRequest(r *routeWindow, f finished) {
	epoch := w.epoch(f.at)
	r.requests.mu.Lock()
	defer r.requests.mu.Unlock()
	s := r.requests.at(epoch)
	if s == nil {
		return
	}
	c := &s.counts
	c.n++
	if f.failed {
		c.errors++
	}
	switch f.cache {
	case cacheHit:
		c.hits++
	case cacheStale:
		c.stale++
	case cacheCoalesced:
		c.coalesced++
	case cacheMiss:
		c.misses++
	}
	c.bytes += uint64(max(f.bytes, 0))
	c.duration += f.duration
	s.latency.add(f.duration)
}

// Signals returns the signals of the last span of everything; a span beyond the Window's own is
// cut to it. It costs some microseconds for each route and second.
func (w *Window) Signals(span time.Duration) Snapshot {
	now := time.Now()
	to := w.epoch(now) + 1
	n := min(max(int64(span/slotLength), 1), int64(w.slots))
	from := max(to-n, 0)
	covered := max(now.Sub(w.born)-time.Duration(from)*slotLength, slotLength/2)

	total, upstreams := new(sum), make(map[string]*sum)
	snap := Snapshot{At: now, Upstreams: make(map[string]Signals), Routes: make(map[RouteName]Signals)}
	for name, r := range w.all() {
		one := new(sum)
		one.read(r, from, to)
		snap.Routes[name] = one.signals(covered)
		up, ok := upstreams[name.Upstream]
		if !ok {
			up = new(sum)
			upstreams[name.Upstream] = up
		}
		up.merge(one)
		total.merge(one)
	}
	for name, up := range upstreams {
		snap.Upstreams[name] = up.signals(covered)
	}
	snap.Total = total.signals(covered)
	return snap
}

// Between returns the signals of one upstream, or of one of its routes if route is not empty, over
// the whole seconds inside [from, to). A call counts if it started there, so ask some time after
// to, when the slow ones have ended. Span is 0 if no whole second lies inside.
func (w *Window) Between(upstream, route string, from, to time.Time) Signals {
	end := min(w.epoch(to), w.epoch(time.Now()))
	begin := max(w.epoch(from.Add(slotLength-1)), end-int64(w.slots), 0)
	if begin >= end {
		return Signals{}
	}
	s := new(sum)
	for name, r := range w.all() {
		if name.Upstream == upstream && (route == "" || route == name.Route) {
			s.read(r, begin, end)
		}
	}
	return s.signals(time.Duration(end-begin) * slotLength)
}

func (w *Window) all() map[RouteName]*routeWindow {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return maps.Clone(w.routes)
}

package cache

import (
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"penstock/request"
)

// habits remember whether the answers to a kind of request could be shared, so that the first crowd on
// a key that nobody has asked for yet is handled by what its likes were. The kind is the route; on the
// proxy path the path without its query, or else its folder, with what looks like an id left out. It
// is safe for concurrent use. A kind that is new itself goes by the other kinds of its upstream, if nearly
// all of those were for one client each: many APIs say no-store to everything.
//
// Waiting for an answer that turns out to be for one client only doubles the wait; not waiting for one
// that everybody could have had costs the upstream one call for each client. With nothing known a
// crowd that can't be told apart waits, and one with Authorization does not: RFC 9111, section 3.5,
// lets such answers be shared only if they say so, which few do.
type habits struct {
	kinds *otter.Cache[string, *habit]
	// upstreams are the kinds of an upstream in all: each counts once, by its first answer.
	upstreams *otter.Cache[string, *habit]
}

const (
	// maxHabits bounds how many kinds are remembered.
	maxHabits = 16 << 10
	// habitTime is how long a kind is remembered that is not asked for.
	habitTime = time.Hour
	// habitMemory is how many answers count: an upstream that changes its mind is believed after
	// about as many.
	habitMemory = 16
	// foreignRefusals is how many times more of an upstream's kinds must have been for one client than
	// for all, before a kind of which nothing is known is taken for one of the first. It is more
	// than even, since the other kinds tell less than the likes of a request.
	foreignRefusals = 8
	// maxHabitUpstreams is far more than an upstream for each line of a configuration.
	maxHabitUpstreams = 4 << 10
)

// habit is what is known of one kind.
type habit struct {
	mu              sync.Mutex // guards all
	shared, refused float64
	vary            []string // of the last answer that could be shared
}

func newHabits() (*habits, error) {
	kinds, err := otter.New(&otter.Options[string, *habit]{
		MaximumSize: maxHabits, ExpiryCalculator: otter.ExpiryAccessing[string, *habit](habitTime),
	})
	if err != nil {
		return nil, err
	}
	upstreams, err := otter.New(&otter.Options[string, *habit]{
		MaximumSize: maxHabitUpstreams, ExpiryCalculator: otter.ExpiryAccessing[string, *habit](habitTime),
	})
	return &habits{kinds, upstreams}, err
}

// learn enters one answer.
func (h *habits) learn(r *request.Request, share bool, vary []string) {
	first := false // of the widest kind, which comes last
	for _, kind := range kindsOf(r) {
		first = false
		k, _ := h.kinds.ComputeIfAbsent(kind, func() (*habit, bool) { first = true; return new(habit), false })
		if k != nil {
			k.learn(share, vary)
		}
	}
	if !first {
		return
	}
	if k, _ := h.upstreams.ComputeIfAbsent(whoAsks(r), func() (*habit, bool) { return new(habit), false }); k != nil {
		k.learn(share, nil)
	}
}

func (k *habit) learn(share bool, vary []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shared+k.refused >= habitMemory {
		k.shared, k.refused = k.shared/2, k.refused/2
	}
	if !share {
		k.refused++
		return
	}
	k.shared++
	k.vary = vary
}

// of is what is known of the nearest kind; nil: nothing.
func (h *habits) of(r *request.Request) *habit {
	for _, kind := range kindsOf(r) {
		if k, ok := h.kinds.GetIfPresent(kind); ok {
			return k
		}
	}
	return nil
}

// worthWaiting reports whether a request should rather wait for the call of another one like it. It
// compares the chance that the answer can be shared with that it can't, by the mean of a Beta
// distribution: even for anonymous requests of which nothing is known.
func (h *habits) worthWaiting(r *request.Request) bool {
	shared, refused := 0.5, 0.5
	if len(r.Header["Authorization"]) > 0 {
		refused = 1
	}
	if k := h.of(r); k != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		return shared+k.shared >= refused+k.refused
	}
	if k, ok := h.upstreams.GetIfPresent(whoAsks(r)); ok && shared >= refused {
		k.mu.Lock()
		defer k.mu.Unlock()
		return foreignRefusals*(shared+k.shared) > refused+k.refused
	}
	return shared >= refused
}

// varyOf are the selecting fields that answers of that kind had.
func (h *habits) varyOf(r *request.Request) []string {
	k := h.of(r)
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.vary
}

func (h *habits) close() {
	h.kinds.StopAllGoroutines()
	h.upstreams.StopAllGoroutines()
}

// whoAsks is the upstream, and what of credentials a request has.
func whoAsks(r *request.Request) string {
	who := r.Route.Upstream + "\x00"
	if len(r.Header["Authorization"]) > 0 {
		who += "A"
	}
	if len(r.Header["Cookie"]) > 0 {
		who += "C"
	}
	return who
}

// kindsOf are the kinds that r belongs to, the narrowest first.
func kindsOf(r *request.Request) []string {
	start := whoAsks(r) + "\x00" + r.Route.Name
	if r.Route.Name != request.ProxyRoute {
		return []string{start}
	}
	shape := start + "\x00" + pathShape(r.Path)
	folder := shape[:strings.LastIndexByte(shape, '/')+1]
	if folder == shape || strings.Count(folder, "/") < 2 {
		return []string{shape} // the root has nothing in common
	}
	return []string{shape, folder}
}

// pathShape is a path with its ids left out: the segments that have a digit, or are very long.
func pathShape(path string) string {
	const longest = 32
	var b strings.Builder
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if len(segment) > longest || strings.ContainsAny(segment, "0123456789") {
			segment = "*"
		}
		b.WriteString(segment)
	}
	return b.String()
}

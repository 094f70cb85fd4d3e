package preload

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"penstock/request"
)

// maxTemplateBytes bounds what one kept request may take.
const maxTemplateBytes = 4 << 10

// prefetchable reports whether a request may be made again without its client: a GET, an
// answer that is the same for everyone of the tenant, and nothing in it that asks for care.
func prefetchable(r *request.Request) bool {
	if r.Method != http.MethodGet || r.Key == "" || len(r.Data) > 0 || r.Stream != nil {
		return false
	}
	for name := range r.Header {
		switch name {
		case "Authorization", "Proxy-Authorization", "X-Api-Key", "Cookie", "Range", "If-Range", "Upgrade", "Sec-Purpose":
			return false
		}
	}
	return !forbids(r.Header["Cache-Control"]) && !forbids(r.Header["Pragma"])
}

// forbids reports whether a client's cache directives speak against a copy for later.
func forbids(directives []string) bool {
	for _, v := range directives {
		v = strings.ToLower(v)
		if strings.Contains(v, "no-store") || strings.Contains(v, "no-cache") || strings.Contains(v, "only-if-cached") {
			return true
		}
	}
	return false
}

// templates keeps requests that could be made again. Safe for concurrent use.
type templates struct {
	mu    sync.Mutex // guards table
	table *clockTable[*request.Request]
}

func newTemplates(size int) templates {
	return templates{table: newClockTable[*request.Request](size)}
}

func (t *templates) resize(size int) {
	t.mu.Lock()
	t.table = newClockTable[*request.Request](size)
	t.mu.Unlock()
}

func (t *templates) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.table.len()
}

// remember keeps a copy of r if there is none for the same route (a reload makes new routes).
func (t *templates) remember(key uint64, r *request.Request) {
	t.mu.Lock()
	v := t.table.get(key)
	known := v != nil && *v != nil && (*v).Route == r.Route
	t.mu.Unlock()
	if known || size(r) > maxTemplateBytes {
		return
	}
	c := r.Clone()
	// What belongs to the client's own request, and conditions on a copy that only the client has.
	c.ID, c.Deadline = "", time.Time{}
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "Traceparent", "Tracestate", "X-Request-Id", "Cache-Control", "Pragma"} {
		c.Header.Del(name)
	}
	t.mu.Lock()
	*t.table.add(key, nil) = c
	t.mu.Unlock()
}

func size(r *request.Request) int {
	n := len(r.Key) + len(r.Path) + len(r.RawQuery) + len(r.Tenant)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// get returns a fresh prefetch of a key, nil if its request is not known.
func (t *templates) get(key uint64) *request.Request {
	t.mu.Lock()
	v := t.table.get(key)
	t.mu.Unlock()
	if v == nil || *v == nil {
		return nil
	}
	return (*v).Clone()
}

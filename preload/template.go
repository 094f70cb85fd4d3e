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
		if fieldClasses[name] == fieldForbids {
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
	sessionHeader string
	mu            sync.Mutex // guards table
	table         *clockTable[*request.Request]
}

func newTemplates(size int, sessionHeader string) templates {
	return templates{table: newClockTable[*request.Request](size), sessionHeader: sessionHeader}
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

// remember keeps a copy of r if there is none for the same route (a reload makes new routes), and
// returns the copy that is kept, which nobody may change; nil: it is too large.
func (t *templates) remember(key uint64, r *request.Request) *request.Request {
	t.mu.Lock()
	if v := t.table.get(key); v != nil && (*v).Route == r.Route {
		kept := *v // the slot may soon be another's
		t.mu.Unlock()
		return kept
	}
	t.mu.Unlock()
	if size(r) > maxTemplateBytes {
		return nil
	}
	c := r.Clone()
	// What belongs to the client's own request, and conditions on a copy that only the client has.
	c.ID, c.Client, c.Deadline, c.Background = "", "", time.Time{}, false
	for name := range c.Header {
		if classOf(name) == fieldOwn || name == t.sessionHeader {
			delete(c.Header, name)
		}
	}
	t.mu.Lock()
	*t.table.add(key, nil) = c
	t.mu.Unlock()
	return c
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

// get returns the kept request of a key, which nobody may change; nil: it is not known.
func (t *templates) get(key uint64) *request.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.table.get(key); v != nil {
		return *v
	}
	return nil
}

// kept is a request and the hash of its key.
type kept struct {
	key     uint64
	request *request.Request
}

// some returns up to n of the kept requests.
func (t *templates) some(n int) (list []kept) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.table.slots {
		if s := &t.table.slots[i]; s.live && len(list) < n {
			list = append(list, kept{s.key, s.value})
		}
	}
	return list
}

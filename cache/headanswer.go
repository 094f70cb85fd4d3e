package cache

import (
	"net/http"
	"slices"
)

// headUpdates uses an answer to HEAD for what is stored for GET (RFC 9111, section 4.3.5): where both
// are of the same state, its fields are the newer ones; where they are not, the copy is no longer fresh.
func (f *flight) headUpdates(o *outcome, m moment) {
	if f.req.Method != http.MethodHead || o.response.Status != http.StatusOK || f.q.noStore {
		return
	}
	rec := f.c.store.get(f.key)
	if rec == nil {
		return
	}
	e := rec.find(f.selectors)
	if e == nil || e.status != http.StatusOK || steered(f.selectors, e.vary) {
		return
	}
	if !sameRepresentation(e.header, o.response.Header) {
		f.c.store.update(f.key, func(old *record) *record { return old.replace(f.key, e, e.expired(m)) })
		return
	}
	q := f.q
	q.method = http.MethodGet
	v := judge(q, e.status, e.mergedHeader(o.response.Header), m)
	if !v.store {
		return
	}
	n := e.renew(o.response.Header, v, m.answered)
	f.c.store.update(f.key, func(old *record) *record { return old.replace(f.key, e, n) })
}

// sameRepresentation reports whether the fields that identify a state agree, as far as the newer
// answer has them.
func sameRepresentation(stored, h http.Header) bool {
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length"} {
		if lines := h[name]; len(lines) > 0 && len(stored[name]) > 0 && !slices.Equal(lines, stored[name]) {
			return false
		}
	}
	return true
}

// expired is the entry with its freshness ended.
func (e *entry) expired(m moment) *entry {
	n := *e
	n.lifetime = min(e.lifetime, e.age(m.answered))
	return &n
}

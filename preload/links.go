package preload

import (
	"penstock/preload/learn"
	"penstock/request"
)

// links are the ways from the ids in an answer to the requests that they are asked by: found by watching
// what sessions ask for after a list. Not safe for concurrent use.
type links struct {
	h        hasher
	listings *clockTable[*listing] // by key of the list
	recent   *clockTable[[2]uint64]
	families *clockTable[*family] // by hash of the hole
	index    map[linkName]learn.Link
	names    [learn.MaxLinks]linkName
	next     int
}

// linkName is a place in the answers of a shape of request, and the family that its ids name.
type linkName struct {
	shape  uint64
	place  string
	family uint64
}

const (
	maxListings = 2048
	maxFamilies = 2048
)

func newLinks(h hasher, size int) *links {
	return &links{
		h: h, listings: newClockTable[*listing](min(size, maxListings)), recent: newClockTable[[2]uint64](min(size, maxListings)),
		families: newClockTable[*family](min(size, maxFamilies)), index: make(map[linkName]learn.Link),
	}
}

// family remembers the family of a hole, with a request of it, and returns its hash.
func (l *links) family(tenant string, h *hole, r *request.Request) uint64 {
	id := l.h.joined(tenant, h.before, "\x00", h.after)
	if f := l.families.get(id); f != nil && (*f).template.Route == r.Route {
		return id
	}
	*l.families.add(id, nil) = &family{hole: *h, tenant: tenant, template: r}
	return id
}

// keyOf is the key of a number of a family, 0 if it is not known.
func (l *links) keyOf(id uint64, n int64) uint64 {
	f := l.families.get(id)
	if f == nil || n < 0 {
		return 0
	}
	return l.h.joined((*f).tenant, (*f).before, formatNumber(n), (*f).after)
}

// ask takes in that a session asked for a request with those holes: where one holds an id of an answer
// that the session just had, a link is found.
func (l *links) ask(session uint64, tenant string, list []hole, r *request.Request) {
	lately := l.recent.get(session)
	if lately == nil {
		return
	}
	for _, key := range lately {
		x := l.listings.get(key)
		if key == 0 || x == nil {
			continue
		}
		for g := range (*x).groups {
			group := &(*x).groups[g]
			for i := range list {
				if contains(group.ids, list[i].value) {
					l.found(linkName{(*x).shape, group.place, l.family(tenant, &list[i], r)})
				}
			}
		}
	}
}

// seen takes in that a session was given the answer of a key.
func (l *links) seen(session, key uint64) {
	v := l.recent.add(session, nil)
	if v[0] != key {
		v[1], v[0] = v[0], key
	}
}

func contains(ids []string, v string) bool {
	for _, id := range ids {
		if id == v {
			return true
		}
	}
	return false
}

func (l *links) found(n linkName) {
	if _, ok := l.index[n]; ok {
		return
	}
	// The oldest gives way. Its odds are inherited, and soon corrected.
	at := l.next % learn.MaxLinks
	l.next++
	delete(l.index, l.names[at])
	l.names[at] = n
	l.index[n] = learn.Link(at)
}

// target is one key that an answer names.
type target struct {
	key   uint64
	link  learn.Link
	rank  int
	value string
	f     *family
	built *request.Request // of a declared link, instead of the family
}

func (t *target) route() *request.Route {
	if t.built != nil {
		return t.built.Route
	}
	return t.f.template.Route
}

// make returns the request; nil: it can't be made.
func (t *target) make() *request.Request {
	if t.built != nil {
		return t.built
	}
	return t.f.make(t.value)
}

// targets are the keys that an answer names, by the links known.
func (l *links) targets(x *listing, tenant string) (list []target) {
	for i := range x.groups {
		g := &x.groups[i]
		for name, link := range l.index {
			if name.shape != x.shape || name.place != g.place {
				continue
			}
			f := l.families.get(name.family)
			if f == nil || (*f).tenant != tenant {
				continue
			}
			for rank, id := range g.ids {
				list = append(list, target{key: l.h.joined(tenant, (*f).before, (*f).escape(id), (*f).after), link: link, rank: rank, value: id, f: *f})
			}
		}
	}
	return list
}

// shapeOf is what requests have in common that differ in their values.
func (h hasher) shapeOf(r *request.Request, list []hole) uint64 {
	if r.Params != nil {
		return h.route(r.Route)
	}
	shape := r.Key
	for i := range list {
		if _, ok := wholeNumber(list[i].value); ok && list[i].name == "" {
			shape = list[i].before + "*" + list[i].after
			break
		}
	}
	for i := range shape {
		if shape[i] == '?' {
			shape = shape[:i]
			break
		}
	}
	return h.key(r.Tenant, shape)
}

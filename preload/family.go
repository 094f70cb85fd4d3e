package preload

import (
	"maps"
	"net/url"
	"strconv"
	"strings"

	"penstock/request"
)

// hole is a value in a request's key that other requests of its family may have otherwise: a param of a
// declared route, a segment or a query param of a proxied path. The key is before+escaped value+after.
type hole struct {
	before, after string
	// value is unescaped.
	value string
	// name is the param's, empty in a path.
	name string
}

// maxHoles bounds how many holes of a key are looked at.
const maxHoles = 4

// holes finds the values in a key: "route?a=1&b=2" of a declared route, "upstream /path?a=1" of a proxied
// request.
func holes(r *request.Request) (list []hole) {
	key := r.Key
	end := strings.IndexByte(key, '?')
	path := key
	if end >= 0 {
		path = key[:end]
	}
	if r.Params == nil { // proxied
		for at := len(path); at > 0 && len(list) < 2; {
			slash := strings.LastIndexByte(path[:at], '/')
			if slash < 0 {
				break
			}
			if v, err := url.PathUnescape(path[slash+1 : at]); err == nil && v != "" {
				list = append(list, hole{before: key[:slash+1], after: key[at:], value: v})
			}
			at = slash
		}
	}
	for at := end + 1; end >= 0 && at <= len(key) && len(list) < maxHoles; {
		stop := len(key)
		if i := strings.IndexByte(key[at:], '&'); i >= 0 {
			stop = at + i
		}
		if eq := strings.IndexByte(key[at:stop], '='); eq >= 0 {
			name, err := url.QueryUnescape(key[at : at+eq])
			v, err2 := url.QueryUnescape(key[at+eq+1 : stop])
			if err == nil && err2 == nil && v != "" {
				list = append(list, hole{before: key[:at+eq+1], after: key[stop:], value: v, name: name})
			}
		}
		at = stop + 1
	}
	return list
}

// fill is the key with another value in the hole.
func (h *hole) fill(value string) string { return h.before + h.escape(value) + h.after }

func (h *hole) escape(value string) string {
	if h.name == "" {
		return url.PathEscape(value)
	}
	return url.QueryEscape(value)
}

// number returns the hole that holds what is counted up: a page or an offset, else a number in the
// path, else any.
func number(list []hole) (h *hole, n int64) {
	best := -1
	for i := range list {
		v, ok := wholeNumber(list[i].value)
		if !ok {
			continue
		}
		rank := 0
		switch {
		case pageNames[list[i].name]:
			rank = 2
		case list[i].name == "":
			rank = 1
		}
		if rank > best {
			best, h, n = rank, &list[i], v
		}
	}
	return h, n
}

// pageNames are query params that count pages.
var pageNames = map[string]bool{"page": true, "p": true, "offset": true, "start": true, "skip": true, "from": true, "pageNumber": true, "page_number": true}

// wholeNumber reads a number that is written the one way it is written back.
func wholeNumber(s string) (int64, bool) {
	if s == "" || len(s) > 15 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// family is a set of keys that differ in one hole, and a request of one of them.
type family struct {
	hole
	tenant   string
	template *request.Request
}

// make returns the request of the family with that value; nil: it can't be made.
func (f *family) make(value string) *request.Request {
	key := f.fill(value)
	t := f.template
	if t.Params != nil {
		return f.build(value, key)
	}
	_, target, ok := strings.Cut(key, " ")
	if !ok {
		return nil
	}
	r := t.Clone()
	r.Key = key
	r.Path, r.RawQuery, _ = strings.Cut(target, "?")
	return r
}

// build makes the request of a declared route. The value has the type that the template's has.
func (f *family) build(value, key string) *request.Request {
	t := f.template
	if t.Route == nil {
		return nil
	}
	params := maps.Clone(t.Params)
	params[f.name] = value
	built, err := t.Route.Build(params)
	if err != nil || built.Key != key {
		return nil // the route does not take it, or keys by more than this
	}
	built.Tenant, built.Client = t.Tenant, t.Client
	for name, lines := range t.Header {
		if _, ok := built.Header[name]; !ok {
			built.Header[name] = lines
		}
	}
	return built
}

package cache

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"penstock/request"
)

const (
	// maxVariants bounds the answers under one key that differ by Vary; the oldest gives way.
	maxVariants = 16
	// validatorGrace is how long an entry with a validator is kept past its windows, so that it
	// can be renewed by a 304.
	validatorGrace = 10 * time.Minute
	// staleGrace is how long any other is, for clients that say max-stale.
	staleGrace = time.Minute
	// maxKeep is the longest that anything is kept.
	maxKeep = 365 * 24 * time.Hour

	// entryOverhead and fieldOverhead are what an entry and a header field cost in memory besides
	// their bytes: the store's node and its share of the table, entry, record, map and slices.
	entryOverhead = 320
	fieldOverhead = 96
)

// entry is one stored answer. It is immutable: a renewal makes a new one, which may share header
// fields and body.
type entry struct {
	status int
	// header is ready to be served; all hits share it. Age is not in it.
	header http.Header
	// body is as stored: zstd-compressed if packed. size is its length as served.
	body   []byte
	packed bool
	// sampled: its hits are measured (see ghosts).
	sampled bool
	size    int64
	// thawed is not nil if packed. heat may be nil: then the entry is never refreshed ahead.
	thawed *thawed
	heat   *heat

	// birth is when the answer's age was 0, in Unix nanoseconds.
	birth                              int64
	lifetime                           time.Duration
	staleWhileRevalidate, staleIfError time.Duration
	strict, sMaxAge, anonymous         bool

	// vary and selectors are the selecting fields and their values, nil if there are none.
	vary, selectors []string

	// tenant pays for it: the one who had it stored.
	tenant   string
	counters *routeCounters
	// track counts its uses for the observations; nil: it is not observed.
	track *track
}

func newEntry(status int, h http.Header, body []byte, v verdict, answered time.Time) *entry {
	e := &entry{
		status: status, body: body, size: int64(len(body)),
		header: storedHeader(h, len(body), answered, v.withheld),
		vary:   varyNames(h), heat: newHeat(),
	}
	e.setFreshness(v, answered)
	return e
}

func (e *entry) setFreshness(v verdict, answered time.Time) {
	e.birth = answered.Add(-v.age).UnixNano()
	e.lifetime = v.lifetime
	e.staleWhileRevalidate, e.staleIfError = v.staleWhileRevalidate, v.staleIfError
	e.strict, e.sMaxAge, e.anonymous = v.strict, v.sMaxAge, v.anonymous
}

// storedHeader is what hits are served with, without what is withheld or belongs to one connection
// (RFC 9111, section 3.1). Age is left to each hit, and Date is given if the upstream did not (RFC
// 9110, section 6.6.1).
func storedHeader(h http.Header, size int, answered time.Time, withheld []string) http.Header {
	s := h.Clone()
	if s == nil {
		s = make(http.Header)
	}
	maps.DeleteFunc(s, func(name string, _ []string) bool { return name == "Age" || request.HopByHop(name) })
	for _, name := range withheld {
		delete(s, name)
	}
	if len(s["Date"]) == 0 {
		s["Date"] = []string{answered.UTC().Format(http.TimeFormat)}
	}
	if len(s["Content-Length"]) > 0 {
		s["Content-Length"] = []string{strconv.Itoa(size)}
	}
	return s
}

// renew returns the entry with its headers and freshness updated by a 304 (RFC 9111, section
// 3.2): the fields of the 304 replace the stored ones, but for those that describe the body.
func (e *entry) renew(h http.Header, v verdict, answered time.Time) *entry {
	n := *e
	n.heat = newHeat()
	n.header = e.header.Clone()
	for name, lines := range storedHeader(h, 0, answered, v.withheld) {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Vary":
		default:
			n.header[name] = lines
		}
	}
	n.setFreshness(v, answered)
	return &n
}

// mergedHeader is what the headers would be after the 304, for the policy to judge.
func (e *entry) mergedHeader(h http.Header) http.Header {
	m := e.header.Clone()
	delete(m, "Date")
	for name, lines := range h {
		m[name] = lines
	}
	return m
}

// age is RFC 9111's current_age.
func (e *entry) age(now time.Time) time.Duration {
	return max(0, time.Duration(now.UnixNano()-e.birth))
}

// validator reports whether the upstream can be asked if the entry is still right.
func (e *entry) validator() bool { return hasValidator(e.header) }

func hasValidator(h http.Header) bool {
	return len(h["Etag"]) > 0 || len(h["Last-Modified"]) > 0
}

// addConditions makes a request of h conditional on the entry.
func (e *entry) addConditions(h http.Header) {
	if tag := e.header["Etag"]; len(tag) > 0 {
		h["If-None-Match"] = tag[:1:1]
	}
	if changed := e.header["Last-Modified"]; len(changed) > 0 {
		h["If-Modified-Since"] = changed[:1:1]
	}
}

// keepUntil is when the entry is of no more use, in Unix nanoseconds.
func (e *entry) keepUntil() int64 {
	window := max(e.staleWhileRevalidate, e.staleIfError)
	switch {
	case e.validator():
		window = max(window, validatorGrace)
	case !e.strict:
		window = max(window, staleGrace)
	}
	return e.birth + int64(min(e.lifetime+window, maxKeep))
}

// matches reports whether the entry may answer a request with these headers.
func (e *entry) matches(h http.Header) bool {
	if e.anonymous && len(h["Authorization"]) > 0 {
		return false
	}
	return len(e.vary) == 0 || selects(e.vary, e.selectors, h)
}

// weight is what the entry costs in bytes.
func (e *entry) weight() int64 {
	w := int64(entryOverhead + cap(e.body))
	for name, lines := range e.header {
		w += int64(fieldOverhead + len(name))
		for _, l := range lines {
			w += int64(16 + len(l))
		}
	}
	for i := range e.vary {
		w += int64(32 + len(e.vary[i]) + len(e.selectors[i]))
	}
	return w
}

// record is all that is stored under one key. It is immutable.
type record struct {
	route, upstream string
	// variants has one member, unless the answers differ by Vary; the newest comes first.
	variants []*entry
	// bytes is the weight of key and variants; until is the latest keepUntil.
	bytes int64
	until int64
	// charge is what the tenants pay for it in all: bytes, or more if it counts for more. It is set
	// once, before the record is written.
	charge int64
}

// find returns the variant for a request with these headers.
func (r *record) find(h http.Header) *entry {
	for _, e := range r.variants {
		if e.matches(h) {
			return e
		}
	}
	return nil
}

// with returns a record that has e in place of the variant with the same selectors.
func (r *record) with(key string, q *request.Request, e *entry, now time.Time) *record {
	n := &record{route: q.Route.Name, upstream: q.Route.Upstream, variants: []*entry{e}}
	if r != nil {
		for _, old := range r.variants {
			if !old.like(e) && old.keepUntil() > now.UnixNano() && len(n.variants) < maxVariants {
				n.variants = append(n.variants, old)
			}
		}
	}
	n.measure(key)
	return n
}

// replace returns a record with by in the place of e, nil if e is not in it any more.
func (r *record) replace(key string, e, by *entry) *record {
	if r == nil {
		return nil
	}
	i := slices.Index(r.variants, e)
	if i < 0 {
		return nil
	}
	n := &record{route: r.route, upstream: r.upstream, variants: slices.Clone(r.variants)}
	n.variants[i] = by
	n.measure(key)
	return n
}

// like reports whether e and o answer the same requests.
func (e *entry) like(o *entry) bool {
	return slices.Equal(e.vary, o.vary) && slices.Equal(e.selectors, o.selectors)
}

// variantLike is the variant that e would replace, nil if there is none.
func (r *record) variantLike(e *entry) *entry {
	if r != nil {
		for _, old := range r.variants {
			if old.like(e) {
				return old
			}
		}
	}
	return nil
}

// without returns a record that lacks e, nil if nothing is left.
func (r *record) without(key string, e *entry) *record {
	n := &record{route: r.route, upstream: r.upstream}
	for _, old := range r.variants {
		if old != e {
			n.variants = append(n.variants, old)
		}
	}
	if len(n.variants) == 0 {
		return nil
	}
	n.measure(key)
	return n
}

func (r *record) measure(key string) {
	r.bytes, r.until = int64(len(key)), 0
	for _, e := range r.variants {
		r.bytes += e.weight()
		r.until = max(r.until, e.keepUntil())
	}
}

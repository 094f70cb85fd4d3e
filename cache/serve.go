package cache

import (
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// held is a Response with its body, in one allocation.
type held struct {
	request.Response
	body request.Body
}

// serve makes the answer to r from a stored entry. nil: the entry is damaged.
func (c *Cache) serve(r *request.Request, e *entry, now time.Time, status request.CacheStatus) *request.Response {
	age := e.age(now)
	h := &held{}
	h.Status, h.Header, h.ContentLength = e.status, e.header, e.size
	h.Cache = status
	h.Cache.TTL, h.Cache.HasTTL = e.lifetime-age, true
	h.Cache.Age, h.Cache.HasAge = age, true
	if notModified(r.Header, e.status, e.header, true) {
		h.Status, h.Header, h.ContentLength = http.StatusNotModified, notModifiedHeader(e.header), 0
		h.Response.Body = http.NoBody
		return &h.Response
	}
	if r.Method == http.MethodHead {
		h.Response.Body = http.NoBody
		return &h.Response
	}
	body := e.body
	if e.packed {
		var err error
		if body, err = e.thawed.of(&c.codec, e); err != nil {
			c.log.Error("cache: a stored answer can't be read and is forgotten", "route", r.Route.Name, "error", err)
			return nil
		}
	}
	h.body.Reset(body)
	h.Response.Body = &h.body
	return &h.Response
}

// notModified evaluates the client's If-None-Match, or else If-Modified-Since, against an answer
// (RFC 9110, sections 13.1.2, 13.1.3 and 13.2.2). A stored answer that does not say when it changed
// counts as changed when it was made.
func notModified(asked http.Header, status int, h http.Header, stored bool) bool {
	tags, since := asked["If-None-Match"], asked["If-Modified-Since"]
	if len(tags)+len(since) == 0 || status != http.StatusOK {
		return false
	}
	if len(tags) > 0 {
		own := h["Etag"]
		return anyTag(tags) || len(own) > 0 && listsTag(tags, own[0])
	}
	limit, ok := dateOf(asked, "If-Modified-Since")
	if !ok || len(since) > 1 {
		return false
	}
	name := "Last-Modified"
	if len(h[name]) == 0 && stored {
		name = "Date" // RFC 9111, section 4.3.2
	}
	changed, ok := dateOf(h, name)
	return ok && !changed.After(limit)
}

func anyTag(lines []string) bool {
	return len(lines) == 1 && strings.TrimSpace(lines[0]) == "*"
}

// listsTag reports whether a list of entity tags has one that is weakly equal to own.
func listsTag(lines []string, own string) bool {
	own = opaqueTag(own)
	if own == "" {
		return false
	}
	for _, line := range lines {
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			tag, rest := cutTag(line)
			if tag != "" && opaqueTag(tag) == own {
				return true
			}
			line = rest
		}
	}
	return false
}

// cutTag cuts the first member off a list. A comma may stand inside the quotes.
func cutTag(s string) (tag, rest string) {
	open := strings.IndexByte(s, '"')
	comma := strings.IndexByte(s, ',')
	if open < 0 || comma >= 0 && comma < open {
		tag, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(tag), rest
	}
	end := strings.IndexByte(s[open+1:], '"')
	if end < 0 {
		return strings.TrimSpace(s), ""
	}
	end += open + 2
	return strings.TrimSpace(s[:end]), s[end:]
}

// opaqueTag is the tag without its weakness, empty if there is none.
func opaqueTag(tag string) string { return strings.TrimPrefix(strings.TrimSpace(tag), "W/") }

// notModifiedHeader are the fields that a 304 carries (RFC 9110, section 15.4.5): those that
// describe the missing body are left out.
func notModifiedHeader(h http.Header) http.Header {
	n := make(http.Header, len(h))
	for name, lines := range h {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Content-Language":
		default:
			n[name] = lines
		}
	}
	return n
}

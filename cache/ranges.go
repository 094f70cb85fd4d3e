package cache

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/request"
)

// span is a part of a body: the bytes from first on, n of them.
type span struct{ first, n int64 }

// rangeOf reads what a Range field asks of a body of size bytes (RFC 9110, section 14.1.2). ok is
// false if it is not one single range of bytes: the upstream may know what it means. A span
// without bytes can't be satisfied.
func rangeOf(lines []string, size int64) (s span, ok bool) {
	if len(lines) != 1 {
		return span{}, false
	}
	unit, set, found := strings.Cut(lines[0], "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return span{}, false
	}
	from, to, found := strings.Cut(strings.Trim(set, " \t"), "-")
	if !found {
		return span{}, false
	}
	if from == "" {
		suffix, ok := parseCount(to)
		suffix = min(suffix, size)
		return span{size - suffix, suffix}, ok
	}
	first, ok := parseCount(from)
	if !ok {
		return span{}, false
	}
	last := size - 1
	if to != "" {
		if last, ok = parseCount(to); !ok || last < first {
			return span{}, false
		}
		last = min(last, size-1)
	}
	return span{first, max(0, last-first+1)}, true
}

// parseCount reads a number of bytes; one that is too large is as good as the largest.
func parseCount(s string) (int64, bool) {
	const most = 1 << 50
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), most)
	}
	return n, s != ""
}

// rangeable reports whether a request for a part may be answered from a stored answer, and which
// part is meant. whole: all of it is to be sent, as the client's own part is of another one (RFC
// 9110, section 13.1.5).
func rangeable(asked http.Header, e *entry) (s span, whole, ok bool) {
	if e.status != http.StatusOK || len(asked["If-Match"])+len(asked["If-Unmodified-Since"]) > 0 {
		return span{}, false, false
	}
	if s, ok = rangeOf(asked["Range"], e.size); !ok {
		return span{}, false, false
	}
	if condition := asked["If-Range"]; len(condition) > 0 {
		whole = len(condition) > 1 || !sameState(strings.TrimSpace(condition[0]), e.header)
	}
	return s, whole, true
}

// sameState compares a validator strongly with those of an answer. A date is strong only if the
// answer was made a minute or more after its last change, since clocks differ.
func sameState(validator string, h http.Header) bool {
	if strings.HasPrefix(validator, `"`) {
		own := h["Etag"]
		return len(own) > 0 && own[0] == validator
	}
	changed, ok := dateOf(h, "Last-Modified")
	if !ok {
		return false
	}
	asked, ok := parseDate(validator, changed)
	if !ok || !asked.Equal(changed) {
		return false
	}
	made, ok := dateOf(h, "Date")
	return ok && made.Sub(changed) >= time.Minute
}

// part is a part of a body held in memory.
type part struct{ *io.SectionReader }

// Close does nothing.
func (part) Close() error { return nil }

// answerPart answers a request for a part out of a stored whole; nil: that can't be done.
func (c *Cache) answerPart(ctx context.Context, r *request.Request, o *Options, d *directives) *request.Response {
	key, now := c.storeKey(r), time.Now()
	e, use := c.find(key, r, d, now)
	if e == nil || use == mustValidate {
		return nil
	}
	s, whole, ok := rangeable(r.Header, e)
	if !ok {
		return nil
	}
	resp := c.answer(ctx, r, key, e, use, now, o, d)
	if resp == nil || whole || resp.Status != http.StatusOK || r.Method != http.MethodGet {
		return resp // a HEAD, and a condition that comes first, have no parts
	}
	if body, ok := resp.Body.(io.ReaderAt); ok {
		cut(resp, body, s, e.size)
	}
	return resp
}

// cut makes resp, the answer with the whole body, the one to a request for a part (RFC 9110,
// sections 15.3.7 and 15.5.17).
func cut(resp *request.Response, body io.ReaderAt, s span, size int64) {
	h := resp.Header.Clone()
	resp.Header = h
	total := "/" + strconv.FormatInt(size, 10)
	if s.n == 0 {
		for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Etag", "Last-Modified"} {
			delete(h, name)
		}
		h["Content-Range"] = []string{"bytes *" + total}
		resp.Status, resp.Body, resp.ContentLength = http.StatusRequestedRangeNotSatisfiable, http.NoBody, 0
		return
	}
	h["Content-Range"] = []string{"bytes " + strconv.FormatInt(s.first, 10) + "-" + strconv.FormatInt(s.first+s.n-1, 10) + total}
	h["Content-Length"] = []string{strconv.FormatInt(s.n, 10)}
	resp.Status, resp.ContentLength = http.StatusPartialContent, s.n
	resp.Body = part{io.NewSectionReader(body, s.first, s.n)}
}

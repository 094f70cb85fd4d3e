package api

import (
	"strconv"
	"time"

	"penstock/request"
)

// cacheStatus writes RFC 9211's member for this cache, "" if no cache was involved.
func cacheStatus(c *request.CacheStatus) string {
	if !c.Hit && c.Fwd == "" {
		return ""
	}
	var buf [128]byte
	return string(appendCacheStatus(buf[:0], c))
}

// appendCacheStatus writes the member behind b.
func appendCacheStatus(b []byte, c *request.CacheStatus) []byte {
	b = append(b, "penstock"...)
	if c.Hit {
		b = append(b, "; hit"...)
	} else {
		b = append(append(b, "; fwd="...), c.Fwd...)
		if c.FwdStatus != 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(c.FwdStatus), 10)
		}
	}
	if c.HasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), wholeSeconds(c.TTL), 10)
	}
	if c.Stored {
		b = append(b, "; stored"...)
	}
	if c.Collapsed {
		b = append(b, "; collapsed"...)
	}
	if c.Detail != "" {
		b = append(append(b, "; detail="...), detail(c.Detail)...)
	}
	return b
}

// wholeSeconds rounds down, so that an answer never looks fresher than it is.
func wholeSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second < 0 {
		s--
	}
	return s
}

// detail makes s a structured-field token, or a quoted string if it can't be one.
func detail(s string) string {
	token := s != "" && (s[0] == '*' || isAlpha(s[0]))
	for i := range len(s) {
		if !isToken(s[i]) {
			token = false
		}
	}
	if token {
		return s
	}
	b := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ' && c < 0x7f:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isToken(c byte) bool {
	if isAlpha(c) || c >= '0' && c <= '9' {
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~', ':', '/':
		return true
	}
	return false
}

// serverTiming writes the stages that the request passed, in milliseconds; "" if there is
// nothing to say.
func serverTiming(c *request.CacheStatus, t request.Timing) string {
	var buf [160]byte
	b := buf[:0]
	switch {
	case c.Hit && t == (request.Timing{}):
		return "cache;desc=hit"
	case c.Hit:
		b = append(b, "cache;desc=hit"...)
	case c.Fwd != "":
		b = append(append(b, "cache;desc="...), c.Fwd...)
	}
	b = appendStage(b, "queue", t.Queue)
	b = appendStage(b, "batch", t.Batch)
	b = appendStage(b, "upstream", t.Upstream)
	return string(b)
}

func appendStage(b []byte, name string, d time.Duration) []byte {
	if d <= 0 {
		return b
	}
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(b, name...), ";dur="...)
	ms := float64(d.Microseconds()) / 1000
	return strconv.AppendFloat(b, ms, 'f', -1, 64)
}

// failureCacheStatus is the Cache-Status of an answer that Penstock had to make itself.
func failureCacheStatus(e *request.Error, method string) string {
	switch e.Problem {
	case request.ProblemOnlyIfCached:
		return "penstock; detail=only-if-cached"
	case request.ProblemUpstreamDown, request.ProblemUpstreamInvalid, request.ProblemAnswerTooLarge,
		request.ProblemUpstreamTimeout, request.ProblemBreakerOpen, request.ProblemReducedCapacity, request.ProblemDeadline:
	default:
		return "penstock; detail=" + string(e.Problem) // it did not come to the cache
	}
	if request.SafeMethod(method) {
		return "penstock; fwd=miss; detail=" + string(e.Problem)
	}
	return "penstock; fwd=method; detail=" + string(e.Problem)
}

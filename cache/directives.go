package cache

import (
	"net/http"
	"strings"
	"time"
)

// directives is a parsed Cache-Control field (RFC 9111, section 5.2), of a request or an answer.
type directives struct {
	noStore, noCache, private, public bool
	mustRevalidate, proxyRevalidate   bool
	mustUnderstand, onlyIfCached      bool
	// targeted: it is a targeted field, which Expires does not add to.
	targeted bool
	// withheld are the fields that a qualified private or no-cache names: they are for one client,
	// or for one answer, only.
	withheld []string
	// Each is counted only if its bit is in given.
	maxAge, sMaxAge, minFresh, maxStale time.Duration
	staleWhileRevalidate, staleIfError  time.Duration
	given                               argument
}

// argument is a set of the directives that carry seconds.
type argument uint8

const (
	givenMaxAge argument = 1 << iota
	givenSMaxAge
	givenMinFresh
	givenMaxStale
	givenStaleWhileRevalidate
	givenStaleIfError
)

// maxDelta is the longest time that delta-seconds can mean (RFC 9111, section 1.2.2).
const maxDelta = (1<<31 - 1) * time.Second

func (d *directives) has(a argument) bool { return d.given&a != 0 }

// parseDirectives reads the lines of one field. It never fails: what can't be understood counts
// as the cautious reading, so that an invalid max-age is 0, and of several values the least
// counts.
func parseDirectives(lines []string) directives {
	var d directives
	for _, line := range lines {
		for line != "" {
			var name, value string
			var valued bool
			name, value, valued, line = nextDirective(line)
			d.add(name, value, valued)
		}
	}
	return d
}

// nextDirective cuts the first directive off s: token [ "=" ( token / quoted-string ) ].
func nextDirective(s string) (name, value string, valued bool, rest string) {
	end := strings.IndexAny(s, "=,")
	if end < 0 {
		return strings.TrimSpace(s), "", false, ""
	}
	name = strings.TrimSpace(s[:end])
	if s[end] == ',' {
		return name, "", false, s[end+1:]
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if s == "" || s[0] != '"' {
		value, rest, _ = strings.Cut(s, ",")
		return name, strings.TrimSpace(value), true, rest
	}
	value, rest = unquote(s[1:])
	_, rest, _ = strings.Cut(rest, ",")
	return name, value, true, rest
}

// unquote reads a quoted-string whose opening quote is gone, and returns what follows it. One
// without an end runs to the end of s.
func unquote(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i+1 < len(s) {
				i++
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

func (d *directives) add(name, value string, valued bool) {
	switch strings.ToLower(name) {
	case "no-store":
		d.noStore = true
	case "no-cache":
		d.noCache = !d.withhold(value) || d.noCache
	case "private":
		d.private = !d.withhold(value) || d.private
	case "public":
		d.public = true
	case "must-revalidate":
		d.mustRevalidate = true
	case "proxy-revalidate":
		d.proxyRevalidate = true
	case "must-understand":
		d.mustUnderstand = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		d.seconds(&d.maxAge, givenMaxAge, value)
	case "s-maxage":
		d.seconds(&d.sMaxAge, givenSMaxAge, value)
	case "min-fresh":
		d.seconds(&d.minFresh, givenMinFresh, value)
	case "max-stale":
		if !valued { // any staleness will do
			value = "2147483647"
		}
		d.seconds(&d.maxStale, givenMaxStale, value)
	case "stale-while-revalidate":
		d.seconds(&d.staleWhileRevalidate, givenStaleWhileRevalidate, value)
	case "stale-if-error":
		d.seconds(&d.staleIfError, givenStaleIfError, value)
	}
}

// withhold notes the field names of a qualified private or no-cache (RFC 9111, sections 5.2.2.4 and
// 5.2.2.7). It gives false if there are none, or what is there are none: the whole answer is meant.
func (d *directives) withhold(names string) bool {
	var fields []string
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !isToken(name) {
			return false
		}
		fields = append(fields, http.CanonicalHeaderKey(name))
	}
	d.withheld = append(d.withheld, fields...)
	return len(fields) > 0
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

func (d *directives) seconds(field *time.Duration, a argument, value string) {
	v, _ := parseDelta(value)
	if d.has(a) {
		v = min(v, *field)
	}
	*field = v
	d.given |= a
}

// parseDelta reads delta-seconds; too large a number is the largest.
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n time.Duration
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+time.Duration(s[i]-'0'), maxDelta/time.Second)
	}
	return n * time.Second, true
}

// requestDirectives reads what the client asks of caches. Pragma counts only without Cache-Control
// (RFC 9111, section 5.4).
func requestDirectives(h http.Header) directives {
	if lines := h["Cache-Control"]; len(lines) > 0 {
		d := parseDirectives(lines)
		d.noCache = d.noCache || len(d.withheld) > 0 // a request has no use for field names
		return d
	}
	var d directives
	if lines := h["Pragma"]; len(lines) > 0 {
		d.noCache = parseDirectives(lines).noCache
	}
	return d
}

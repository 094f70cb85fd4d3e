package client

import (
	"net/http"
	"strings"
)

// CacheStatus is Penstock's own part of an answer's Cache-Status field (RFC 9211).
type CacheStatus struct {
	// Present: the answer has a part of Penstock's.
	Present bool
	// Hit: answered from the cache.
	Hit bool
	// Fwd is why the request went on to the upstream: "miss", "stale", "bypass", ...; empty on a
	// hit.
	Fwd string
	// Collapsed: it shared the call of an identical request.
	Collapsed bool
	// Stored: the answer went into the cache.
	Stored bool
}

// Local reports whether the request cost the upstream no call of its own.
func (s CacheStatus) Local() bool { return s.Hit || s.Collapsed }

// ParseCacheStatus reads the part of the cache named penstock; a cache behind it may have written
// parts of its own before.
func ParseCacheStatus(h http.Header) CacheStatus {
	var s CacheStatus
	for _, line := range h.Values("Cache-Status") {
		for len(line) > 0 {
			var member string
			member, line = cutUnquoted(line, ',')
			name, params := cutUnquoted(member, ';')
			if !strings.EqualFold(strings.Trim(strings.TrimSpace(name), `"`), "penstock") {
				continue
			}
			s = CacheStatus{Present: true}
			for len(params) > 0 {
				var param string
				param, params = cutUnquoted(params, ';')
				s.set(strings.TrimSpace(param))
			}
		}
	}
	return s
}

func (s *CacheStatus) set(param string) {
	key, value, has := strings.Cut(param, "=")
	on := !has || value == "?1"
	switch key {
	case "hit":
		s.Hit = on
	case "collapsed":
		s.Collapsed = on
	case "stored":
		s.Stored = on
	case "fwd":
		s.Fwd = value
	}
}

// cutUnquoted cuts s at the first sep outside a quoted string.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

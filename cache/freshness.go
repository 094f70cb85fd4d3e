package cache

import (
	"net/http"
	"strings"
	"time"
)

const (
	// heuristicRatio is the share of the time since the last change for which an answer without
	// explicit freshness counts as fresh (RFC 9111, section 4.2.2).
	heuristicRatio = 10
	// maxHeuristic bounds it, as a page unchanged for years may still change tomorrow.
	maxHeuristic = 24 * time.Hour
)

// cacheableByDefault tells the statuses whose answers may be kept without explicit freshness (RFC
// 9110, section 15.1), but for 206, which is never kept here.
func cacheableByDefault(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// moment is when an answer was asked for and when its headers came.
type moment struct{ asked, answered time.Time }

// initialAge is how old an answer was when it arrived (RFC 9111, section 4.2.3).
func initialAge(h http.Header, m moment) time.Duration {
	var apparent time.Duration
	if date, ok := dateOf(h, "Date"); ok {
		apparent = max(0, m.answered.Sub(date).Truncate(time.Second))
	}
	delay := max(0, m.answered.Sub(m.asked))
	return max(apparent, ageField(h)+delay)
}

// ageField is the Age field: of a list its first member, 0 if absent or invalid.
func ageField(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	d, _ := parseDelta(strings.TrimSpace(first))
	return d
}

// lifetime is how long after its birth an answer is fresh (RFC 9111, section 4.2.1), and whether
// it says so itself. Explicit freshness that can't be read is none at all.
func lifetime(h http.Header, d *directives, answered time.Time) (fresh time.Duration, explicit bool) {
	if d.has(givenSMaxAge) {
		return d.sMaxAge, true
	}
	if d.has(givenMaxAge) {
		return d.maxAge, true
	}
	lines := h["Expires"]
	if len(lines) == 0 || d.targeted {
		return 0, false
	}
	for _, l := range lines[1:] {
		if l != lines[0] {
			return 0, true
		}
	}
	expires, ok := dateOf(h, "Expires")
	if !ok {
		return 0, true
	}
	date, ok := dateOf(h, "Date")
	if !ok {
		date = answered
	}
	return min(max(0, expires.Sub(date)), maxDelta), true
}

// heuristicLifetime guesses from how long ago the answer changed.
func heuristicLifetime(h http.Header, answered time.Time) time.Duration {
	changed, ok := dateOf(h, "Last-Modified")
	if !ok {
		return 0
	}
	date, ok := dateOf(h, "Date")
	if !ok {
		date = answered
	}
	return min(max(0, date.Sub(changed)/heuristicRatio), maxHeuristic)
}

package cache

import (
	"net/http"
	"strings"
	"time"
)

// parseDate reads an HTTP-date (RFC 9110, section 5.6.7): its three forms and nothing near them, as
// a date that can't be read must count as one in the past. Letters may have any case.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if !strings.HasSuffix(s, "GMT") && len(s) > 3 && strings.EqualFold(s[len(s)-3:], "GMT") {
		s = s[:len(s)-3] + "GMT"
	}
	var layout string
	switch {
	case shaped(s, "aaa, 00 aaa 0000 00:00:00 aaa"):
		layout = http.TimeFormat
	case shaped(afterDay(s), ", 00-aaa-00 00:00:00 aaa"):
		layout = time.RFC850
	case shaped(s, "aaa aaa 00 00:00:00 0000"), shaped(s, "aaa aaa  0 00:00:00 0000"):
		layout = time.ANSIC
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	if err != nil || layout == time.RFC850 && !strings.HasSuffix(s, "GMT") {
		return time.Time{}, false
	}
	// A year of two digits means the last such one, unless that lies more than 50 years back.
	if layout == time.RFC850 && t.After(now.AddDate(50, 0, 0)) {
		t = t.AddDate(-100, 0, 0)
	}
	return t, true
}

// shaped reports whether s has letters where shape has an a, digits where it has a 0, and is equal
// to it elsewhere.
func shaped(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; shape[i] {
		case 'a':
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case '0':
			if c < '0' || c > '9' {
				return false
			}
		default:
			if c != shape[i] {
				return false
			}
		}
	}
	return true
}

// afterDay is s without the name of a day at its start.
func afterDay(s string) string {
	return strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

// dateOf reads a field that holds one HTTP date.
func dateOf(h http.Header, name string) (time.Time, bool) {
	lines := h[name]
	if len(lines) == 0 {
		return time.Time{}, false
	}
	return parseDate(lines[0], time.Now())
}

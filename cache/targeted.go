package cache

import (
	"net/http"
	"strconv"

	"github.com/dunglas/httpsfv"
)

// targetedField is the one targeted field that counts here (RFC 9213, section 3.1).
const targetedField = "Cdn-Cache-Control"

// answerDirectives reads what an answer says to shared caches. A targeted field that is valid and
// not empty stands in the place of Cache-Control and Expires (RFC 9213, section 2.2).
func answerDirectives(h http.Header) directives {
	if lines := h[targetedField]; len(lines) > 0 {
		if d, ok := parseTargeted(lines); ok {
			return d
		}
	}
	return parseDirectives(h["Cache-Control"])
}

// parseTargeted reads a dictionary of RFC 9651. One that is malformed or empty, or that gives a
// directive a value of the wrong type, is as if it were not there.
func parseTargeted(lines []string) (directives, bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return directives{}, false
	}
	d := directives{targeted: true}
	for _, name := range dict.Names() {
		var value any
		if member, _ := dict.Get(name); member != nil {
			if item, ok := member.(httpsfv.Item); ok {
				value = item.Value
			}
		}
		if !d.addTyped(name, value) {
			return directives{}, false
		}
	}
	return d, true
}

// addTyped adds a member of a dictionary, and reports whether its type is right.
func (d *directives) addTyped(name string, value any) bool {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		n, ok := value.(int64)
		if !ok || n < 0 {
			return false
		}
		d.add(name, strconv.FormatInt(n, 10), true)
		return true
	case "no-cache", "private":
		if fields, ok := value.(string); ok {
			d.add(name, fields, true)
			return true
		}
	case "no-store", "public", "must-revalidate", "proxy-revalidate", "must-understand":
	default:
		return true // an extension that means nothing here
	}
	set, ok := value.(bool)
	if set {
		d.add(name, "", false)
	}
	return ok
}

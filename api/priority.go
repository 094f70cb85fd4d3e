package api

import (
	"net/http"

	"github.com/dunglas/httpsfv"

	"penstock/request"
)

// priority reads the urgency from RFC 9218's Priority. A header that is absent, malformed or out
// of range says nothing (RFC 9218, section 4): then ok is false.
func priority(h http.Header) (u request.Urgency, ok bool) {
	values := h["Priority"]
	if len(values) == 0 {
		return 0, false
	}
	// The forms that clients really send need no parser and no allocation.
	if v := values[0]; len(values) == 1 && len(v) >= 3 && v[:2] == "u=" && (len(v) == 3 || v[3:] == ", i") {
		return urgency(int64(v[2]) - '0')
	}
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return 0, false
	}
	member, found := dict.Get("u")
	if !found {
		return 0, false
	}
	item, isItem := member.(httpsfv.Item)
	if !isItem {
		return 0, false
	}
	n, isInt := item.Value.(int64)
	if !isInt {
		return 0, false
	}
	return urgency(n)
}

func urgency(n int64) (request.Urgency, bool) {
	if n < 0 || n > int64(request.LeastUrgent) {
		return 0, false
	}
	return request.Urgency(n), true
}

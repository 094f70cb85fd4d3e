package api

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// continueTrace keeps a valid traceparent, replaces a malformed one by a new trace (W3C Trace
// Context, section 3.2), and adds none where none was sent. It
// reports whether the trace is a new one.
func continueTrace(h http.Header) (anew bool) {
	v := h["Traceparent"]
	if len(v) == 0 || len(v) == 1 && validTraceparent(v[0]) {
		return false
	}
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	h["Traceparent"] = []string{"00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-00"}
	delete(h, "Tracestate") // it belonged to the malformed one
	return true
}

// validTraceparent checks version-traceid-parentid-flags; a higher version may carry more.
func validTraceparent(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, parent := s[:2], s[3:35], s[36:52]
	if version == "ff" || version == "00" && len(s) != 55 || len(s) > 55 && s[55] != '-' {
		return false
	}
	return lowerHex(version) && lowerHex(trace) && lowerHex(parent) && lowerHex(s[53:55]) &&
		strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

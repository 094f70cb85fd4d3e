package upstream

import (
	"net/http"
	"net/textproto"
	"strings"

	"penstock/observe"
	"penstock/request"
)

// reservedHeader reports whether a field belongs to one connection or to the framing, and so is
// never taken from anybody but the transport (RFC 9110, 7.6.1 and 8.6).
func reservedHeader(name string) bool {
	return request.HopByHop(http.CanonicalHeaderKey(name)) || strings.EqualFold(name, "Host") || strings.EqualFold(name, "Content-Length")
}

// outgoing makes the header to send of what the client sent: without hop-by-hop fields, and with
// the configured ones in place of the client's.
func (s *settings) outgoing(r *request.Request) (http.Header, error) {
	out := make(http.Header, len(r.Header)+len(s.static)+len(s.secretHeaders)+1)
	listed := r.Header["Connection"]
	for name, values := range r.Header {
		key := http.CanonicalHeaderKey(name)
		if request.HopByHop(key) || key == "Host" || key == "Content-Length" || connectionLists(listed, key) {
			continue
		}
		if !validToken(name) {
			return nil, badHeader("a header field's name", "is not a token")
		}
		for _, v := range values {
			if !validFieldValue(v) {
				return nil, badHeader("the header field "+key, "has characters that a header can't carry")
			}
		}
		if had, ok := out[key]; ok { // the same name in another spelling
			values = append(had[:len(had):len(had)], values...)
		}
		out[key] = values
	}
	if wantsTrailers(r.Header["Te"]) {
		out["Te"] = teTrailers
	}
	if r.Stream == nil {
		// The body is at hand: waiting for a 100 would only cost a round trip.
		delete(out, "Expect")
	}
	for name, values := range s.static {
		out[name] = values
	}
	for name, values := range s.secretHeaders {
		out[name] = values
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = noUserAgent
	}
	return out, nil
}

var (
	teTrailers  = []string{"trailers"}
	noUserAgent = []string{""} // net/http then adds none of its own
)

// setTrace writes the trace over that of the client. A tracestate belongs to its traceparent.
func setTrace(h http.Header, t observe.Trace) {
	if t.Parent == "" {
		return
	}
	h["Traceparent"] = []string{t.Parent}
	delete(h, "Tracestate")
	if t.State != "" {
		h["Tracestate"] = []string{t.State}
	}
}

// incoming drops the hop-by-hop fields of an answer, in place.
func incoming(h http.Header) {
	if listed, ok := h["Connection"]; ok {
		for _, v := range listed {
			for name := range strings.SplitSeq(v, ",") {
				delete(h, http.CanonicalHeaderKey(textproto.TrimString(name)))
			}
		}
	}
	for name := range h {
		if request.HopByHop(name) {
			delete(h, name)
		}
	}
}

// connectionLists reports whether a Connection field names key.
func connectionLists(listed []string, key string) bool {
	for _, v := range listed {
		for name := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(name), key) {
				return true
			}
		}
	}
	return false
}

func wantsTrailers(te []string) bool {
	for _, v := range te {
		for coding := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

func badHeader(what, why string) *request.Error {
	return &request.Error{Problem: request.ProblemBadRequest, Detail: what + " " + why + " (RFC 9110, section 5)"}
}

// validToken reports whether s is a token (RFC 9110, 5.6.2).
func validToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// validFieldValue reports whether s can stand in a field (RFC 9110, 5.5).
func validFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

package cache

import (
	"net/http"
	"slices"
	"strings"

	"penstock/request"
)

// steeringFields are request fields that no cache is told to look at, but by which many frameworks choose
// links, the target or the method: who sends one could have his answer kept for all others (Kettle,
// "Practical Web Cache Poisoning", 2018). An answer to a request with such a field is kept as if it had
// named that field in Vary. X-Forwarded-For and X-Real-Ip are not among them: they differ from client
// to client, and an upstream whose answers depend on them must say so.
var steeringFields = []string{
	"Forwarded", "Front-End-Https", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Host", "X-Http-Host-Override",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host", "X-Original-Uri", "X-Original-Url",
	"X-Rewrite-Uri", "X-Rewrite-Url", "X-Scheme", "X-Url-Scheme",
}

// selectingNames are the fields by which an answer with the header h to a request with the header asked may
// have been chosen: those of Vary, and what steered. Cookies are among them, unless the answer says that it is for all: then
// it must not be unshared, which is what RFC 9111, section 3.5, asks for Authorization.
func selectingNames(h, asked http.Header, unshared bool) []string {
	names := varyNames(h)
	n := len(names)
	if unshared && len(asked["Cookie"]) > 0 {
		names = append(names, "Cookie")
	}
	for _, name := range steeringFields {
		if len(asked[name]) > 0 {
			names = append(names, name)
		}
	}
	if len(names) > n {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names
}

// steered reports whether a request has a steering field that is not one of names: what it is answered
// may be no answer to others that share the rest with it.
func steered(asked http.Header, names []string) bool {
	for _, name := range steeringFields {
		if len(asked[name]) > 0 && !slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// unsteered is r, or a copy of it, as a request that e is the answer to: without the fields that steer but did not select e, and
// without cookies where e was made for who sends none.
func unsteered(r *request.Request, e *entry) *request.Request {
	cookies := e.anonymous && len(r.Header["Cookie"]) > 0 && !slices.Contains(e.vary, "Cookie")
	if !cookies && !steered(r.Header, e.vary) {
		return r
	}
	r = r.Clone()
	if cookies {
		delete(r.Header, "Cookie")
	}
	for _, name := range steeringFields {
		if !slices.Contains(e.vary, name) {
			delete(r.Header, name)
		}
	}
	return r
}

// forwardedSelects is what of a Forwarded field (RFC 7239) may choose an answer: the host and the protocol
// that each proxy was asked for. The rest differs from client to client.
func forwardedSelects(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		for part := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ',' || c == ';' }) {
			name, value, _ := strings.Cut(part, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			if name == "host" || name == "proto" {
				b.WriteString(name)
				b.WriteByte('=')
				b.WriteString(strings.TrimSpace(value))
				b.WriteByte(';')
			}
		}
	}
	return b.String()
}

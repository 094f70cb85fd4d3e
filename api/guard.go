package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"penstock/request"
)

// strictHeaders are safe for any answer of the admin plane; the page may set its own policy.
func strictHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

// guard refuses who may not pass: first foreign sites, then strangers, then changes of a
// read-only service. Health is for everybody.
func (a *admin) guard(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return nil
	}
	token := a.o.Token()
	if token == "" && rebound(r) {
		return request.Errorf(request.ProblemForbidden,
			"a loopback address was asked for by the name %.100q, as a hostile web page could; use localhost or the address, or set admin.token", r.Host)
	}
	if err := a.origin.Check(r); err != nil {
		return request.Errorf(request.ProblemForbidden, "a page of another origin may change nothing here: %w", err)
	}
	if token != "" && !authorized(r, token) {
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="penstock"`, `Basic realm="penstock"`}
		return request.Errorf(request.ProblemUnauthorized, "send the admin.token as \"Authorization: Bearer TOKEN\"")
	}
	if a.o.ReadOnly() && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		return request.Errorf(request.ProblemForbidden, "the admin plane is read-only; start without --read-only or set admin.read_only: false")
	}
	return nil
}

// authorized compares in constant time, by hash, so that not even the length shows.
func authorized(r *http.Request, token string) bool {
	sent, ok := "", false
	if scheme, value, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		sent, ok = strings.TrimSpace(value), true
	} else if _, password, basic := r.BasicAuth(); basic {
		sent, ok = password, true
	}
	a, b := sha256.Sum256([]byte(sent)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok
}

// rebound reports whether a connection to a loopback address asks for a public name: so does a
// web page whose name was made to point at this machine (DNS rebinding).
func rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil
}

package api

import (
	"errors"
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

// guard refuses who may not pass: first foreign sites, then strangers, then changes of who may only
// look. It says who passes. Health, and the way in and out, are for everybody.
func (a *admin) guard(w http.ResponseWriter, r *http.Request) (*identity, error) {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return &identity{author: DefaultAuthor}, nil
	}
	tokens := a.tokens()
	if len(tokens) == 0 && rebound(r) {
		return nil, request.Errorf(request.ProblemForbidden,
			"a loopback address was asked for by the name %.100q, as a hostile web page could; use localhost or the address, or set admin.token", r.Host)
	}
	if err := a.origin.Check(r); err != nil {
		return nil, request.Errorf(request.ProblemForbidden, "a page of another origin may change nothing here: %w", err)
	}
	if entry(r.URL.Path) {
		return &identity{author: DefaultAuthor}, nil
	}
	id, err := a.identify(r, tokens)
	if err != nil {
		demandToken(w, r, err)
		return nil, err
	}
	if !reading(r.Method) {
		return id, a.mayChange(id)
	}
	return id, nil
}

func reading(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// mayChange says why id may change nothing; nil: it may.
func (a *admin) mayChange(id *identity) error {
	if a.o.ReadOnly() {
		return request.Errorf(request.ProblemForbidden, "the admin plane is read-only; start without --read-only or set admin.read_only: false")
	}
	if id.readOnly {
		return request.Errorf(request.ProblemForbidden, "the token of %s may only look (admin.tokens.%s.read_only)", id.author, id.author)
	}
	return nil
}

// demandToken says how to prove who one is. A script in a page is not offered basic authentication:
// its browser would open a dialogue over the page.
func demandToken(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*request.Error](err); !ok || e.Problem != request.ProblemUnauthorized {
		return
	}
	w.Header()["Www-Authenticate"] = []string{`Bearer realm="penstock"`}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode == "" || mode == "navigate" {
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="penstock"`, `Basic realm="penstock"`}
	}
}

// tokens are the secrets that open the plane; none: it is open.
func (a *admin) tokens() []AdminToken {
	all := a.o.Tokens()
	if t := a.o.Token(); t != "" {
		all = append([]AdminToken{{Secret: t}}, all...)
	}
	return all
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

package cache

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"penstock/request"
)

// invalidate forgets what an unsafe method has changed (RFC 9111, section 4.4): its own target, and
// Location and Content-Location where they are of the same origin.
func (c *Cache) invalidate(r *request.Request, h http.Header) {
	if r.Route.Name != request.ProxyRoute {
		if r.Key != "" {
			c.purgeKey(r.Key)
		}
		return
	}
	c.purgeKey(cmp.Or(r.Key, proxyKey(r.Route.Upstream, r.Path, r.RawQuery)))
	for _, name := range []string{"Location", "Content-Location"} {
		for _, to := range h[name] {
			if path, query, ok := sameOrigin(r.Route.BaseURL, r.Path, to); ok {
				c.purgeKey(proxyKey(r.Route.Upstream, path, query))
			}
		}
	}
}

// sameOrigin resolves a reference in the answer to a request for path. ok is false if it leads to
// another origin or out of the base path; else path, below the base path, and query are where it
// leads to.
func sameOrigin(base, path, reference string) (to, query string, ok bool) {
	origin, err := url.Parse(base)
	if err != nil || reference == "" {
		return "", "", false
	}
	ref, err := url.Parse(reference)
	if err != nil {
		return "", "", false
	}
	root := strings.TrimRight(origin.EscapedPath(), "/")
	target := *origin
	if target.Path, err = url.PathUnescape(root + path); err != nil {
		return "", "", false
	}
	target.RawPath = root + path
	u := target.ResolveReference(ref)
	if !strings.EqualFold(u.Scheme, origin.Scheme) || !strings.EqualFold(hostPort(u), hostPort(origin)) || u.User != nil {
		return "", "", false
	}
	to, ok = strings.CutPrefix(u.EscapedPath(), root)
	if to == "" {
		to = "/"
	}
	return to, u.RawQuery, ok && to[0] == '/'
}

// hostPort is the host of u with its port, which may be the scheme's own.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch strings.ToLower(u.Scheme) {
		case "http":
			port = "80"
		case "https":
			port = "443"
		}
	}
	return u.Hostname() + ":" + port
}

// proxyKey is the key that api gives to a GET of that target on the proxy path.
func proxyKey(upstream, path, query string) string {
	if query == "" {
		return upstream + " " + path
	}
	return upstream + " " + path + "?" + query
}

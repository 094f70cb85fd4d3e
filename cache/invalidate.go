package cache

import (
	"cmp"
	"net/http"
	"strings"

	"penstock/request"
)

// invalidate forgets what an unsafe method has changed (RFC 9111, section 4.4): its own target, and
// Location and Content-Location where they are paths, and so surely of the same origin.
func (c *Cache) invalidate(r *request.Request, h http.Header) {
	if r.Route.Name != request.ProxyRoute {
		if r.Key != "" {
			c.purgeKey(r.Key)
		}
		return
	}
	c.purgeKey(cmp.Or(r.Key, proxyKey(r.Route.Upstream, r.Path, r.RawQuery)))
	for _, name := range []string{"Location", "Content-Location"} {
		path, query, _ := strings.Cut(h.Get(name), "?")
		path, _, _ = strings.Cut(path, "#")
		query, _, _ = strings.Cut(query, "#")
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
			c.purgeKey(proxyKey(r.Route.Upstream, path, query))
		}
	}
}

// proxyKey is the key that api gives to a GET of that target on the proxy path.
func proxyKey(upstream, path, query string) string {
	if query == "" {
		return upstream + " " + path
	}
	return upstream + " " + path + "?" + query
}

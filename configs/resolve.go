package configs

import (
	"maps"
	"slices"
	"strings"
)

// ResolvedUpstream returns the upstream with everything filled in, false if there is none of that
// name. (Load fills in, so this is a look-up.)
func (c *Config) ResolvedUpstream(name string) (Upstream, bool) {
	u, ok := c.Upstreams[name]
	return u, ok
}

// ResolvedRoute returns the route with everything filled in, false if there is none of that name.
func (c *Config) ResolvedRoute(name string) (Route, bool) {
	r, ok := c.Routes[name]
	return r, ok
}

// UpstreamNames lists the upstreams in order.
func (c *Config) UpstreamNames() []string { return slices.Sorted(maps.Keys(c.Upstreams)) }

// RouteNames lists the routes in order.
func (c *Config) RouteNames() []string { return slices.Sorted(maps.Keys(c.Routes)) }

// parent is the key around a key: a list for its element, a section for its key.
func parent(key string) string {
	if i := strings.LastIndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return ""
}

// sibling is another key of the same section.
func sibling(key, name string) string {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return join(key[:i], name)
	}
	return name
}

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"penstock/configs"
	"penstock/request"
)

// table is everything that requests are looked up in. It is immutable: a reload makes a new one
// and swaps the pointer.
type table struct {
	routes  map[string]*request.Route
	list    []*request.Route
	proxies map[string]*request.Route
	nodes   map[string]*node
}

// newTable compiles the routes of a configuration; ttl gives each route's TTL knob.
func newTable(c *configs.Config, ttl func(upstream, route string, p configs.CachePolicy) request.DurationValue) (*table, error) {
	t := &table{
		routes:  make(map[string]*request.Route, len(c.Routes)),
		proxies: make(map[string]*request.Route, len(c.Upstreams)),
	}
	for name := range c.Upstreams {
		u, _ := c.ResolvedUpstream(name)
		r := request.NewProxyRoute(name, cachePolicy(u.Cache, ttl(name, request.ProxyRoute, u.Cache)))
		r.OnAbandon, r.MaxWait = onAbandon[u.OnAbandon], u.Workers.RequestTimeout
		r.BaseURL, r.Preload = u.BaseURL, preloadPolicy(u.Preload)
		t.proxies[name] = r
	}
	var faults []error
	for name := range c.Routes {
		rc, _ := c.ResolvedRoute(name)
		u, _ := c.ResolvedUpstream(rc.Upstream)
		r := newRoute(name, u, rc, ttl(rc.Upstream, name, rc.Cache))
		if err := r.Compile(); err != nil {
			faults = append(faults, fmt.Errorf("routes.%s: %w", name, err))
			continue
		}
		t.routes[name] = r
		t.list = append(t.list, r)
	}
	slices.SortFunc(t.list, func(a, b *request.Route) int { return cmp.Compare(a.Name, b.Name) })
	return t, errors.Join(faults...)
}

func newRoute(name string, u configs.Upstream, c configs.Route, ttl request.DurationValue) *request.Route {
	r := &request.Route{
		Name: name, Upstream: c.Upstream, Method: c.Method, Path: c.Path,
		Query: c.Query, Header: c.Headers, Body: c.Body, Key: c.Key,
		Params:       make(map[string]request.Param, len(c.Params)),
		Urgency:      request.Urgency(c.Urgency),
		Timeout:      c.Timeout,
		MaxWait:      u.Workers.RequestTimeout,
		PassHeaders:  u.PassHeaders,
		OnAbandon:    onAbandon[c.OnAbandon],
		Cache:        cachePolicy(c.Cache, ttl),
		Preload:      preloadPolicy(c.Preload),
		PricePerCall: c.PricePerCall,
	}
	for p, pc := range c.Params {
		r.Params[p] = request.Param{Required: pc.Required, Pattern: pc.Pattern, Default: pc.Default, Doc: pc.Doc}
	}
	return r
}

var onAbandon = map[string]request.OnAbandon{
	"auto":   request.AbandonDefault,
	"finish": request.AbandonFinish,
	"cancel": request.AbandonCancel,
}

var cacheModes = map[string]request.CacheMode{
	"http": request.CacheHTTP,
	"ttl":  request.CacheTTL,
	"off":  request.CacheOff,
}

func cachePolicy(c configs.CachePolicy, ttl request.DurationValue) request.CachePolicy {
	return request.CachePolicy{
		Mode: cacheModes[c.Mode], TTL: ttl, NegativeTTL: c.NegativeTTL,
		StaleWhileRevalidate: c.StaleWhileRevalidate, StaleIfError: c.StaleIfError,
	}
}

// Route, Routes and Proxy make App the route table of api.

// Route finds a declared route.
func (a *App) Route(name string) (*request.Route, bool) {
	r, ok := a.table.Load().routes[name]
	return r, ok
}

// Routes lists the declared routes in order of name.
func (a *App) Routes() []*request.Route { return a.table.Load().list }

// Proxy finds the implicit route of an upstream's proxy path.
func (a *App) Proxy(upstream string) (*request.Route, bool) {
	r, ok := a.table.Load().proxies[upstream]
	return r, ok
}

// dispatch is the Doer behind the cache: it hands a request to its upstream's scheduler.
func (a *App) dispatch(ctx context.Context, r *request.Request) (*request.Response, error) {
	n, ok := a.table.Load().nodes[r.Route.Upstream]
	if !ok {
		return nil, request.Errorf(request.ProblemUnknownUpstream,
			"the upstream %q is no longer configured", r.Route.Upstream)
	}
	return a.tracer.Queue(ctx, r, n.scheduler)
}

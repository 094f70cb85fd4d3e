package app

import (
	"sync/atomic"
	"time"

	"penstock/cache"
	"penstock/configs"
	"penstock/knob"
	"penstock/request"
	"penstock/tuner"
)

// memorySample is of how many keys one is measured for what memory is worth to its route.
const memorySample = 64

// memoryBook holds the routes' shares of the cache. Safe for concurrent use.
type memoryBook struct {
	shares atomic.Pointer[map[routeID]*knob.Knob]
	meter  *tuner.MemoryMeter // set once, ahead of the first plugs
}

// share is a route's ceiling, as a share of the cache.
func (b *memoryBook) share(upstream, route string) float64 {
	shares := b.shares.Load()
	if shares == nil {
		return 1
	}
	if k := (*shares)[routeID{upstream, route}]; k != nil {
		return k.Value()
	}
	return 1
}

// cachingRoutes are the routes of a configuration whose answers may be kept, with the proxy paths.
func cachingRoutes(c *configs.Config) []routeID {
	var list []routeID
	for name := range c.Upstreams {
		if u, _ := c.ResolvedUpstream(name); u.Cache.Mode != "off" {
			list = append(list, routeID{name, request.ProxyRoute})
		}
	}
	for name := range c.Routes {
		if r, _ := c.ResolvedRoute(name); r.Cache.Mode != "off" {
			list = append(list, routeID{r.Upstream, name})
		}
	}
	return list
}

// planShares gives each route a share of the cache, where there is more than one to share it.
func (p *knobPlan) planShares(c *configs.Config) {
	list := cachingRoutes(c)
	if len(list) < 2 {
		return
	}
	for _, id := range list {
		name := shareKnob(id)
		p.add("", knob.Spec{
			Name: name, Kind: knob.KindFloat, Unit: "ratio", Default: 1, Min: 0.01, Max: 1,
			Doc: "The share of cache.max_bytes that the route's answers may fill; less leaves more to the other routes, 1 is no ceiling.",
		}, 1)
	}
}

func shareKnob(id routeID) string {
	if id.route == request.ProxyRoute {
		return "cache.share." + id.upstream + ".proxy"
	}
	return "cache.share." + id.route
}

// sampledKeys is how the cache measures: not at all where nobody would look at it.
func sampledKeys(c *configs.Config) int {
	if !c.Cache.Enabled || c.Tuning.Mode == string(tuner.ModeOff) || len(cachingRoutes(c)) < 2 {
		return 0
	}
	return memorySample
}

// memoryPlugs look after the shares of the cache, of which one at a time is moved.
func (a *App) memoryPlugs(c *configs.Config) []tuner.Plug {
	if a.memory.meter == nil {
		a.memory.meter = tuner.NewMemoryMeter()
	}
	shares := make(map[routeID]*knob.Knob)
	var plugs []tuner.Plug
	for _, id := range cachingRoutes(c) {
		k, ok := a.knobs.Lookup(shareKnob(id))
		if !ok {
			continue
		}
		shares[id] = k
		if !c.Cache.Enabled {
			continue
		}
		plugs = append(plugs, tuner.Plug{
			Knob: k.Spec().Name, Kind: "memory", Upstream: id.upstream, Route: id.route, Couple: "cache memory",
			Slow: tuner.MemoryRule(a.measureMemory(id)).Slow(),
		})
	}
	a.memory.shares.Store(&shares)
	return plugs
}

// measureMemory tells what the cache's memory did, for the knob of one route.
func (a *App) measureMemory(id routeID) func(from, to time.Time) tuner.MemorySeen {
	return func(from, to time.Time) tuner.MemorySeen {
		return a.memory.meter.Measure(time.Now(), memoryCounts(a.cache.Memory(), a.memory.share), id.upstream, id.route, from, to)
	}
}

// memoryCounts are the cache's numbers as the tuner reads them.
func memoryCounts(m cache.Memory, share func(upstream, route string) float64) tuner.MemoryCounts {
	c := tuner.MemoryCounts{MaxBytes: float64(m.MaxBytes), Bytes: float64(m.Bytes), Band: cache.MemoryBand * float64(m.MaxBytes)}
	for i := range m.Routes {
		r := &m.Routes[i]
		c.Routes = append(c.Routes, tuner.MemoryCount{
			Upstream: r.Upstream, Route: r.Route, Share: share(r.Upstream, r.Route), Bytes: float64(r.Bytes),
			Hits: float64(r.Hits), Misses: float64(r.Misses), Gained: r.Gained, Lost: r.Lost,
			GainedVariance: r.GainedVariance, LostVariance: r.LostVariance,
		})
	}
	return c
}

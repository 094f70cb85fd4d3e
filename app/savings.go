package app

import (
	"penstock/cache"
	"penstock/observe"
)

// savings are calls to upstreams that were not needed.
type savings struct {
	calls uint64
	// money is nil if no route has a price.
	money  *float64
	routes map[observe.RouteName]saved
}

type saved struct {
	calls uint64
	money *float64
}

// savings counts answers since the start that needed no call of their own: those from the cache, fresh or
// stale, those that shared another request's call, and the companions in batches.
func (a *App) savings(st cache.Stats) savings {
	s := savings{routes: make(map[observe.RouteName]saved)}
	for _, r := range st.Routes {
		s.add(observe.RouteName{Upstream: r.Upstream, Route: r.Route}, r.Hits+r.StaleHits+r.StaleErrors+r.Collapsed)
	}
	for name, n := range a.table.Load().nodes {
		for route, b := range n.batcher.Stats().Routes {
			if b.Items > b.Batches {
				s.add(observe.RouteName{Upstream: name, Route: route}, b.Items-b.Batches)
			}
		}
	}
	for name, route := range a.current.Load().Config.Routes {
		if route.PricePerCall == 0 {
			continue
		}
		if s.money == nil {
			s.money = new(float64)
		}
		key := observe.RouteName{Upstream: route.Upstream, Route: name}
		one := s.routes[key]
		money := float64(one.calls) * route.PricePerCall
		one.money = &money
		s.routes[key] = one
		*s.money += money
	}
	return s
}

func (s *savings) add(name observe.RouteName, calls uint64) {
	one := s.routes[name]
	one.calls += calls
	s.routes[name] = one
	s.calls += calls
}

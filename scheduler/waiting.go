package scheduler

import (
	"cmp"
	"slices"

	"penstock/request"
)

// Waiting is what one tenant has queued, by urgency; preloading is not in it.
type Waiting struct {
	Tenant    string
	ByUrgency [request.Urgencies]int
	Total     int
}

// Waiting lists the tenants that have something queued, most first, at most limit.
func (s *Scheduler) Waiting(limit int) []Waiting {
	byTenant := make(map[string]*Waiting)
	add := func(tenant string, urgency, n int) {
		w := byTenant[tenant]
		if w == nil {
			w = &Waiting{Tenant: tenant}
			byTenant[tenant] = w
		}
		w.ByUrgency[urgency] += n
		w.Total += n
	}
	s.mu.Lock()
	for u := range s.q.classes {
		if u == backgroundClass {
			continue
		}
		for _, f := range s.q.classes[u].order.flows {
			if f.items.n > 0 {
				add(f.tenant, u, f.items.n)
			}
		}
	}
	for _, b := range s.forming {
		for _, it := range b.members {
			if it.class != backgroundClass {
				add(it.req.Tenant, int(it.class), 1)
			}
		}
	}
	s.mu.Unlock()
	list := make([]Waiting, 0, len(byTenant))
	for _, w := range byTenant {
		list = append(list, *w)
	}
	slices.SortFunc(list, func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Tenant, b.Tenant))
	})
	return list[:min(len(list), limit)]
}

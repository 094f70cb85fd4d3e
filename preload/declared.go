package preload

import (
	"strings"

	"penstock/request"
)

// declared are the keys that an answer names by the links that its route declares. Like found links, each has
// odds of its own: a declaration says where ids lead, not that anybody goes there.
func (p *Preloader) declared(x *listing, r *request.Request, tenant string) (list []target) {
	for _, l := range r.Route.Preload.Links {
		route, ok := p.o.RouteOf(l.Route)
		if !ok || !allows(route) || r.Route.Preload.Shared && !route.Preload.Shared {
			continue // what one tenant's list says is not for another's requests
		}
		for g := range x.groups {
			group := &x.groups[g]
			if strings.TrimPrefix(group.place, ".") != strings.TrimPrefix(l.Place, ".") {
				continue
			}
			name := linkName{x.shape, group.place, p.hash.joined(tenant, l.Route, "\x00", l.Param)}
			p.links.found(name)
			for rank, id := range group.ids {
				built, err := route.Build(map[string]any{l.Param: id})
				if err != nil || built.Key == "" {
					continue // the route does not take it, or needs more than this
				}
				built.Tenant = r.Tenant
				list = append(list, target{key: p.hash.key(p.tenantOf(built), built.Key), link: p.links.index[name], rank: rank, value: id, built: built})
			}
		}
	}
	return list
}

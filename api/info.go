package api

import (
	"cmp"
	"net/http"
	"slices"

	"penstock/request"
)

// routeView is what GET /v1/routes tells of a route.
type routeView struct {
	Name     string               `json:"name"`
	Upstream string               `json:"upstream"`
	Method   string               `json:"method"`
	Path     string               `json:"path"`
	Urgency  request.Urgency      `json:"urgency"`
	Params   map[string]paramView `json:"params"`
	Key      []string             `json:"key,omitempty"`
	Cache    string               `json:"cache"`
	TTL      float64              `json:"ttl_seconds,omitempty"`
}

type paramView struct {
	Required bool   `json:"required"`
	Pattern  string `json:"pattern,omitempty"`
	Default  any    `json:"default,omitempty"`
	Doc      string `json:"doc,omitempty"`
}

func viewRoute(r *request.Route) routeView {
	v := routeView{Name: r.Name, Upstream: r.Upstream, Method: cmp.Or(r.Method, http.MethodGet), Path: r.Path,
		Urgency: r.Urgency, Params: make(map[string]paramView, len(r.Params)), Key: r.Key}
	for name, p := range r.Params {
		v.Params[name] = paramView{p.Required, p.Pattern, p.Default, p.Doc}
	}
	switch r.Cache.Mode {
	case request.CacheTTL:
		v.Cache = "ttl"
		if r.Cache.TTL != nil {
			v.TTL = r.Cache.TTL.Get().Seconds()
		}
	case request.CacheOff:
		v.Cache = "off"
	default:
		v.Cache = "http"
	}
	return v
}

func (d *data) serveRoutes(w http.ResponseWriter, r *http.Request) {
	if _, err := d.identify(w, r); err != nil {
		d.fail(w, r, exchangeOf(r), err)
		return
	}
	routes := d.o.Routes.Routes()
	views := make([]routeView, len(routes))
	for i, route := range routes {
		views[i] = viewRoute(route)
	}
	slices.SortFunc(views, func(a, b routeView) int { return cmp.Compare(a.Name, b.Name) })
	d.writeJSON(w, r, http.StatusOK, map[string]any{"routes": views})
}

func (d *data) serveStats(w http.ResponseWriter, r *http.Request) {
	if _, err := d.identify(w, r); err != nil {
		d.fail(w, r, exchangeOf(r), err)
		return
	}
	d.writeJSON(w, r, http.StatusOK, d.o.Stats())
}

package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

func (a *admin) mountStreams(m chi.Router) {
	if a.o.Streams == nil {
		return
	}
	m.Get("/streams", a.serveStreams)
	m.Delete("/streams/{id}", a.serveStreamCancel)
}

// serveStreams lists the streams of all tenants, or of one.
func (a *admin) serveStreams(w http.ResponseWriter, r *http.Request) {
	var tenant *string
	if query := r.URL.Query(); query.Has("tenant") {
		name := query.Get("tenant")
		tenant = &name
	}
	a.writeJSON(w, r, http.StatusOK, map[string]any{"streams": a.o.Streams.List(tenant)})
}

// serveStreamCancel ends a stream of any tenant.
func (a *admin) serveStreamCancel(w http.ResponseWriter, r *http.Request) {
	s, err := a.o.Streams.find(chi.URLParam(r, "id"), nil)
	var p StreamProgress
	if err == nil {
		p, err = s.cancelled(r.Context())
	}
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, p)
}

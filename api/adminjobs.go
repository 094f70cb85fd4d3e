package api

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"
)

func (a *admin) mountJobs(m chi.Router) {
	if a.o.Jobs == nil {
		return
	}
	m.Get("/jobs", a.serveJobs)
	m.Get("/jobs/{id}", a.jobAnswer(a.o.Jobs.Job))
	m.Post("/jobs/{id}/cancel", a.jobAnswer(a.o.Jobs.Cancel))
	m.Post("/jobs/{id}/retry", a.jobAnswer(a.o.Jobs.Retry))
}

// serveJobs lists the jobs of all tenants, or of one.
func (a *admin) serveJobs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f, err := jobFilter(query)
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	if query.Has("tenant") {
		tenant := query.Get("tenant")
		f.Tenant = &tenant
	}
	list, err := listJobs(r.Context(), a.o.Jobs, f)
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	list.Counts = a.o.Jobs.Counts()
	a.writeJSON(w, r, http.StatusOK, list.complete())
}

// jobAnswer answers with the job that f gives for the path's id.
func (a *admin) jobAnswer(f func(ctx context.Context, id string) (Job, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, err := f(r.Context(), chi.URLParam(r, "id"))
		if err != nil {
			a.fail(w, r, exchangeOf(r), err)
			return
		}
		a.writeJSON(w, r, http.StatusOK, j)
	}
}

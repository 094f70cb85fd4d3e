package api

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

func (a *admin) serveAny(f func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { a.writeJSON(w, r, http.StatusOK, f()) }
}

func (a *admin) serveConfig(w http.ResponseWriter, r *http.Request) {
	v := a.o.Config.Effective()
	if v.Entries == nil {
		v.Entries = []ConfigEntry{}
	}
	a.writeJSON(w, r, http.StatusOK, v)
}

// changesView is a list of differences.
type changesView struct {
	Changes []ConfigChange `json:"changes"`
	// RestartNeeded names the changed keys that only a restart puts in force.
	RestartNeeded []string `json:"restart_needed"`
}

func viewChanges(changes []ConfigChange) changesView {
	v := changesView{Changes: changes, RestartNeeded: []string{}}
	if changes == nil {
		v.Changes = []ConfigChange{}
	}
	for _, c := range changes {
		if c.RestartNeeded {
			v.RestartNeeded = append(v.RestartNeeded, c.Key)
		}
	}
	return v
}

func (a *admin) serveConfigDiff(w http.ResponseWriter, r *http.Request) {
	changes, err := a.o.Config.Diff(r.Context())
	a.serveChanges(w, r, changes, err)
}

func (a *admin) serveReload(w http.ResponseWriter, r *http.Request) {
	changes, err := a.o.Config.Reload(r.Context())
	a.serveChanges(w, r, changes, err)
}

func (a *admin) serveChanges(w http.ResponseWriter, r *http.Request, changes []ConfigChange, err error) {
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, viewChanges(changes))
}

func (a *admin) serveCache(w http.ResponseWriter, r *http.Request) {
	a.writeJSON(w, r, http.StatusOK, a.o.Cache.Stats())
}

func (a *admin) servePurge(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	var p PurgeRequest
	if err := readStrict(w, r, &p); err != nil {
		a.fail(w, r, x, err)
		return
	}
	set := 0
	for _, is := range []bool{p.Key != "", p.Prefix != "", p.Route != "", p.Upstream != "", p.Tag != "", p.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		a.fail(w, r, x, request.Errorf(request.ProblemBadRequest,
			`say what to purge by exactly one of "key", "prefix", "route", "upstream", "tag" or "all": true; here are %d`, set))
		return
	}
	n, err := a.o.Cache.Purge(r.Context(), p)
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, map[string]int{"purged": n})
}

const (
	defaultDecisions = 100
	maxDecisions     = 1000
)

func (a *admin) serveDecisions(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q := DecisionQuery{Knob: query.Get("knob"), Limit: defaultDecisions}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxDecisions {
			a.fail(w, r, exchangeOf(r), request.Errorf(request.ProblemBadRequest, "limit must be a whole number from 1 to %d", maxDecisions))
			return
		}
		q.Limit = n
	}
	var list any
	if a.o.Decisions != nil {
		list = a.o.Decisions.List(q)
	}
	if v := reflect.ValueOf(list); !v.IsValid() || v.Kind() == reflect.Slice && v.IsNil() {
		list = []struct{}{} // a list is never null
	}
	a.writeJSON(w, r, http.StatusOK, map[string]any{"decisions": list})
}

func (a *admin) serveDecision(w http.ResponseWriter, r *http.Request) {
	id := chi.URLParam(r, "id")
	if a.o.Decisions != nil {
		if d, ok := a.o.Decisions.Get(id); ok {
			a.writeJSON(w, r, http.StatusOK, d)
			return
		}
	}
	a.fail(w, r, exchangeOf(r), &request.Error{Problem: request.ProblemNotFound,
		Detail: fmt.Sprintf("there is no decision %.100q, or it is no longer kept; GET /admin/v1/decisions lists them", id)})
}

func (a *admin) serveMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	exchangeOf(r).status = http.StatusOK
	a.o.Metrics(w)
}

package api

import (
	"net/http"

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

func (a *admin) serveMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	exchangeOf(r).status = http.StatusOK
	a.o.Metrics(w)
}

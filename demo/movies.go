package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBatch is how many items one call may ask for.
	maxBatch = 100
	pageSize = 20
)

// serveMovie answers GET /movies/{id}.
func (a *API) serveMovie(w http.ResponseWriter, r *http.Request) {
	if !a.work(w, 1) {
		return
	}
	f, ok := a.filmOf(w, r)
	if !ok {
		return
	}
	m, since := a.movieNow(f)
	etag := fmt.Sprintf(`"film-%d-v%d"`, f.id, m.Version)
	serveCacheable(w, r, m, etag, since, f.maxAge())
}

// filmOf finds the film that the path names, or answers 404.
func (a *API) filmOf(w http.ResponseWriter, r *http.Request) (*film, bool) {
	id, err := strconv.Atoi(r.PathValue("id"))
	f, ok := a.film(id)
	if err != nil || !ok {
		fail(w, http.StatusNotFound, "not_found", "there is no such film")
		return nil, false
	}
	return f, true
}

// serveCacheable writes v with its validators, or 304 or 206 where the request's conditions or
// range ask for it.
func serveCacheable(w http.ResponseWriter, r *http.Request, v any, etag string, since time.Time, maxAge time.Duration) {
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal", "the answer can't be written")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(maxAge.Seconds())))
	h.Set("Etag", etag)
	http.ServeContent(w, r, "", since, bytes.NewReader(b))
}

// serveMovies answers GET /movies: a batch of films (ids=1,2,3; unknown ids are left out), or a
// page of a list (page=N, genre=).
func (a *API) serveMovies(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Has("ids") {
		a.serveFilmBatch(w, q["ids"])
		return
	}
	if !a.work(w, 1) {
		return
	}
	page := 1
	if s := q.Get("page"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			fail(w, http.StatusBadRequest, "bad_request", "page must be a whole number from 1 up")
			return
		}
		page = n
	}
	genre := q.Get("genre")
	var listed []entry
	seen, more := 0, false
	for i := range a.films {
		f := &a.films[i]
		if genre != "" && f.genre != genre {
			continue
		}
		if seen++; (seen-1)/pageSize+1 < page {
			continue
		}
		if more = len(listed) == pageSize; more {
			break
		}
		listed = append(listed, entry{f.id, f.title})
	}
	out := map[string]any{"page": page, "movies": emptyList(listed)}
	if more {
		out["next"] = page + 1
	}
	serveCacheable(w, r, out, fmt.Sprintf(`"list-%s-%d"`, strings.Map(plain, genre), page), a.start, time.Minute)
}

// plain keeps a quote out of an entity tag.
func plain(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return '_'
}

// entry is a film in a list.
type entry struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
}

// emptyList makes JSON's [] of a nil slice.
func emptyList[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func (a *API) serveFilmBatch(w http.ResponseWriter, lists []string) {
	ids := splitList(lists)
	if !checkBatch(w, len(ids)) || !a.work(w, len(ids)) {
		return
	}
	movies := make([]Movie, 0, len(ids))
	for _, s := range ids {
		id, err := strconv.Atoi(s)
		if err != nil {
			fail(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("the id %q is not a number", s))
			return
		}
		if f, ok := a.film(id); ok {
			m, _ := a.movieNow(f)
			movies = append(movies, m)
		}
	}
	w.Header().Set("Cache-Control", "public, max-age=5")
	writeJSON(w, http.StatusOK, movies)
}

// splitList reads ids=1,2&ids=3 alike.
func splitList(lists []string) []string {
	var out []string
	for _, l := range lists {
		for s := range strings.SplitSeq(l, ",") {
			if s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

func checkBatch(w http.ResponseWriter, n int) bool {
	if n < 1 || n > maxBatch {
		fail(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("a batch holds 1 to %d items, not %d", maxBatch, n))
		return false
	}
	return true
}

// serveRelated answers GET /movies/{id}/related.
func (a *API) serveRelated(w http.ResponseWriter, r *http.Request) {
	if !a.work(w, 1) {
		return
	}
	f, ok := a.filmOf(w, r)
	if !ok {
		return
	}
	out := make([]entry, 0, len(f.related))
	for _, id := range f.related {
		out = append(out, entry{id, a.films[id-1].title})
	}
	serveCacheable(w, r, map[string]any{"id": f.id, "related": out}, fmt.Sprintf(`"related-%d"`, f.id), a.start, 5*time.Minute)
}

// serveSearch answers GET /search?q=: the first films whose title holds q.
func (a *API) serveSearch(w http.ResponseWriter, r *http.Request) {
	if !a.work(w, 1) {
		return
	}
	q := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	if q == "" {
		fail(w, http.StatusBadRequest, "bad_request", "say what to look for: /search?q=river")
		return
	}
	var found []entry
	for i := range a.films {
		if f := &a.films[i]; strings.Contains(strings.ToLower(f.title), q) {
			if found = append(found, entry{f.id, f.title}); len(found) == pageSize {
				break
			}
		}
	}
	w.Header().Set("Cache-Control", "public, max-age=60")
	writeJSON(w, http.StatusOK, map[string]any{"q": q, "movies": emptyList(found)})
}

package app

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// confidant answers each with who asked and for what, and says that it may be kept for an hour.
func confidant(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(r.URL.Path, "/public") {
		w.Header().Set("Cache-Control", "public, max-age=3600")
	}
	steered := r.Host
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Url", "X-Http-Method-Override", "Forwarded"} {
		steered += r.Header.Get(name)
	}
	_, _ = fmt.Fprintf(w, `{"to":%q,"cookie":%q,"path":%q,"query":%q,"method":%q,"links":%q}`,
		r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.URL.EscapedPath(), r.URL.RawQuery, r.Method, steered)
}

const confidences = `
data_dir: DIR
upstreams: {up: {base_url: UPSTREAM, pass_headers: [Authorization, Cookie], retry: {max_attempts: 1}}}
routes:
  ttl:  {upstream: up, path: "/ttl/{id}", cache: {mode: ttl, ttl: 1h}}
  http: {upstream: up, path: "/http/{id}", cache: {mode: http}}
`

// TestNoWayInLeadsToAnothersAnswer lets one user fill the cache by each way in, and another one, who asks for the same
// thing by each way in, must never read what was meant for the first.
func TestNoWayInLeadsToAnothersAnswer(t *testing.T) {
	h := open(t, strings.Replace(confidences, "DIR", t.TempDir(), 1), http.HandlerFunc(confidant))
	call := func(route, id string) string { return fmt.Sprintf(`{"route":%q,"params":{"id":%q}}`, route, id) }
	ways := map[string]func(route, id string, who ...string) string{
		"proxy": func(route, id string, who ...string) string {
			return h.askWith("GET", "/proxy/up/"+route+"/"+id, "", who...).body
		},
		"request": func(route, id string, who ...string) string {
			return h.askWith("POST", "/v1/requests", call(route, id), who...).body
		},
		"batch": func(route, id string, who ...string) string {
			return h.askWith("POST", "/v1/batch", "["+call(route, id)+"]", who...).body
		},
		"job": func(route, id string, who ...string) string {
			j := h.askWith("POST", "/v1/jobs", call(route, id), who...).job(t)
			h.ends(j.ID, "done")
			return h.askWith("GET", "/v1/jobs/"+j.ID+"/result", "", who...).body
		},
		"stream": func(route, id string, who ...string) string {
			return h.askWith("POST", "/v1/stream/"+route, fmt.Sprintf(`{"id":%q}`, id), who...).body
		},
	}
	n := 0
	for _, route := range []string{"ttl", "http"} {
		for _, field := range []string{"Authorization", "Cookie"} {
			for first, fill := range ways {
				n++
				id := fmt.Sprintf("x%d", n)
				if got := fill(route, id, field, "victim"); route == "ttl" && !strings.Contains(got, "victim") {
					t.Errorf("%s by %s: the victim got %s", route, first, got)
				}
				for second, read := range ways {
					for _, who := range [][]string{{field, "attacker"}, nil} {
						if got := read(route, id, who...); strings.Contains(got, "victim") || !strings.Contains(got, id) {
							t.Errorf("%s filled by %s, read by %s with %q: %s", route, first, second, who, got)
						}
					}
				}
			}
		}
	}
}

// TestATargetWrittenOtherwiseIsAnotherKeyOrTheSamePage: for each pair of targets, the second is answered with what the upstream
// says to it, never with what it said to the first.
func TestATargetWrittenOtherwiseIsAnotherKeyOrTheSamePage(t *testing.T) {
	h := open(t, smallest, http.HandlerFunc(confidant))
	first := "/public/a/b"
	h.get("/proxy/movies"+first).expect(t, 200)
	for _, other := range []string{
		"/public//a/b", "/public/a//b", "/public/a/b/", "/public/a/b//", "/public/A/b", "/PUBLIC/a/b", "/public/a%2fb", "/public/a%2Fb",
		"/public/%61/b", "/public/a/b%20", "/public/a/b;x", "/public/a/b;x=1", "/public/a/b%3b", "/public/a/b%3F", "/public/a/b%23",
		"/public/a/b?", "/public/a/b?x", "/public/a/b?x=", "/public/a/b?X=", "/public/a/b?x=&", "/public/a/b?&x=", "/public/a/b?x=1&x=2", "/public/a/b?x=2&x=1",
		"/public/a/b?x=%31", "/public/a/b?x=+", "/public/a/b?x=%20", "/public/a/b?x=1;y=2", "/public/a/b%252f", "/public/a/b%25",
	} {
		for range 2 {
			got := h.do("GET", h.dataURL("/proxy/movies"+other), "").expect(t, 200)
			path, query, _ := strings.Cut(other, "?")
			if want := fmt.Sprintf(`"path":%q,"query":%q`, path, query); !strings.Contains(got.body, want) {
				t.Errorf("%s: got %s, want %s", other, got.body, want)
			}
		}
	}
	for _, dots := range []string{"/public/a/./b", "/public/x/../a/b", "/public/a/%2e/b", "/public/%2e%2e/public/a/b", "/public/%252e%252e/a", "/public/..;/a", "/public/a%5c..%5cb", "/public/a/b%00", "/..", "//public/a/b", "/%2E%2e/other/x"} {
		req, err := http.NewRequest("GET", "http://"+h.DataAddr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + h.DataAddr() + "/proxy/movies" + dots // as it is, unresolved
		resp, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: %d, want 400", dots, resp.StatusCode)
		}
	}
}

// TestFieldsThatNoCacheLooksAtPoisonNobody sends through the whole service what attackers send: hosts, forwarded fields,
// methods and targets that stand in for the real ones.
func TestFieldsThatNoCacheLooksAtPoisonNobody(t *testing.T) {
	h := open(t, smallest, http.HandlerFunc(confidant))
	for i, poison := range [][]string{
		{"X-Forwarded-Host", "evil"}, {"x-forwarded-host", "evil"}, {"X-FORWARDED-HOST", "evil"}, {"Forwarded", "host=evil"}, {"X-Original-URL", "/evil"},
		{"X-HTTP-Method-Override", "evil"}, {"X-Forwarded-Host", "evil", "Cache-Control", "no-cache"}, {"Host", "evil"},
	} {
		path := fmt.Sprintf("/proxy/movies/public/p%d", i)
		for _, p := range []string{path, path + "?" + url.Values{"q": {"1"}}.Encode()} {
			req, err := http.NewRequest("GET", h.dataURL(p), nil)
			if err != nil {
				t.Fatal(err)
			}
			for j := 0; j+1 < len(poison); j += 2 {
				req.Header[poison[j]] = []string{poison[j+1]} // in the case in which it stands above
			}
			if poison[0] == "Host" {
				req.Host = "evil"
				delete(req.Header, "Host")
			}
			resp, err := h.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := h.get(p).expect(t, 200); strings.Contains(got.body, "evil") {
				t.Errorf("%q: others get %s", poison, got.body)
			}
		}
	}
}

package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/knob"
	"penstock/request"
)

func contractCases(t *testing.T) []contractCase {
	var all []contractCase
	all = append(all, requestCases(t)...)
	all = append(all, proxyCases(t)...)
	all = append(all, infoCases(t)...)
	all = append(all, batchCases(t)...)
	all = append(all, configCases(t)...)
	all = append(all, knobCases(t)...)
	all = append(all, adminCases(t)...)
	all = append(all, streamCases(t)...)
	all = append(all, tuningCases(t)...)
	all = append(all, liveCases(t)...)
	all = append(all, tenantCases(t)...)
	all = append(all, jobCases(t)...)
	all = append(all, bulkCases(t)...)
	all = append(all, loginCases(t)...)
	return append(all, guardCases(t)...)
}

func loginCases(t *testing.T) []contractCase {
	const form, path, kind = "application/x-www-form-urlencoded", "/admin/v1/login", "application/json"
	post := func(path, kind, body string, header ...string) *http.Request {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	foreign := []string{"Sec-Fetch-Site", "cross-site"}
	h, guessed := newAdminHandler(t, withTokens), newAdminHandler(t, withTokens)
	for range freeGuesses {
		ask(guessed, "POST", path, `{"token":"x"}`)
	}
	local := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090})
	in := httptest.NewRequest("GET", "/admin/v1/session", nil)
	in.Header.Set("Authorization", "Bearer adas-secret")
	return []contractCase{
		{"get", "/admin/v1/session", "200", h, in},
		{"post", path, "200", h, post(path, kind, `{"token":"shared-secret","name":"Grace"}`)},
		{"post", path, "400", h, post(path, kind, `{"tokem":"x"}`)},
		{"post", path, "401", h, post(path, kind, `{"token":"x"}`)},
		{"post", path, "403", h, post(path, kind, `{"token":"x"}`, foreign...)},
		{"post", path, "413", h, post(path, kind, `{"token":"`+strings.Repeat("x", maxAdminBody)+`"}`)},
		{"post", path, "422", h, post(path, kind, `{"token":"shared-secret","name":"ada"}`)},
		{"post", path, "429", guessed, post(path, kind, `{"token":"x"}`)},
		{"post", "/admin/v1/logout", "204", h, post("/admin/v1/logout", kind, "")},
		{"post", "/admin/v1/logout", "403", h, post("/admin/v1/logout", kind, "", foreign...)},
		{"get", "/login", "200", h, httptest.NewRequest("GET", "/login", nil)},
		{"get", "/login", "403", newAdminHandler(t), httptest.NewRequest("GET", "http://evil.example/login", nil).WithContext(local)},
		{"post", "/login", "303", h, post("/login", form, "token=shared-secret")},
		{"post", "/login", "400", h, post("/login", kind, "{}")},
		{"post", "/login", "401", h, post("/login", form, "token=x")},
		{"post", "/login", "403", h, post("/login", form, "token=x", foreign...)},
		{"post", "/logout", "303", h, post("/logout", form, "")},
		{"post", "/logout", "403", h, post("/logout", form, "", foreign...)},
	}
}

// failures are the Doers behind the documented failures.
var failures = map[string]error{
	"500": errors.New("something nobody thought of"),
	"502": &request.Error{Problem: request.ProblemUpstreamDown, Detail: "no connection", ProxyStatus: "connection_refused", Upstream: "movies"},
	"503": &request.Error{Problem: request.ProblemReducedCapacity, Detail: "the queue is full", RetryAfter: 1500 * time.Millisecond},
	"504": &request.Error{Problem: request.ProblemUpstreamTimeout, Detail: "no answer within 2s"},
}

func requestCases(t *testing.T) []contractCase {
	const path, good = "/v1/requests", `{"route":"movie","params":{"id":"m1"}}`
	post := func(body string) *http.Request { return httptest.NewRequest("POST", path, strings.NewReader(body)) }
	ok := newDataHandler(t, replies(200, `{"title":"Alien"}`))
	all := []contractCase{
		{"post", path, "200", ok, post(good)},
		{"post", path, "default", newDataHandler(t, replies(410, `gone`)), post(good)},
		{"post", path, "400", ok, post(`{"route":"movie","params":{"id":"?"},"urgency":3}`)},
		{"post", path, "400", ok, post(`{"rout":"movie","urgency":9}`)},
		{"post", path, "404", ok, post(`{"route":"film"}`)},
		{"post", path, "413", newDataHandler(t, replies(200, ""), withLimits(Limits{MaxBodyBytes: 10})), post(good)},
	}
	for status, err := range failures {
		all = append(all, contractCase{"post", path, status, newDataHandler(t, fails(err)), post(good)})
	}
	return all
}

func proxyCases(t *testing.T) (all []contractCase) {
	const path = "/proxy/{upstream}/{path}"
	small := withLimits(Limits{MaxBodyBytes: 10})
	for _, m := range operationMethods {
		to := func(target, body string) *http.Request {
			var in io.Reader
			if body != "" {
				in = strings.NewReader(body)
			}
			return httptest.NewRequest(strings.ToUpper(m), target, in)
		}
		ok := newDataHandler(t, replies(200, `{"title":"Alien"}`))
		all = append(all,
			contractCase{m, path, "default", ok, to("/proxy/movies/movies/m1?lang=en", "")},
			contractCase{m, path, "400", ok, to("/proxy/movies/a/%2e%2e/b", "")},
			contractCase{m, path, "404", ok, to("/proxy/films/x", "")})
		if m == "post" || m == "put" || m == "patch" {
			all = append(all, contractCase{m, path, "413", newDataHandler(t, replies(200, ""), small), to("/proxy/movies/x", "more than ten bytes")})
		}
		for status, err := range failures {
			all = append(all, contractCase{m, path, status, newDataHandler(t, fails(err)), to("/proxy/movies/x", "")})
		}
	}
	return all
}

func infoCases(t *testing.T) (all []contractCase) {
	data := newDataHandler(t, replies(200, ""), func(o *DataOptions) { o.Stats = func() any { return map[string]int{"in_flight": 3} } })
	draining := func() (bool, string) { return false, "the process drains" }
	dataDraining := newDataHandler(t, replies(200, ""), func(o *DataOptions) { o.Ready = draining })
	adminDraining := newAdminHandler(t, func(o *AdminOptions) { o.Ready = draining })
	for _, path := range []string{"/v1/routes", "/v1/stats"} {
		all = append(all, contractCase{"get", path, "200", data, httptest.NewRequest("GET", path, nil)})
	}
	for _, path := range []string{"/healthz", "/readyz", "/v1/openapi.yaml"} {
		for _, h := range []http.Handler{data, newAdminHandler(t)} {
			all = append(all, contractCase{"get", path, "200", h, httptest.NewRequest("GET", path, nil)})
		}
	}
	for _, h := range []http.Handler{dataDraining, adminDraining} {
		all = append(all, contractCase{"get", "/readyz", "503", h, httptest.NewRequest("GET", "/readyz", nil)})
	}
	return all
}

func batchCases(t *testing.T) []contractCase {
	const path = "/v1/batch"
	do := func(_ context.Context, r *request.Request) (*request.Response, error) {
		switch r.Params["id"] {
		case "text":
			return reply(200, "plain\n", "Content-Type", "text/plain"), nil
		case "bytes":
			return reply(200, "\xff\xfe", "Content-Type", "image/png"), nil
		case "empty":
			return reply(204, ""), nil
		case "busy":
			return nil, failures["503"]
		}
		return reply(200, `{"a":[1,2]}`), nil
	}
	h := newDataHandler(t, do)
	lines := `{"id":"a","route":"movie","params":{"id":"m1"}}
{"id":7,"route":"movie","params":{"id":"text"}}
{"route":"movie","params":{"id":"bytes"}}

{"route":"movie","params":{"id":"empty"}}
{"route":"movie","params":{"id":"busy"}}
{"route":"movie"}
{"nonsense`
	ndjson := httptest.NewRequest("POST", path, strings.NewReader(lines))
	ndjson.Header.Set("Content-Type", "application/x-ndjson")
	return []contractCase{
		{"post", path, "200", h, ndjson},
		{"post", path, "200", h, httptest.NewRequest("POST", path, strings.NewReader(`[{"id":"a","route":"movie","params":{"id":"m1"}},5]`))},
		{"post", path, "400", h, httptest.NewRequest("POST", path, strings.NewReader(`{"route":"movie"}`))},
		{"post", path, "413", newDataHandler(t, do, withLimits(Limits{MaxBodyBytes: 4})), httptest.NewRequest("POST", path, strings.NewReader(`[1,2,3]`))},
	}
}

func configCases(t *testing.T) []contractCase {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	view := ConfigView{Entries: []ConfigEntry{{Key: "data_dir", Value: "", Source: "default"},
		{Key: "cache.max_bytes", Value: 1 << 20, Source: "file", File: "penstock.yaml", Line: 3}}}
	never := newAdminHandler(t, func(o *AdminOptions) { o.Config = &fakeConfig{view: view} })
	view.LastReload = &ReloadStatus{At: at, Error: "1 fault", Errors: []Fault{{Detail: "unknown key", File: "penstock.yaml", Line: 4, Key: "cahce", Suggestion: "cache"}}}
	failed := newAdminHandler(t, func(o *AdminOptions) {
		o.Config = &fakeConfig{view: view, err: &RejectedError{Detail: "the configuration has 1 fault; nothing was changed", Faults: view.LastReload.Errors}}
	})
	get := func(path string) *http.Request { return httptest.NewRequest("GET", path, nil) }
	const config, diff, reload = "/admin/v1/config", "/admin/v1/config/diff", "/admin/v1/config/reload"
	return []contractCase{
		{"get", config, "200", never, get(config)},
		{"get", config, "200", failed, get(config)},
		{"get", diff, "200", newAdminHandler(t), get(diff)},
		{"get", diff, "422", failed, get(diff)},
		{"post", reload, "200", newAdminHandler(t), httptest.NewRequest("POST", reload, nil)},
		{"post", reload, "200", never, httptest.NewRequest("POST", reload, nil)},
		{"post", reload, "422", failed, httptest.NewRequest("POST", reload, nil)},
	}
}

func knobCases(t *testing.T) []contractCase {
	const list, one, pin = "/admin/v1/knobs", "/admin/v1/knobs/{name}", "/admin/v1/knobs/{name}/pin"
	h := newAdminHandler(t)
	pinned := newAdminHandler(t, func(o *AdminOptions) {
		k, _ := o.Knobs.Lookup("workers.movies")
		if err := k.Pin(knob.Pin{Value: 4, Until: time.Now().Add(time.Hour), Note: "trying", Author: "api"}); err != nil {
			t.Fatal(err)
		}
	})
	req := func(method, path, body string) *http.Request {
		return httptest.NewRequest(method, list+path, strings.NewReader(body))
	}
	return []contractCase{
		{"get", list, "200", pinned, req("GET", "", "")},
		{"get", one, "200", pinned, req("GET", "/workers.movies", "")},
		{"get", one, "404", h, req("GET", "/workers.movie", "")},
		{"put", pin, "200", h, req("PUT", "/workers.movies/pin", `{"value":12,"for":"1h","note":"a try"}`)},
		{"put", pin, "200", h, req("PUT", "/cache.ttl.movie/pin", `{"value":"1m30s"}`)},
		{"put", pin, "200", h, req("PUT", "/batching.movies/pin", `{"value":false,"until":"2999-01-01T00:00:00Z"}`)},
		{"put", pin, "400", h, req("PUT", "/workers.movies/pin", `{"valeu":12}`)},
		{"put", pin, "404", h, req("PUT", "/nothing/pin", `{"value":12}`)},
		{"put", pin, "413", h, req("PUT", "/workers.movies/pin", `{"note":"`+strings.Repeat("x", maxAdminBody)+`"}`)},
		{"put", pin, "422", h, req("PUT", "/workers.movies/pin", `{"value":65}`)},
		{"delete", pin, "200", pinned, req("DELETE", "/workers.movies/pin", "")},
		{"delete", pin, "404", h, req("DELETE", "/workers.movi/pin", "")},
		{"delete", pin, "422", h, req("DELETE", "/fixed.movies/pin", "")},
	}
}

func adminCases(t *testing.T) []contractCase {
	h := newAdminHandler(t)
	get := func(path string) *http.Request { return httptest.NewRequest("GET", path, nil) }
	purge := func(body string) *http.Request {
		return httptest.NewRequest("POST", "/admin/v1/cache/purge", strings.NewReader(body))
	}
	off := newAdminHandler(t, func(o *AdminOptions) { o.Profiling = nil })
	var all []contractCase
	for _, path := range []string{"/admin/v1/cache", "/admin/v1/decisions", "/admin/v1/limits", "/admin/v1/preload", "/admin/v1/cluster", "/admin/v1/alerts", "/metrics", "/"} {
		all = append(all, contractCase{"get", path, "200", h, get(path)})
	}
	return append(all,
		contractCase{"get", "/admin/v1/decisions", "400", h, get("/admin/v1/decisions?limit=0")},
		contractCase{"get", "/admin/v1/decisions", "400", h, get("/admin/v1/decisions?since=yesterday")},
		contractCase{"get", "/admin/v1/decisions", "400", h, get("/admin/v1/decisions?verdict=good")},
		contractCase{"get", "/admin/v1/decisions/{id}", "200", h, get("/admin/v1/decisions/1")},
		contractCase{"get", "/admin/v1/decisions/{id}", "404", h, get("/admin/v1/decisions/2")},
		contractCase{"post", "/admin/v1/cache/purge", "200", h, purge(`{"route":"movie"}`)},
		contractCase{"post", "/admin/v1/cache/purge", "400", h, purge(`{"route":"movie","all":true}`)},
		contractCase{"post", "/admin/v1/cache/purge", "413", h, purge(`{"key":"` + strings.Repeat("x", maxAdminBody) + `"}`)},
		contractCase{"get", "/debug/pprof/{profile}", "200", h, get("/debug/pprof/cmdline")},
		contractCase{"get", "/debug/pprof/{profile}", "404", off, get("/debug/pprof/heap")},
	)
}

func streamCases(t *testing.T) []contractCase {
	const path = "/admin/v1/decisions/stream"
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	get := func(ctx context.Context, query, last string) *http.Request {
		r := httptest.NewRequest("GET", path+query, nil).WithContext(ctx)
		r.Header.Set("Last-Event-ID", last)
		return r
	}
	h, full := newAdminHandler(t), newAdminHandler(t)
	full.(*admin).streams.Add(maxStreams)
	return []contractCase{
		{"get", path, "200", h, get(ended, "?knob=workers.movies&verdict=worse&since=2026-01-02T03:04:05Z", "")},
		{"get", path, "200", h, get(ended, "", "1")},
		{"get", path, "400", h, get(t.Context(), "?verdict=bad", "")},
		{"get", path, "400", h, get(t.Context(), "", "x")},
		{"get", path, "503", full, get(t.Context(), "", "")},
	}
}

// guardCases ask every operation of the admin plane as a stranger and as a foreign page.
func guardCases(t *testing.T) (all []contractCase) {
	secret := newAdminHandler(t, func(o *AdminOptions) { o.Token = func() string { return "s3cret" } })
	open := newAdminHandler(t)
	c := readContract(t)
	paths, _ := c.at("/paths")
	for path := range paths {
		for _, m := range operationMethods {
			responses, _ := c.at("/paths", path, m, "responses")
			if data := strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, proxyPrefix); data || responses["401"] == nil || entry(path) {
				continue
			}
			target := strings.NewReplacer("{name}", "workers.movies", "{id}", "1", "{profile}", "heap").Replace(path)
			local := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090})
			rebound := httptest.NewRequest(strings.ToUpper(m), "http://evil.example"+target, nil).WithContext(local)
			all = append(all,
				contractCase{m, path, "401", secret, httptest.NewRequest(strings.ToUpper(m), target, nil)},
				contractCase{m, path, "403", open, rebound})
		}
	}
	return all
}

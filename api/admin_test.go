package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

func TestTheTokenIsNeededForAllButHealth(t *testing.T) {
	paths := []string{"/", "/metrics", "/admin/v1/config", "/admin/v1/knobs", "/debug/pprof/", "/v1/openapi.yaml", "/nothing"}
	var h http.Handler
	for _, path := range paths {
		// A new one each time: many wrong tokens in a row would be held up.
		h = newAdminHandler(t, func(o *AdminOptions) { o.Token = func() string { return "s3cret" } })
		for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Bearer "}, {"Authorization", "Bearer"},
			{"Authorization", "s3cret"}, {"Authorization", "Bearer s3cret2"}, {"Authorization", "Basic eA=="}, {"Authorization", "Basic eDp5"}} {
			w := ask(h, "GET", path, "", header...)
			wantProblem(t, w, request.ProblemUnauthorized)
			if len(w.Header()["Www-Authenticate"]) != 2 {
				t.Errorf("%s: WWW-Authenticate is %q", path, w.Header()["Www-Authenticate"])
			}
		}
		r := httptest.NewRequest("GET", path, nil)
		r.SetBasicAuth("anybody", "s3cret")
		basic := httptest.NewRecorder()
		h.ServeHTTP(basic, r)
		if w := ask(h, "GET", path, "", "Authorization", "bearer s3cret"); w.Code == 401 || basic.Code == 401 {
			t.Errorf("%s: the token was refused: bearer %d, basic %d", path, w.Code, basic.Code)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := ask(h, "GET", path, ""); w.Code != 200 {
			t.Errorf("%s without token: %d", path, w.Code)
		}
	}
}

func TestForeignPagesMayChangeNothing(t *testing.T) {
	h := newAdminHandler(t)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.example"}, {"Origin", "null"}} {
		wantProblem(t, ask(h, "POST", "/admin/v1/cache/purge", `{"all":true}`, header...), request.ProblemForbidden)
		wantProblem(t, ask(h, "DELETE", "/admin/v1/knobs/workers.movies/pin", "", header...), request.ProblemForbidden)
		if w := ask(h, "GET", "/admin/v1/knobs", "", header...); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: reading gave %d, %v", header, w.Code, w.Header())
		}
	}
	for _, header := range [][]string{nil, {"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://example.com"}} {
		if w := ask(h, "POST", "/admin/v1/cache/purge", `{"all":true}`, header...); w.Code != 200 {
			t.Errorf("%v: %d %s", header, w.Code, w.Body)
		}
	}
}

func TestARebindingPageCantReadALoopbackAdminPlane(t *testing.T) {
	open := newAdminHandler(t)
	secret := newAdminHandler(t, func(o *AdminOptions) { o.Token = func() string { return "s3cret" } })
	get := func(h http.Handler, local, host string) int {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local)})
		r := httptest.NewRequest("GET", "/admin/v1/knobs", nil).WithContext(ctx)
		r.Host = host
		r.SetBasicAuth("", "s3cret")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, host := range []string{"localhost:9090", "LOCALHOST", "127.0.0.1:9090", "[::1]:9090", "::1", "a.localhost:1", "localhost.", ""} {
		if code := get(open, "127.0.0.1", host); code != 200 {
			t.Errorf("%q: %d", host, code)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example"} {
		if code := get(open, "127.0.0.1", host); code != 403 {
			t.Errorf("%q: %d", host, code)
		}
		if code := get(secret, "127.0.0.1", host); code != 200 {
			t.Errorf("%q with the token: %d", host, code)
		}
		if code := get(open, "10.0.0.1", host); code != 200 {
			t.Errorf("%q on another address: %d", host, code)
		}
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	h := newAdminHandler(t, func(o *AdminOptions) { o.ReadOnly = func() bool { return true } })
	for _, r := range [][2]string{{"POST", "/admin/v1/config/reload"}, {"PUT", "/admin/v1/knobs/workers.movies/pin"}, {"DELETE", "/admin/v1/knobs/workers.movies/pin"},
		{"POST", "/admin/v1/cache/purge"}, {"POST", "/debug/pprof/symbol"}, {"PATCH", "/"}} {
		doc := wantProblem(t, ask(h, r[0], r[1], ""), request.ProblemForbidden)
		if !strings.Contains(doc.Detail, "admin.read_only") {
			t.Errorf("the detail does not name the setting: %s", doc.Detail)
		}
	}
	if w := ask(h, "GET", "/admin/v1/config", ""); w.Code != 200 {
		t.Errorf("reading: %d", w.Code)
	}
}

func TestEveryAdminAnswerHasStrictHeaders(t *testing.T) {
	h := newAdminHandler(t)
	for _, path := range []string{"/", "/admin/v1/knobs", "/metrics", "/nothing", "/admin/nothing"} {
		header := ask(h, "GET", path, "").Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, header.Get(name))
			}
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", path, header.Get("Content-Security-Policy"))
		}
	}
}

func TestAPinHoldsUntilItsEndAndCanBeTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saved := 0
		var knobs *knob.Registry
		h := newAdminHandler(t, func(o *AdminOptions) { knobs, o.PinsChanged = o.Knobs, func() { saved++ } })
		k, _ := knobs.Lookup("workers.movies")
		pin := func(body string) knobView {
			t.Helper()
			w := ask(h, "PUT", "/admin/v1/knobs/workers.movies/pin", body)
			var v knobView
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return v
		}
		v := pin(`{"value":12,"for":"1m","note":"a try"}`)
		if k.Value() != 12 || v.Pin == nil || v.Pin.Note != "a try" || v.Pin.Author != "operator" || !v.Pin.Until.Equal(time.Now().Add(time.Minute)) || v.Source != "pin" {
			t.Errorf("pinned: %+v %+v", v, v.Pin)
		}
		<-time.After(61 * time.Second) // virtual
		synctest.Wait()
		if k.Value() != 8 {
			t.Errorf("after the pin's end: %v", k.Value())
		}
		pin(`{"value":"16","until":"2999-01-01T00:00:00Z"}`)
		if w := ask(h, "DELETE", "/admin/v1/knobs/workers.movies/pin", ""); w.Code != 200 || k.State().Pin != nil || k.Value() != 16 {
			t.Errorf("unpinned: %d, %+v", w.Code, k.State())
		}
		wantProblem(t, ask(h, "DELETE", "/admin/v1/knobs/workers.movies/pin", ""), request.ProblemNotFound)
		if saved != 3 {
			t.Errorf("told %d times that pins changed", saved)
		}
	})
}

func TestBadPinsAreExplained(t *testing.T) {
	h := newAdminHandler(t)
	check := func(knob, body string, p request.Problem, detail string) {
		t.Helper()
		doc := wantProblem(t, ask(h, "PUT", "/admin/v1/knobs/"+knob+"/pin", body), p)
		if !strings.Contains(doc.Detail, detail) {
			t.Errorf("%s: detail %q does not say %q", body, doc.Detail, detail)
		}
	}
	bad, refused := request.ProblemBadRequest, request.ProblemUnprocessable
	check("workers.movies", ``, bad, "value, until, for, note")
	check("workers.movies", `{`, bad, "bad JSON")
	check("workers.movies", `[]`, bad, "array")
	check("workers.movies", `{"value":1} 2`, bad, "behind")
	check("workers.movies", `{"vlaue":1}`, bad, `did you mean "value"?`)
	check("workers.movies", `{"value":1,"note":5}`, bad, "member note")
	check("workers.movies", `{}`, refused, "value is missing")
	check("workers.movies", `{"value":null}`, refused, "value is missing")
	check("workers.movies", `{"value":65}`, refused, "not within [1, 64]")
	check("workers.movies", `{"value":1.5}`, refused, "whole number")
	check("workers.movies", `{"value":"many"}`, refused, "not a int")
	check("workers.movies", `{"value":[1]}`, refused, "number, a string or a bool")
	check("workers.movies", `{"value":2,"for":"soon"}`, refused, "1h30m")
	check("workers.movies", `{"value":2,"for":"-1s"}`, refused, "positive")
	check("workers.movies", `{"value":2,"for":"1s","until":"2999-01-01T00:00:00Z"}`, refused, "not both")
	check("workers.movies", `{"value":2,"until":"2001-01-01T00:00:00Z"}`, refused, "passed")
	check("workers.movies", `{"value":2,"until":"tomorrow"}`, bad, "bad JSON")
	check("workers.movies", `{"value":0,"for":"x"}`, refused, "2 faults")
	check("fixed.movies", `{"value":0.5}`, refused, "knobs section")
	check("worker.movies", `{"value":2}`, request.ProblemNotFound, `did you mean "workers.movies"?`)
}

func TestPurgePassesOnExactlyOneChoice(t *testing.T) {
	cache := new(fakeCache)
	h := newAdminHandler(t, func(o *AdminOptions) { o.Cache = cache })
	for body, want := range map[string]PurgeRequest{`{"key":"k"}`: {Key: "k"}, `{"prefix":"p"}`: {Prefix: "p"}, `{"route":"r"}`: {Route: "r"},
		`{"upstream":"u"}`: {Upstream: "u"}, `{"all":true}`: {All: true}} {
		if w := ask(h, "POST", "/admin/v1/cache/purge", body); w.Code != 200 || w.Body.String() != "{\"purged\":7}\n" || cache.last != want {
			t.Errorf("%s: %d %s, asked %+v", body, w.Code, w.Body, cache.last)
		}
	}
	for _, body := range []string{``, `{}`, `{"all":false}`, `{"key":"a","route":"b"}`, `{"keys":"a"}`, `{"all":"yes"}`} {
		wantProblem(t, ask(h, "POST", "/admin/v1/cache/purge", body), request.ProblemBadRequest)
	}
}

func TestDecisionsAreListedAsAsked(t *testing.T) {
	d := new(fakeDecisions)
	h := newAdminHandler(t, func(o *AdminOptions) { o.Decisions = d })
	ask(h, "GET", "/admin/v1/decisions", "")
	if d.last != (DecisionQuery{Limit: 100}) {
		t.Errorf("asked %+v", d.last)
	}
	ask(h, "GET", "/admin/v1/decisions?knob=workers.movies&limit=1000", "")
	if d.last != (DecisionQuery{Knob: "workers.movies", Limit: 1000}) {
		t.Errorf("asked %+v", d.last)
	}
	for _, limit := range []string{"0", "1001", "x", "-1"} {
		wantProblem(t, ask(h, "GET", "/admin/v1/decisions?limit="+limit, ""), request.ProblemBadRequest)
	}
	none := newAdminHandler(t, func(o *AdminOptions) { o.Decisions = nil })
	if w := ask(none, "GET", "/admin/v1/decisions", ""); w.Body.String() != "{\"decisions\":[]}\n" {
		t.Errorf("without a ledger: %s", w.Body)
	}
}

func TestARefusedReloadListsEveryFault(t *testing.T) {
	h := newAdminHandler(t, func(o *AdminOptions) {
		o.Config = &fakeConfig{err: &RejectedError{Detail: "2 faults; nothing was changed",
			Faults: []Fault{{File: "p.yaml", Line: 3, Key: "cahce", Detail: "unknown key", Suggestion: "cache"}, {Detail: "other"}}}}
	})
	doc := wantProblem(t, ask(h, "POST", "/admin/v1/config/reload", ""), request.ProblemUnprocessable)
	if len(doc.Errors) != 2 || doc.Errors[0] != (Fault{File: "p.yaml", Line: 3, Key: "cahce", Detail: "unknown key", Suggestion: "cache"}) {
		t.Errorf("errors %+v", doc.Errors)
	}
	h = newAdminHandler(t, func(o *AdminOptions) { o.Config = &fakeConfig{err: errors.New("disk")} })
	wantProblem(t, ask(h, "POST", "/admin/v1/config/reload", ""), request.ProblemInternal)
}

func TestThePageGetsWhatIsNotTheAPIs(t *testing.T) {
	var got []string
	h := newAdminHandler(t, func(o *AdminOptions) {
		o.Page = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.URL.Path) })
		o.Profiling = nil
	})
	for _, path := range []string{"/", "/assets/app.js", "/knobs", "/metrics", "/healthz", "/admin/v1/knobs", "/debug/pprof/", "/v1/openapi.yaml"} {
		ask(h, "GET", path, "")
	}
	if strings.Join(got, " ") != "/ /assets/app.js /knobs" {
		t.Errorf("the page got %q", got)
	}
	wantProblem(t, ask(h, "GET", "/debug/pprof/heap", ""), request.ProblemNotFound)
}

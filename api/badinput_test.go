package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestBadBodiesAreExplained(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}"))
	check := func(body string, p request.Problem, details ...string) problemDoc {
		t.Helper()
		doc := wantProblem(t, ask(h, "POST", "/v1/requests", body), p)
		for _, d := range details {
			if !strings.Contains(doc.Detail, d) {
				t.Errorf("%s: detail %q does not say %q", body, doc.Detail, d)
			}
		}
		return doc
	}
	bad, params := request.ProblemBadRequest, request.ProblemInvalidParams
	check(``, bad, "empty")
	check(`  `, bad, "empty")
	check(`{`, bad, "bad JSON at byte 1")
	check(`{"route":"movie"} x`, bad, "bad JSON")
	check(`{"route":"movie"}{}`, bad, "bad JSON")
	check(`[]`, bad, "array")
	check(`"movie"`, bad, "string")
	check(`null`, bad, "null")
	check(strings.Repeat(`[`, 20000), bad, "bad JSON")
	check(`{}`, bad, "route is missing", "/v1/routes")
	check(`{"route":7}`, bad, "route must be")
	check(`{"route":""}`, bad, "route must be")
	check(`{"route":"movie","params":[]}`, bad, "params must be")
	check(`{"rout":"movie"}`, bad, "2 faults", `did you mean "route"?`)
	check(`{"route":"movie","Route":"movie"}`, bad, `did you mean "route"?`)
	check(`{"route":"movie","zzzzzzzz":1}`, bad, "there are cache, deadline_ms, id, params, route, urgency")
	check(`{"route":"movie","cache":"maybe"}`, bad, "only-if-cached")
	check(`{"route":"movie","id":{}}`, bad, "id must be")
	check(`{"route":"moive"}`, request.ProblemUnknownRoute, `did you mean "movie"?`)
	check(`{"route":"nothing-like-it"}`, request.ProblemUnknownRoute, "/v1/routes")
	for _, u := range []string{`8`, `-1`, `1.5`, `"1"`, `"high"`, `{}`, `1e0`, `99999999999999999999`} {
		doc := check(`{"route":"movie","params":{"id":"a"},"urgency":`+u+`}`, bad, "bad urgency")
		if len(doc.Errors) != 1 || doc.Errors[0].Pointer != "/urgency" {
			t.Errorf("urgency %s: errors %+v", u, doc.Errors)
		}
	}
	for _, ms := range []string{`0`, `-1`, `1.5`, `"1"`, `86400001`, `1e300`} {
		check(`{"route":"movie","params":{"id":"a"},"deadline_ms":`+ms+`}`, bad, "deadline_ms")
	}
	for _, body := range []string{`{"route":"movie"}`, `{"route":"movie","params":null}`, `{"route":"movie","params":{"id":"?"}}`, `{"route":"movie","params":{"id":"a","x":1}}`} {
		if doc := check(body, params); len(doc.Errors) == 0 {
			t.Errorf("%s: no errors are listed", body)
		}
	}
	doc := check(`{"rout":1,"urgency":9,"cache":1,"deadline_ms":0}`, bad, "5 faults")
	if len(doc.Errors) != 5 {
		t.Errorf("not all faults are listed: %+v", doc.Errors)
	}
}

func TestBadHeadersAreExplained(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}"))
	for _, header := range [][]string{
		{"X-Deadline-Ms", "0"}, {"X-Deadline-Ms", "-5"}, {"X-Deadline-Ms", "1s"}, {"X-Deadline-Ms", ""}, {"X-Deadline-Ms", "86400001"},
		{"X-Deadline-Ms", "5", "X-Deadline-Ms", "6"}, {"X-Deadline-Ms", "99999999999999999999"},
		{"Prefer", "wait=x"}, {"Prefer", "wait"}, {"Prefer", "respond-async, wait=-1"}, {"Prefer", "wait=0"},
		{"X-Tenant", "a b"}, {"X-Tenant", strings.Repeat("x", 129)}, {"X-Tenant", "a", "X-Tenant", "b"},
	} {
		for _, w := range []*httptest.ResponseRecorder{
			ask(h, "GET", "/proxy/movies/x", "", header...),
			ask(h, "POST", "/v1/requests", `{"route":"brands"}`, header...),
			ask(h, "POST", "/v1/batch", `[]`, header...),
		} {
			doc := wantProblem(t, w, request.ProblemBadRequest)
			if len(doc.Errors) != 1 || doc.Errors[0].Pointer != header[0] {
				t.Errorf("%v: errors %+v", header, doc.Errors)
			}
		}
	}
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	data, admin := newDataHandler(t, replies(200, "{}")), newAdminHandler(t, func(o *AdminOptions) { o.Page = nil })
	for _, path := range []string{"/", "/v1", "/v1/request", "/v2/requests", "/proxy", "/metrics", "/admin/v1/knobs"} {
		wantProblem(t, ask(data, "GET", path, ""), request.ProblemNotFound)
	}
	for _, path := range []string{"/", "/admin", "/admin/v1", "/admin/v1/nothing", "/v1/requests", "/proxy/movies/x"} {
		wantProblem(t, ask(admin, "GET", path, ""), request.ProblemNotFound)
	}
	wantProblem(t, ask(data, "M-SEARCH", "/nothing", ""), request.ProblemNotFound)
	wantProblem(t, ask(data, "GET", "/proxy/nothing/x", ""), request.ProblemUnknownUpstream)
	check := func(method, path, allow string) {
		t.Helper()
		h := data
		if strings.HasPrefix(path, "/admin") {
			h = admin
		}
		w := ask(h, method, path, "")
		wantProblem(t, w, request.ProblemMethodNotAllowed)
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allow)
		}
	}
	check("GET", "/v1/requests", "POST")
	check("M-SEARCH", "/v1/requests", "POST")
	check("DELETE", "/v1/routes", "GET, HEAD")
	check("POST", "/healthz", "GET, HEAD")
	check("GET", "/admin/v1/config/reload", "POST")
	check("POST", "/admin/v1/knobs/workers.movies/pin", "PUT, DELETE")
	if w := ask(data, "HEAD", "/v1/routes", ""); w.Code != 200 {
		t.Errorf("HEAD /v1/routes: %d", w.Code)
	}
}

func TestAFailingUpstreamIsExplained(t *testing.T) {
	check := func(err error, p request.Problem, header map[string]string) {
		t.Helper()
		h := newDataHandler(t, fails(err))
		for _, w := range []*httptest.ResponseRecorder{
			ask(h, "GET", "/proxy/movies/x", ""), ask(h, "POST", "/v1/requests", `{"route":"brands"}`),
		} {
			doc := wantProblem(t, w, p)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
			for name, want := range header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", doc.Type, name, got, want)
				}
			}
		}
	}
	check(&request.Error{Problem: request.ProblemUpstreamDown, Detail: "no connection", ProxyStatus: "connection_refused", Err: errors.New("dial secret:80"),
		Timing: request.Timing{Queue: 2 * time.Millisecond}}, request.ProblemUpstreamDown,
		map[string]string{"Proxy-Status": "penstock; error=connection_refused", "Server-Timing": "queue;dur=2", "Cache-Status": "penstock; fwd=miss; detail=upstream-down"})
	check(request.AnswerTooLarge(10), request.ProblemAnswerTooLarge, map[string]string{"Proxy-Status": "penstock; error=http_response_body_size"})
	check(&request.Error{Problem: request.ProblemBreakerOpen, Detail: "rests", RetryAfter: time.Millisecond}, request.ProblemBreakerOpen, map[string]string{"Retry-After": "1"})
	check(&request.Error{Problem: request.ProblemReducedCapacity, Detail: "full", RetryAfter: 2001 * time.Millisecond}, request.ProblemReducedCapacity,
		map[string]string{"Retry-After": "3", "Proxy-Status": ""})
	check(&request.Error{Problem: request.ProblemOnlyIfCached, Detail: "nothing stored"}, request.ProblemOnlyIfCached, map[string]string{"Cache-Status": "penstock; detail=only-if-cached"})
	check(context.DeadlineExceeded, request.ProblemUpstreamTimeout, map[string]string{"Proxy-Status": "penstock; error=http_response_timeout"})
	check(errors.New("secret"), request.ProblemInternal, map[string]string{"Retry-After": "", "Proxy-Status": ""})
}

func TestTheSmallestDeadlineCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDataHandler(t, hang, func(o *DataOptions) { o.DefaultDeadline = func() time.Duration { return 5 * time.Second } })
		check := func(want time.Duration, body string, header ...string) {
			t.Helper()
			begun := time.Now()
			w := ask(h, "POST", "/v1/requests", body, header...)
			if body == "" {
				begun = time.Now()
				w = ask(h, "GET", "/proxy/movies/x", "", header...)
			}
			wantProblem(t, w, request.ProblemDeadline)
			if took := time.Since(begun); took != want {
				t.Errorf("%s %v: it took %v, want %v", body, header, took, want)
			}
		}
		check(5*time.Second, "")
		check(800*time.Millisecond, "", "X-Deadline-Ms", "800", "Prefer", "wait=1")
		check(time.Second, "", "X-Deadline-Ms", "1800", "Prefer", `respond-async, wait="1"; x=2`)
		check(5*time.Second, "", "Prefer", `a="b, wait=1"`)
		check(20*time.Millisecond, `{"route":"brands","deadline_ms":20}`, "X-Deadline-Ms", "30")
		check(30*time.Millisecond, `{"route":"brands","deadline_ms":40}`, "X-Deadline-Ms", "30")
		check(5*time.Second, `{"route":"brands","deadline_ms":null}`)
	})
}

func TestACallIsBuiltFromBodyAndHeaders(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got))
	send := func(body string, header ...string) {
		t.Helper()
		if w := ask(h, "POST", "/v1/requests", body, header...); w.Code != 200 || w.Body.String() != `{"ok":true}` {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	send(`{"route":"movie","params":{"id":12345678901234567890},"cache":"no-store"}`, "X-Tenant", "acme")
	if got.Path != "/movies/12345678901234567890" || got.Urgency() != 3 || got.Tenant != "acme" || got.Header.Get("Cache-Control") != "no-store" || !got.Deadline.IsZero() {
		t.Errorf("got %+v", got)
	}
	send(`{"route":"movie","params":{"id":"a"},"urgency":0,"cache":"default"}`, "Priority", "u=5")
	if got.Urgency() != 0 || got.Header.Get("Cache-Control") != "" {
		t.Errorf("urgency %v, header %v", got.Urgency(), got.Header)
	}
	send(`{"route":"brands","urgency":null}`, "Priority", "u=2")
	if got.Urgency() != 2 {
		t.Errorf("urgency %v", got.Urgency())
	}
	send(`{"route":"x","route":"brands"}`, "Priority", "u=9")
	if got.Urgency() != 5 {
		t.Errorf("a bad Priority gave urgency %v, not the route's", got.Urgency())
	}
}

func TestAPanicIsAnsweredAndLogged(t *testing.T) {
	var log strings.Builder
	h := newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { panic("boom") },
		func(o *DataOptions) { o.Logger = slog.New(LogHandler(slog.NewTextHandler(&log, nil))) })
	doc := wantProblem(t, ask(h, "GET", "/proxy/movies/x", ""), request.ProblemInternal)
	if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "badinput_test.go") || !strings.Contains(log.String(), "request_id="+doc.RequestID) {
		t.Errorf("the log lacks the panic, its stack or the request's id: %s", &log)
	}
	wantProblem(t, ask(h, "POST", "/v1/requests", `{"route":"brands"}`), request.ProblemInternal)
	admin := newAdminHandler(t, func(o *AdminOptions) { o.Limits = func() any { panic("boom") } })
	wantProblem(t, ask(admin, "GET", "/admin/v1/limits", ""), request.ProblemInternal)
}

type panicBody struct{ io.Reader }

func (panicBody) Read([]byte) (int, error) { panic("midway") }
func (panicBody) Close() error             { return nil }

func TestAPanicMidwayBreaksTheConnection(t *testing.T) {
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) {
		resp := reply(200, "")
		resp.Body, resp.ContentLength = panicBody{}, -1
		return resp, nil
	}))
	resp, err := s.Client().Get(s.URL + "/proxy/movies/x")
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the answer ended cleanly")
	}
}

func TestWhatCantBeEncodedIsAnInternalFault(t *testing.T) {
	h := newDataHandler(t, replies(200, ""), func(o *DataOptions) { o.Stats = func() any { return make(chan int) } })
	wantProblem(t, ask(h, "GET", "/v1/stats", ""), request.ProblemInternal)
}

func TestAStatusThatIsNoFinalOneIsTheUpstreamsFault(t *testing.T) {
	for _, status := range []int{0, 99, 101, 103, 1000} {
		h := newDataHandler(t, replies(status, "{}"))
		wantProblem(t, ask(h, "GET", "/proxy/movies/x", ""), request.ProblemUpstreamInvalid)
		lines, _ := readLines(t, ask(h, "POST", "/v1/batch", `[{"route":"brands"}]`).Body)
		if len(lines) != 1 || lines[0].Status != 502 || lines[0].Error == nil {
			t.Errorf("%d in a batch: %+v", status, lines)
		}
	}
}

func TestMissingPartsAreRefused(t *testing.T) {
	if _, err := NewData(DataOptions{}); err == nil {
		t.Error("a data plane without a Doer was made")
	}
	if _, err := NewAdmin(AdminOptions{}); err == nil {
		t.Error("an admin plane without knobs was made")
	}
}

package batcher

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/observe"
	"penstock/request"
)

var queryRule = Rule{Form: FormQuery, Param: "id", Path: "/films"}

func run(t testing.TB, next request.Doer, r Rule, ids ...string) []request.Result {
	t.Helper()
	route := filmRoute(t)
	return newBatcher(t, next, route, r).DoBatch(context.Background(), films(t, route, ids...))
}

func TestAnswerByIDIsReorderedAndExtraItemsAreIgnored(t *testing.T) {
	next := answers(200, ` [ {"id":"9","x":0}, null, 7, {"id":"2", "t":"two"},{"id":1,"t":"one"} ] `)
	expect(t, texts(t, run(t, next, queryRule, "1", "2")), `200 {"id":1,"t":"one"}`, `200 {"id":"2", "t":"two"}`)
}

func TestMissingMemberGets404OfItsOwn(t *testing.T) {
	next := answers(200, `[{"id":"1"}]`, "Cache-Control", "max-age=5")
	results := run(t, next, queryRule, "1", "2")
	if ct := results[1].Response.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("the missing member's content type is %q", ct)
	}
	if cc := results[1].Response.Header.Get("Cache-Control"); cc != "max-age=5" {
		t.Errorf("that the member is missing may be kept as long as the rest, but it says %q", cc)
	}
	got := texts(t, results)
	if got[0] != `200 {"id":"1"}` || !strings.HasPrefix(got[1], `404 {"type":"urn:penstock:problem:not-found"`) {
		t.Errorf("got %q", got)
	}
}

func TestMissingStatusSetsWhatAMissingMemberGets(t *testing.T) {
	r := queryRule
	r.MissingStatus = 502
	expect(t, texts(t, run(t, answers(200, `[{"id":"1"}]`), r, "1", "2")), `200 {"id":"1"}`, "error upstream-invalid")
	r.MissingStatus = 410
	if got := texts(t, run(t, answers(200, `[]`), r, "1", "2")); !strings.HasPrefix(got[0], "410 ") {
		t.Errorf("got %q", got)
	}
	r.RetryMissing = true
	expect(t, texts(t, run(t, answers(200, `[{"id":"1"}]`), r, "1", "2")), `200 {"id":"1"}`, "200 lone /films/2? ")
}

func TestMalformedAnswersAreAnErrorForEveryMember(t *testing.T) {
	for _, body := range []string{``, `[{"id":"1"},{"id"`, `<html>`, `{"id":"1"}`, `"x"`, strings.Repeat("[", 1<<20)} {
		next := answers(200, body)
		expect(t, texts(t, run(t, next, queryRule, "1", "2")), "error upstream-invalid", "error upstream-invalid")
		if n := len(next.made()); n != 1 {
			t.Errorf("%d calls for a malformed answer, want 1", n)
		}
	}
}

func TestTwoDifferentItemsUnderOneIDAreNotGuessedBetween(t *testing.T) {
	next := answers(200, `[{"id":"1","a":1},{"id":"2"},{"id":"1","a":2},{"id":"2"}]`)
	expect(t, texts(t, run(t, next, queryRule, "1", "2")), "error upstream-invalid", `200 {"id":"2"}`)
}

func TestAnswerByOrderOfWrongLengthIsHalvedForLookups(t *testing.T) {
	r := Rule{Form: FormJSONArray, Param: "id", Path: "/many", By: ByOrder}
	next := answers(200, `["x"]`)
	expect(t, texts(t, run(t, next, r, "1", "2", "3")), "200 lone /films/1? ", "200 lone /films/2? ", "200 lone /films/3? ")
	next = answers(200, `["x",null,{"y":1}]`)
	got := texts(t, run(t, next, r, "1", "2", "3"))
	if got[0] != `200 "x"` || !strings.HasPrefix(got[1], "404 ") || got[2] != `200 {"y":1}` {
		t.Errorf("got %q", got)
	}
}

func TestAnswerByOrderOfWrongLengthIsNotAskedTwiceWhereThatMayDoHarm(t *testing.T) {
	route := compiled(t, request.Route{Path: "/graphql", Method: "POST"})
	next := answers(200, `[{"data":1}]`)
	b := newBatcher(t, next, route, Rule{Form: FormGraphQL})
	members := posts(t, route, `{"query":"mutation{a}"}`, `{"query":"mutation{b}"}`)
	expect(t, texts(t, b.DoBatch(context.Background(), members)), "error upstream-invalid", "error upstream-invalid")
	if n := len(next.made()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestDuplicateIDsShareOneItemButNotOneBody(t *testing.T) {
	next := answers(200, `[{"id":"1"},{"id":"2"}]`)
	results := run(t, next, queryRule, "1", "2", "1")
	if q := next.made()[0].RawQuery; q != "ids=1,2" {
		t.Errorf("the call asks for %q", q)
	}
	if results[0].Response.Body == results[2].Response.Body {
		t.Error("two members read one body")
	}
	expect(t, texts(t, results), `200 {"id":"1"}`, `200 {"id":"2"}`, `200 {"id":"1"}`)
}

func TestOnlyDuplicatesGoOutAsOneLoneCall(t *testing.T) {
	next := answers(200, `[]`)
	expect(t, texts(t, run(t, next, queryRule, "1", "1")), "200 lone /films/1? ", "200 lone /films/1? ")
	if calls := next.made(); len(calls) != 1 || isBatch(calls[0]) {
		t.Errorf("%d calls", len(calls))
	}
}

func TestBatchLevelFailureGoesToEveryMemberAndIsNotCached(t *testing.T) {
	for _, status := range []int{401, 403, 429, 500, 503} {
		next := answers(status, `{"why":1}`, "Retry-After", "7", "Cache-Control", "max-age=60", "Set-Cookie", "s=1", "ETag", `"x"`)
		results := run(t, next, queryRule, "1", "2")
		for _, r := range results {
			h := r.Response.Header
			if h.Get("Retry-After") != "7" || h.Get("Cache-Control") != "no-store" || h.Get("Set-Cookie") != "" || h.Get("ETag") != "" {
				t.Errorf("%d: headers %v", status, h)
			}
		}
		want := fmt.Sprintf(`%d {"why":1}`, status)
		expect(t, texts(t, results), want, want)
	}
}

func TestRedirectAndMissingAddressOfTheBatchAreNotTheMembers(t *testing.T) {
	r := queryRule
	r.SplitOn = []int{400}
	for _, status := range []int{301, 304, 404, 410} {
		expect(t, texts(t, run(t, answers(status, ``), r, "1", "2")), "error upstream-invalid", "error upstream-invalid")
	}
}

func TestErrorsOfTheCallAreCopiedSoThatMembersDoNotShareThem(t *testing.T) {
	fault := request.Errorf(request.ProblemBreakerOpen, "resting")
	next := &recorder{answer: func(*request.Request) (*request.Response, error) { return nil, fault }}
	results := run(t, next, queryRule, "1", "2")
	expect(t, texts(t, results), "error breaker-open", "error breaker-open")
	if results[0].Err == results[1].Err {
		t.Error("two members share one error")
	}
}

func TestHalvingFindsTheBadMemberInFewCalls(t *testing.T) {
	const n = 32
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("f", i)
	}
	ids[13] = "bad"
	next := over(filmServer())
	r := queryRule
	r.ItemsPath = "films"
	got := texts(t, run(t, next, r, ids...))
	for i, g := range got {
		if want := fmt.Sprintf(`200 {"id":%q,"title":"Film %s"}`, ids[i], ids[i]); i != 13 && g != want {
			t.Errorf("member %d: %s", i, g)
		}
	}
	if got[13] != `400 {"error":"bad id"}` {
		t.Errorf("the bad member got %s", got[13])
	}
	if calls := len(next.made()); calls != 11 { // 1 + 2 for each of log2(32) halvings
		t.Errorf("%d calls, want 11", calls)
	}
}

func TestABatchThatAlwaysFailsEndsInLoneCalls(t *testing.T) {
	next := answers(413, ``)
	got := texts(t, run(t, next, queryRule, "1", "2", "3", "4", "5"))
	for i, g := range got {
		if g != fmt.Sprintf("200 lone /films/%d? ", i+1) {
			t.Errorf("member %d: %s", i, g)
		}
	}
	if calls := len(next.made()); calls != 9 {
		t.Errorf("%d calls, want 2n-1 = 9", calls)
	}
}

func TestTooLargeAnswerIsAskedInHalves(t *testing.T) {
	route := filmRoute(t)
	next := answers(200, `[`+strings.Repeat(" ", 100)+`]`)
	b := New(Options{Enabled: true, Rules: map[string]Rule{"film": queryRule}, MaxAnswerBytes: 50}, next)
	got := texts(t, b.DoBatch(context.Background(), films(t, route, "1", "2")))
	expect(t, got, "200 lone /films/1? ", "200 lone /films/2? ")
}

func TestTooLargeAnswerIsNotAskedAgainWhereThatMayDoHarm(t *testing.T) {
	route := compiled(t, request.Route{Path: "/graphql", Method: "POST"})
	next := answers(200, `[`+strings.Repeat(" ", 100)+`]`)
	b := New(Options{Enabled: true, Rules: map[string]Rule{"film": {Form: FormGraphQL}}, MaxAnswerBytes: 50}, next)
	got := texts(t, b.DoBatch(context.Background(), posts(t, route, `{"query":"mutation{a}"}`, `{"query":"mutation{b}"}`)))
	expect(t, got, "error answer-too-large", "error answer-too-large")
	if n := len(next.made()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestEndedContextStopsHalving(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("nobody waits")
	next := &recorder{answer: func(r *request.Request) (*request.Response, error) {
		cancel(why)
		return reply(400, ``), nil
	}}
	route := filmRoute(t)
	results := newBatcher(t, next, route, queryRule).DoBatch(ctx, films(t, route, "1", "2", "3", "4"))
	for i, r := range results {
		if !errors.Is(r.Err, why) {
			t.Errorf("member %d: %v", i, r.Err)
		}
	}
	if n := len(next.made()); n != 1 {
		t.Errorf("%d calls after the context ended, want 1 in all", n)
	}
}

func TestMembersGetTheHeadersThatAreTrueOfThem(t *testing.T) {
	next := answers(200, `[{"id":"1"},{"id":"2"}]`, "Cache-Control", "max-age=9", "Vary", "Accept", "Content-Length", "99",
		"ETag", `"b"`, "Last-Modified", "x", "Set-Cookie", "s=1", "Link", "<x>", "X-Region", "eu")
	h := run(t, next, queryRule, "1", "2")[1].Response.Header
	for _, gone := range []string{"Content-Length", "ETag", "Last-Modified", "Set-Cookie", "Link"} {
		if v := h.Get(gone); v != "" {
			t.Errorf("%s is %q", gone, v)
		}
	}
	if h.Get("Cache-Control") != "max-age=9" || h.Get("Vary") != "Accept" || h.Get("X-Region") != "eu" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
}

func TestItemsMayCarryStatusErrorAndBody(t *testing.T) {
	r := queryRule
	r.StatusPath, r.ItemPath, r.ErrorPath = "code", "body", "err"
	next := answers(200, `[{"id":"1","code":200,"body":{"a": 1}},{"id":"2","code":404,"body":null},{"id":"3","err":"x"},
		{"id":"4","code":204},{"id":"5","code":302},{"id":"6"},{"id":"7","err":null,"body":[]},{"id":"8","body":null}]`, "Cache-Control", "max-age=9")
	results := run(t, next, r, "1", "2", "3", "4", "5", "6", "7", "8")
	if cc := results[2].Response.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("a member's error may be kept: %q", cc)
	}
	got := texts(t, results)
	expect(t, got[:7], `200 {"a": 1}`, `404 {"id":"2","code":404,"body":null}`, `502 {"id":"3","err":"x"}`, "204 ",
		"error upstream-invalid", "error upstream-invalid", "200 []")
	if !strings.HasPrefix(got[7], "404 {\"type\"") {
		t.Errorf("a null body is a missing member, got %s", got[7])
	}
}

func TestGzippedAnswerIsSplit(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(`[{"id":"1"},{"id":"2"}]`))
	_ = w.Close()
	results := run(t, answers(200, z.String(), "Content-Encoding", "gzip"), queryRule, "1", "2")
	if ce := results[0].Response.Header.Get("Content-Encoding"); ce != "" {
		t.Errorf("a plain member says it is %q", ce)
	}
	expect(t, texts(t, results), `200 {"id":"1"}`, `200 {"id":"2"}`)
	expect(t, texts(t, run(t, answers(200, "xx", "Content-Encoding", "br"), queryRule, "1", "2")), "error upstream-invalid", "error upstream-invalid")
}

func TestTheCallStandsForItsMembers(t *testing.T) {
	route := filmRoute(t)
	next := answers(200, `[]`)
	members := films(t, route, "1", "2", "2")
	members[0].SetUrgency(6)
	members[1].SetUrgency(1)
	members[2].SetUrgency(3)
	members[1].Arrived = time.Unix(10, 0)
	members[0].Deadline, members[1].Deadline, members[2].Deadline = time.Unix(20, 0), time.Unix(40, 0), time.Unix(30, 0)
	members[0].Tenant = "x"
	members[0].Header.Set("Traceparent", "00-a")
	members[0].Header.Set("Accept-Encoding", "br")
	members[0].Header.Set("Baggage", "user=1")
	members[1].Header.Set("Priority", "u=1")
	members[0].Background = true
	newBatcher(t, next, route, queryRule).DoBatch(context.Background(), members)
	calls := next.made()
	if len(calls) != 1 {
		t.Fatalf("%d calls, want 1", len(calls))
	}
	c := calls[0]
	if c.Urgency() != 1 || !c.Arrived.Equal(time.Unix(10, 0)) || !c.Deadline.Equal(time.Unix(40, 0)) || c.Tenant != "" || c.Background || c.Items != 3 || c.Route != route || c.Key != "" {
		t.Errorf("the call is %+v", c)
	}
	if c.Header.Get("Traceparent") != "00-a" || c.Header.Get("Priority") != "u=1" || c.Header.Get("Accept-Encoding") != "" || c.Header.Get("Baggage") != "" {
		t.Errorf("its headers are %v", c.Header)
	}
	for i, m := range members {
		if !m.Started() {
			t.Errorf("member %d is not marked as started", i)
		}
	}
	if members[0].Header.Get("Baggage") == "" {
		t.Error("a member's own headers were changed")
	}
}

func TestMembersThatDoNotFitTogetherAreKeptApart(t *testing.T) {
	route := filmRoute(t)
	next := answers(200, `[{"id":"1"},{"id":"2"},{"id":"3"}]`)
	members := films(t, route, "1", "2", "3", "3")
	members[1].Header.Set("Authorization", "Bearer b")
	b := newBatcher(t, next, route, queryRule)
	expect(t, texts(t, b.DoBatch(context.Background(), members)), `200 {"id":"1"}`, "200 lone /films/2? ", `200 {"id":"3"}`, `200 {"id":"3"}`)
	for _, c := range next.made() {
		if isBatch(c) && (c.Header.Get("Authorization") != "" || strings.Contains(c.RawQuery, "2")) {
			t.Errorf("credentials were mixed: %s %v", c.RawQuery, c.Header)
		}
	}
}

func TestIDsThatLookAlikeButDifferDoNotMeetInOneCall(t *testing.T) {
	route := compiled(t, request.Route{Path: "/film", Query: map[string]string{"id": "{id}", "lang": "{lang}"}})
	r := Rule{Form: FormJSONArray, Param: "id", Path: "/many", Item: map[string]any{"id": "{id}", "lang": "{lang}"}}
	next := over(echoItems())
	b := newBatcher(t, next, route, r)
	members := []*request.Request{
		build(t, route, "id", "1", "lang", "en"), build(t, route, "id", "2", "lang", "en"),
		build(t, route, "id", "1", "lang", "fr"), build(t, route, "id", "2", "lang", "fr"),
	}
	expect(t, texts(t, b.DoBatch(context.Background(), members)),
		`200 {"id":"1","lang":"en"}`, `200 {"id":"2","lang":"en"}`, `200 {"id":"1","lang":"fr"}`, `200 {"id":"2","lang":"fr"}`)
	if n := len(next.made()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestParamsOfTheItemMayDifferWithinOneCall(t *testing.T) {
	route := compiled(t, request.Route{Path: "/film", Query: map[string]string{"id": "{id}", "lang": "{lang}"}})
	r := Rule{Form: FormJSONArray, Param: "id", Path: "/many", Item: map[string]any{"id": "{id}", "lang": "{lang}"}}
	next := over(echoItems())
	members := []*request.Request{build(t, route, "id", "1", "lang", "en"), build(t, route, "id", "2", "lang", "fr")}
	expect(t, texts(t, newBatcher(t, next, route, r).DoBatch(context.Background(), members)), `200 {"id":"1","lang":"en"}`, `200 {"id":"2","lang":"fr"}`)
	if calls := next.made(); len(calls) != 1 || calls[0].RawQuery != "" {
		t.Errorf("%d calls, the first with the query %q", len(calls), calls[0].RawQuery)
	}
}

func TestTheCallHasNoDeadlineIfAMemberHasNone(t *testing.T) {
	route := filmRoute(t)
	next := answers(200, `[]`)
	members := films(t, route, "1", "2", "3")
	members[0].Deadline, members[2].Deadline = time.Unix(20, 0), time.Unix(40, 0)
	newBatcher(t, next, route, queryRule).DoBatch(context.Background(), members)
	if d := next.made()[0].Deadline; !d.IsZero() {
		t.Errorf("the call's deadline is %v", d)
	}
}

func TestApplyWhileQueuedSendsMembersAlone(t *testing.T) {
	route := filmRoute(t)
	b := newBatcher(t, answers(200, `[]`), route, queryRule)
	members := films(t, route, "1", "2")
	if b.Plan(members[0]).Group == "" {
		t.Fatal("no group")
	}
	b.Apply(Options{Enabled: false, Rules: map[string]Rule{"film": queryRule}})
	expect(t, texts(t, b.DoBatch(context.Background(), members)), "200 lone /films/1? ", "200 lone /films/2? ")
}

func TestStatsAndMetricsCountWhatHappened(t *testing.T) {
	reg := observe.NewRegistry()
	route := filmRoute(t)
	r := queryRule
	r.ItemsPath, r.ErrorPath = "films", "error"
	b := New(Options{Enabled: true, Rules: map[string]Rule{"film": r}, Scope: reg.Upstream("films")}, over(filmServer()))
	b.DoBatch(context.Background(), films(t, route, "a", "b", "bad", "gone"))
	b.DoBatch(context.Background(), films(t, route, "a", "b", "b", "gone"))
	want := RouteStats{Batches: 4, Items: 11, Splits: 2, Missing: 1}
	if got := b.Stats().Routes["film"]; got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	var text bytes.Buffer
	reg.WritePrometheus(&text)
	for _, line := range []string{
		`penstock_batches_total{upstream="films",route="film"} 4`, `penstock_batch_items_total{upstream="films",route="film"} 11`,
		`penstock_batch_splits_total{upstream="films",route="film"} 2`, `penstock_batch_size_count{upstream="films",route="film"} 4`,
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, &text)
		}
	}
}

package batcher

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/request"
)

func groupOf(t testing.TB, r Rule, route *request.Route, change func(*request.Request), params ...any) string {
	t.Helper()
	m := build(t, route, params...)
	if change != nil {
		change(m)
	}
	return newBatcher(t, nil, route, r).Plan(m).Group
}

func TestGroupDiffersWhereRequestsMayNotMix(t *testing.T) {
	route := compiled(t, request.Route{Path: "/films/{id}", Query: map[string]string{"lang": "{lang}"}, Params: map[string]request.Param{"lang": {}}})
	base := groupOf(t, queryRule, route, nil, "id", "1")
	header := func(name, value string) func(*request.Request) {
		return func(r *request.Request) { r.Header.Set(name, value) }
	}
	if base == "" {
		t.Fatal("no group")
	}
	for name, same := range map[string]string{
		"other id":        groupOf(t, queryRule, route, nil, "id", "2"),
		"trace":           groupOf(t, queryRule, route, header("Traceparent", "00-x"), "id", "1"),
		"priority":        groupOf(t, queryRule, route, header("Priority", "u=1"), "id", "1"),
		"accept-encoding": groupOf(t, queryRule, route, header("Accept-Encoding", "br"), "id", "1"),
		"urgency":         groupOf(t, queryRule, route, func(r *request.Request) { r.SetUrgency(7) }, "id", "1"),
		"tenant":          groupOf(t, queryRule, route, func(r *request.Request) { r.Tenant = "b" }, "id", "1"),
	} {
		if same != base {
			t.Errorf("%s makes another group", name)
		}
	}
	seen := map[string]string{base: "base"}
	for name, other := range map[string]string{
		"fixed param":   groupOf(t, queryRule, route, nil, "id", "1", "lang", "en"),
		"authorization": groupOf(t, queryRule, route, header("Authorization", "Bearer x"), "id", "1"),
		"cookie":        groupOf(t, queryRule, route, header("Cookie", "s=1"), "id", "1"),
		"accept":        groupOf(t, queryRule, route, header("Accept", "text/html"), "id", "1"),
		"language":      groupOf(t, queryRule, route, header("Accept-Language", "de"), "id", "1"),
		"user agent":    groupOf(t, queryRule, route, header("User-Agent", "x"), "id", "1"),
		"two values": groupOf(t, queryRule, route, func(r *request.Request) {
			r.Header["Accept"] = []string{"text/html", "x"}
		}, "id", "1"),
	} {
		if was := seen[other]; was != "" || other == "" {
			t.Errorf("%s has the group of %q", name, was)
		}
		seen[other] = name
	}
	ignoring := queryRule
	ignoring.IgnoreHeaders = []string{"user-agent"}
	if groupOf(t, ignoring, route, header("User-Agent", "x"), "id", "1") != groupOf(t, ignoring, route, nil, "id", "1") {
		t.Error("ignore_headers is not obeyed")
	}
}

func TestGroupHoldsNoCredentials(t *testing.T) {
	g := groupOf(t, queryRule, filmRoute(t), func(r *request.Request) { r.Header.Set("Authorization", "Bearer secret") }, "id", "1")
	if strings.Contains(g, "secret") {
		t.Error("the group carries the credentials")
	}
}

func TestRequestsThatCanNotShareAnAnswerTravelAlone(t *testing.T) {
	cases := map[string]func(*request.Request){
		"range":           func(r *request.Request) { r.Header.Set("Range", "bytes=0-1") },
		"conditional":     func(r *request.Request) { r.Header.Set("If-None-Match", `"x"`) },
		"idempotency key": func(r *request.Request) { r.Header.Set("Idempotency-Key", `"x"`) },
		"HEAD":            func(r *request.Request) { r.Method = http.MethodHead },
		"stream":          func(r *request.Request) { r.Stream = io.NopCloser(strings.NewReader("x")) },
		"other route":     func(r *request.Request) { r.Route = request.NewProxyRoute("films", request.CachePolicy{}) },
		"separator in id": func(r *request.Request) { r.Params["id"] = "1,2" },
		"empty id":        func(r *request.Request) { r.Params["id"] = "" },
		"list":            func(r *request.Request) { r.Params["id"] = []any{"1"} },
		"no id":           func(r *request.Request) { delete(r.Params, "id") },
		"too long an id":  func(r *request.Request) { r.Params["id"] = strings.Repeat("x", DefaultMaxURLBytes) },
		"bad query":       func(r *request.Request) { r.RawQuery = "%zz" },
	}
	for name, change := range cases {
		m := build(t, filmRoute(t), "id", "1")
		change(m)
		p := newBatcher(t, nil, filmRoute(t), queryRule).Plan(m)
		if p.Group != "" || p.Max != 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestPathFormLeavesOutIDsThatWouldBeSplitOrLeaveThePath(t *testing.T) {
	route := filmRoute(t)
	b := newBatcher(t, nil, route, Rule{Form: FormPath, Param: "id", Separator: "|"})
	for id, batches := range map[string]bool{"a,b": true, "a|b": false, "..": false, ".": false, "a/b": true} {
		m := build(t, route, "id", "x")
		m.Params["id"] = id
		if got := b.Plan(m).Group != ""; got != batches {
			t.Errorf("%q: batched is %v", id, got)
		}
	}
}

func TestBodiesThatReachOverTheirPlaceTravelAlone(t *testing.T) {
	bodies := map[Form][]string{
		FormGraphQL: {``, `[]`, `{"query":"a"},{"query":"b"}`, `{"query":"a"`, `"x"`, `{}]`, strings.Repeat(`{"a":`, 20000)},
		FormJSONRPC: {
			`{"jsonrpc":"2.0","method":"m"}`, `{"jsonrpc":"2.0","method":"m","id":null}`, `{"jsonrpc":"2.0","method":"m","id":{}}`,
			`{"jsonrpc":"2.0","method":"m","id":1,"id":2}`, `{"jsonrpc":"2.0","method":"m","id":1,"ID":2}`,
			`{"jsonrpc":"2.0","method":"m","\u0069d":1,"id":2}`, `{"jsonrpc":"1.0","method":"m","id":1}`, `{"jsonrpc":"2.0","id":1}`,
		},
		FormInput: {`{"model":"m"}`, `{"input":["a","b"]}`, `{"input":[1,2]}`, `{"input":[]}`, `{"input":7}`, `{"input":[["a"]]}`},
	}
	for form, list := range bodies {
		route := compiled(t, request.Route{Path: "/x", Method: "POST"})
		b := newBatcher(t, nil, route, Rule{Form: form})
		for _, m := range posts(t, route, list...) {
			if p := b.Plan(m); p.Group != "" {
				t.Errorf("%s would batch %.60s", form, m.Data)
			}
		}
	}
}

func TestPlanBoundsItemsAndBytes(t *testing.T) {
	route := filmRoute(t)
	r := queryRule
	r.MaxBytes, r.MaxItems = 20, 7
	b := New(Options{Enabled: true, Rules: map[string]Rule{"film": r}, MaxItems: 5}, answers(200, `[]`))
	p := b.Plan(build(t, route, "id", "123"))
	if p.Max != 5 || p.Weight != len("123,") || p.MaxWeight != 20-len("/films") {
		t.Errorf("plan %+v", p)
	}
	next := answers(200, `[]`)
	b = New(Options{Enabled: true, Rules: map[string]Rule{"film": r}}, next)
	b.DoBatch(context.Background(), films(t, route, "111", "222", "333", "444", "555", "666", "777", "888"))
	for _, c := range next.made() {
		if n := strings.Count(c.RawQuery, ",") + 1; n > 3 || len(c.Path)+len(c.RawQuery) > 20+len("ids=") {
			t.Errorf("a call of %d items: %s?%s", n, c.Path, c.RawQuery)
		}
	}
	if p := New(Options{Enabled: true, Rules: map[string]Rule{"film": r}, MaxItems: 1}, nil).Plan(build(t, route, "id", "1")); p.Group != "" {
		t.Error("batching.max_items 1 must turn batching off")
	}
}

func TestFixedQueryBodyAndPathAreFilledIn(t *testing.T) {
	route := compiled(t, request.Route{
		Path: "/{store}/films/{id}", Query: map[string]string{"lang": "{lang}", "as": "film-{id}", "v": "2"},
		Params: map[string]request.Param{"lang": {}},
	})
	next := answers(200, `[]`)
	r := Rule{
		Form: FormJSONArray, Param: "id", Path: "/{store}/many", Query: map[string]string{"v": "3", "none": "{absent}"},
		Body: map[string]any{"fields": []any{"title"}, "store": "{store}"}, Item: map[string]any{"key": "{id}"},
	}
	b := newBatcher(t, next, route, r)
	b.DoBatch(context.Background(), []*request.Request{
		build(t, route, "id", 1, "store", "a b", "lang", "en"), build(t, route, "id", "2", "store", "a b", "lang", "en"),
	})
	c := next.made()[0]
	if c.Method != "POST" || c.Path != "/a%20b/many" || c.RawQuery != "lang=en&v=3" {
		t.Errorf("%s %s?%s", c.Method, c.Path, c.RawQuery)
	}
	if want := `{"fields":["title"],"store":"a b","ids":[{"key":1},{"key":"2"}]}`; string(c.Data) != want {
		t.Errorf("body %s\nwant %s", c.Data, want)
	}
	if ct := c.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
}

func TestJSONRPCRefusalOfTheWholeBatchIsHalved(t *testing.T) {
	route := compiled(t, request.Route{Path: "/rpc", Method: "POST"})
	next := over(rpcServer())
	b := newBatcher(t, next, route, Rule{Form: FormJSONRPC})
	var bodies []string
	for _, id := range []string{"1", "2", "3", "4", "5", "6"} { // the server takes 5
		bodies = append(bodies, `{"jsonrpc":"2.0","method":"film","params":["`+id+`"],"id":`+id+`0}`)
	}
	for i, g := range texts(t, b.DoBatch(context.Background(), posts(t, route, bodies...))) {
		id := string(rune('1' + i))
		if want := `200 {"jsonrpc":"2.0","result":{"id":"` + id + `","title":"Film ` + id + `"},"id":` + id + `0}`; g != want {
			t.Errorf("got %s\nwant %s", g, want)
		}
	}
	if n := len(next.made()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestJSONRPCAnswerLeavingOneOutIsThatMembersError(t *testing.T) {
	route := compiled(t, request.Route{Path: "/rpc", Method: "POST"})
	next := answers(200, `[{"jsonrpc":"2.0","id":null,"error":{}},{"id":2,"result":"b"}]`)
	got := texts(t, newBatcher(t, next, route, Rule{Form: FormJSONRPC}).DoBatch(context.Background(), posts(t, route,
		`{"jsonrpc":"2.0","method":"m","id":"same"}`, `{"jsonrpc":"2.0","method":"m","id":"same"}`)))
	expect(t, got, "error upstream-invalid", `200 {"id":"same","result":"b"}`)
}

func TestUsageOfAnInputBatchIsShared(t *testing.T) {
	route := compiled(t, request.Route{Path: "/e", Method: "POST"})
	next := answers(200, `{"usage":{"prompt_tokens":10,"details":{"cached":3},"cost":0.5},"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]},{"index":9}],"model":"m"}`)
	b := newBatcher(t, next, route, Rule{Form: FormInput})
	got := texts(t, b.DoBatch(context.Background(), posts(t, route, `{"input":"aa"}`, `{"input":["bbbbbb"]}`, `{"input":"aa"}`)))
	expect(t, got,
		`200 {"usage":{"prompt_tokens":3,"details":{"cached":1},"cost":0.5},"data":[{"index":0,"embedding":[1]}],"model":"m"}`,
		`200 {"usage":{"prompt_tokens":7,"details":{"cached":2},"cost":0.5},"data":[{"index":0,"embedding":[2]}],"model":"m"}`,
		`200 {"usage":{"prompt_tokens":3,"details":{"cached":1},"cost":0.5},"data":[{"index":0,"embedding":[1]}],"model":"m"}`)
	if d := string(next.made()[0].Data); d != `{"input":["aa","bbbbbb"]}` {
		t.Errorf("the call was %s", d)
	}
}

func TestMGetErrorOfOneDocumentIsThatMembers(t *testing.T) {
	route := compiled(t, request.Route{Path: "/films/_doc/{id}"})
	r := Rule{Form: FormMGet, Param: "id", Path: "/films/_mget"}
	got := texts(t, newBatcher(t, over(esServer()), route, r).DoBatch(context.Background(), films(t, route, "a", "shardless", "gone")))
	if !strings.HasPrefix(got[0], `200 {"_id":"a"`) || !strings.HasPrefix(got[1], `502 {"_id":"shardless"`) || got[2] != `404 {"_id":"gone","_index":"films","found":false}` {
		t.Errorf("got %q", got)
	}
}

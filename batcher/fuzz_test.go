package batcher

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"penstock/request"
)

// fuzzForm holds what every codec must keep, whatever the members carry and the upstream answers:
// no panic, one result for each member, a call that its form can read, and never an answer that
// is another member's. names takes the ids out of a call; owner takes out of a member's
// answer whose it is, and reports false where the form can't tell.
type fuzzForm struct {
	route  request.Route
	rule   Rule
	body   func(n int, id string) string
	names  func(*request.Request) []string
	owner  func(body []byte, m *request.Request) (is bool, known bool)
	honest string // an answer to "a" and "b", as a seed
}

func (ff fuzzForm) fuzz(f *testing.F) {
	seeds := []string{ff.honest, `[]`, `{}`, `null`, `[null,null]`, `[{"id":"a"},{"id":"a","x":1}]`, `[{"id":1},{"id":2}]`, `{"a":{"id":"b"}}`,
		`{"docs":[{"_id":"b","found":true},{"_id":"a","found":false}]}`, `{"data":[{"index":1},{"index":1}],"usage":{"t":9223372036854775807}}`, `[`, `{"error":{}}`}
	for _, s := range seeds {
		f.Add("a", "b", "a", []byte(s))
		f.Add("1", `"],"x`, "1,2", []byte(s))
		f.Add("..", "ü/\x00", `{"a":1}`, []byte(s))
	}
	c := formCase{route: ff.route, rule: ff.rule, body: ff.body}
	f.Fuzz(func(t *testing.T, a, b, d string, body []byte) {
		route := compiled(t, c.route)
		ids := []string{a, b, d}
		members := ff.members(t, route, ids)
		if members == nil {
			return
		}
		next := &recorder{answer: func(r *request.Request) (*request.Response, error) {
			if !isBatch(r) {
				return reply(299, "lone"), nil
			}
			return reply(200, string(body)), nil
		}}
		results := newBatcher(t, next, route, ff.rule).DoBatch(context.Background(), members)
		if len(results) != len(members) {
			t.Fatalf("%d results for %d members", len(results), len(members))
		}
		for i, r := range results {
			if (r.Response == nil) == (r.Err == nil) {
				t.Fatalf("member %d: %+v", i, r)
			}
			if r.Err != nil || r.Response.Status != 200 {
				continue
			}
			got, _ := request.ReadAll(r.Response, 1<<30)
			if !json.Valid(got) {
				t.Errorf("member %d got what is not JSON: %q", i, got)
			}
			if is, known := ff.owner(got, members[i]); known && !is {
				t.Errorf("member %q got another's answer: %s", ids[i], got)
			}
		}
		for _, call := range next.made() {
			ff.checkCall(t, call, members)
		}
	})
}

func (ff fuzzForm) members(t testing.TB, route *request.Route, ids []string) (members []*request.Request) {
	for i, id := range ids {
		if ff.body == nil {
			m, err := route.Build(map[string]any{"id": id})
			if err != nil {
				return nil // an id that the route itself refuses
			}
			members = append(members, m)
			continue
		}
		members = append(members, posts(t, route, ff.body(i, id))...)
	}
	return members
}

// checkCall decodes a batch call as the upstream would: what it names must be members, each once.
func (ff fuzzForm) checkCall(t *testing.T, call *request.Request, members []*request.Request) {
	if !isBatch(call) {
		return
	}
	if len(call.Data) > 0 && !json.Valid(call.Data) {
		t.Fatalf("the call is not JSON: %q", call.Data)
	}
	known := map[string]bool{}
	if ff.body == nil {
		for _, m := range members {
			known[m.Params["id"].(string)] = true
		}
	}
	asked := map[string]bool{}
	names := ff.names(call)
	for _, n := range names {
		if asked[n] && ff.body == nil {
			t.Errorf("%q is asked for twice", n)
		}
		asked[n] = true
		if ff.body == nil && !known[n] {
			t.Errorf("the call names %q, which is no member", n)
		}
	}
	if len(names) < 2 || len(names) > len(members) {
		t.Errorf("a call of %d items for %d members: %q", len(names), len(members), names)
	}
}

// byPath is an owner for answers that carry the param at path.
func byPath(path string) func([]byte, *request.Request) (bool, bool) {
	return func(body []byte, m *request.Request) (bool, bool) {
		got := gjson.GetBytes(body, path)
		return got.String() == m.Params["id"], true
	}
}

func anyOwner([]byte, *request.Request) (bool, bool) { return false, false }

func jsonNames(path string) func(*request.Request) []string {
	return func(r *request.Request) (names []string) {
		for _, e := range gjson.GetBytes(r.Data, path).Array() {
			names = append(names, e.String())
		}
		return names
	}
}

var filmByID = request.Route{Path: "/film", Query: map[string]string{"id": "{id}"}}

func FuzzQuery(f *testing.F) {
	fuzzForm{
		route: filmByID, rule: queryRule, owner: byPath("id"), honest: `[{"id":"b"},{"id":"a"}]`,
		names: func(r *request.Request) []string {
			q, err := url.ParseQuery(r.RawQuery)
			if err != nil || len(q) != 1 {
				return nil
			}
			return strings.Split(q.Get("ids"), ",")
		},
	}.fuzz(f)
}

func FuzzQueryRepeated(f *testing.F) {
	r := queryRule
	r.Repeat, r.Name = true, "id[]"
	fuzzForm{
		route: filmByID, rule: r, owner: byPath("id"), honest: `[{"id":"b"},{"id":"a"}]`,
		names: func(r *request.Request) []string {
			q, err := url.ParseQuery(r.RawQuery)
			if err != nil || len(q) != 1 {
				return nil
			}
			return q["id[]"]
		},
	}.fuzz(f)
}

func FuzzPath(f *testing.F) {
	fuzzForm{
		route: request.Route{Path: "/films/{id}"}, rule: Rule{Form: FormPath, Param: "id", Separator: ";"},
		owner: byPath("id"), honest: `[{"id":"b"},{"id":"a"}]`,
		names: func(r *request.Request) (names []string) {
			last := strings.TrimPrefix(r.Path, "/films/")
			if strings.ContainsAny(last, "/?#") {
				return nil
			}
			return strings.Split(unescaped(last), ";")
		},
	}.fuzz(f)
}

func FuzzJSONArray(f *testing.F) {
	fuzzForm{
		route: filmByID, rule: Rule{Form: FormJSONArray, Param: "id", Path: "/many", Body: map[string]any{"v": 1}, ItemsPath: "films"},
		owner: byPath("id"), names: jsonNames("ids"), honest: `{"films":[{"id":"b"},{"id":"a"}]}`,
	}.fuzz(f)
}

func FuzzMGet(f *testing.F) {
	fuzzForm{
		route: filmByID, rule: Rule{Form: FormMGet, Param: "id", Path: "/_mget"},
		owner: byPath("_id"), names: jsonNames("ids"), honest: `{"docs":[{"_id":"b","found":true},{"_id":"a","found":true}]}`,
	}.fuzz(f)
}

var posted = request.Route{Path: "/x", Method: "POST"}

func FuzzJSONRPC(f *testing.F) {
	fuzzForm{
		route: posted, rule: Rule{Form: FormJSONRPC}, names: jsonNames("#.id"),
		honest: `[{"jsonrpc":"2.0","id":2,"result":"b"},{"id":1,"result":"a","jsonrpc":"2.0"}]`,
		body: func(n int, id string) string {
			switch n {
			case 0:
				return `{"jsonrpc":"2.0","method":"m","id":` + quoted(id) + `}`
			case 1:
				return `{"id":7,"jsonrpc":"2.0","method":"m","params":` + quoted(id) + `}`
			}
			return `{"jsonrpc":"2.0","method":"m","id":5` + id + `}`
		},
		owner: func(body []byte, m *request.Request) (bool, bool) {
			return gjson.GetBytes(body, "id").Raw == gjson.GetBytes(m.Data, "id").Raw, true
		},
	}.fuzz(f)
}

func FuzzGraphQL(f *testing.F) {
	fuzzForm{
		route: posted, rule: Rule{Form: FormGraphQL}, owner: anyOwner, names: jsonNames("@this"), honest: `[{"data":1},{"data":2},{"data":3}]`,
		body: func(n int, id string) string {
			if n == 2 {
				return id
			}
			return `{"query":` + quoted(id) + `}`
		},
	}.fuzz(f)
}

func FuzzInput(f *testing.F) {
	fuzzForm{
		route: posted, rule: Rule{Form: FormInput}, names: jsonNames("input"),
		honest: `{"object":"list","data":[{"index":1,"embedding":[]},{"index":0,"embedding":[]}],"usage":{"total_tokens":3}}`,
		body: func(n int, id string) string {
			if n == 2 {
				return id
			}
			return `{"model":"m","input":` + quoted(id) + `}`
		},
		owner: func(body []byte, _ *request.Request) (bool, bool) {
			data := gjson.GetBytes(body, "data").Array()
			return len(data) == 1 && data[0].Get("index").Raw == "0", true
		},
	}.fuzz(f)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

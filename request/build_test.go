package request

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func compiled(t *testing.T, r Route) *Route {
	t.Helper()
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return &r
}

func fields(t *testing.T, err error) []string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Problem != ProblemInvalidParams {
		t.Fatalf("got %v, want an invalid-params error", err)
	}
	var out []string
	for _, f := range e.Fields {
		out = append(out, f.Pointer)
	}
	return out
}

func TestBuildFillsPathQueryHeaderAndBody(t *testing.T) {
	r := compiled(t, Route{
		Name: "movie", Method: "post", Path: "/v1/{kind}/movies",
		Query:  map[string]string{"lang": "{lang}", "fixed": "1", "tag": "{tags}"},
		Header: map[string]string{"X-Trace": "a {lang} b"},
		Body:   map[string]any{"id": "{id}", "opt": "{opt}", "q": "query { movie }", "deep": []any{"{id}"}},
		Params: map[string]Param{"lang": {}, "opt": {}, "tags": {}, "kind": {Default: "all"}},
		Cache:  CachePolicy{Mode: CacheTTL},
	})
	req, err := r.Build(map[string]any{"id": json.Number("42"), "lang": "de\r\nEvil: 1", "tags": []any{"x", "y z"}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	check("method", req.Method, "POST")
	check("path", req.Path, "/v1/all/movies")
	check("query", req.RawQuery, "fixed=1&lang=de%0D%0AEvil%3A+1&tag=x&tag=y+z")
	check("header", req.Header.Get("X-Trace"), "a de  Evil: 1 b")
	check("body", string(req.Data), `{"deep":[42],"id":42,"q":"query { movie }"}`)
	check("key", req.Key, "movie?id=42&kind=all&lang=de%0D%0AEvil%3A+1&tags=%5B%22x%22%2C%22y+z%22%5D")
}

func TestBuildNamesEveryFault(t *testing.T) {
	r := compiled(t, Route{Name: "m", Path: "/a/{id}", Params: map[string]Param{
		"id": {Pattern: "[0-9]+"}, "page": {Required: true},
	}})
	_, err := r.Build(map[string]any{"id": "4x", "pgae": 1})
	if got, want := fields(t, err), []string{"/params/id", "/params/page", "/params/pgae"}; !slices.Equal(got, want) {
		t.Errorf("faults at %v, want %v", got, want)
	}
}

func TestBuildKeepsParamsInsideTheirPathSegment(t *testing.T) {
	r := compiled(t, Route{Name: "m", Path: "/a/{id}/b"})
	for _, bad := range []any{"", ".", "..", "x/../y", `x\..\y`, nil, []any{"1"}} {
		if _, err := r.Build(map[string]any{"id": bad}); err == nil {
			t.Errorf("id %q was taken", bad)
		}
	}
	req, err := r.Build(map[string]any{"id": "x/y?z#ä%2e"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "/a/x%2Fy%3Fz%23%C3%A4%252e/b"; req.Path != want {
		t.Errorf("path is %q, want %q", req.Path, want)
	}
}

func TestKeyTellsJSONTypesApartOnlyInBodies(t *testing.T) {
	inPath := compiled(t, Route{Name: "m", Path: "/{id}"})
	inBody := compiled(t, Route{Name: "m", Path: "/", Method: "POST", Body: "{id}", Cache: CachePolicy{Mode: CacheTTL}})
	key := func(r *Route, v any) string {
		req, err := r.Build(map[string]any{"id": v})
		if err != nil {
			t.Fatal(err)
		}
		return req.Key
	}
	if key(inPath, "1") != key(inPath, json.Number("1")) {
		t.Error("1 and \"1\" make one URL but two keys")
	}
	if key(inBody, "1") == key(inBody, json.Number("1")) {
		t.Error("1 and \"1\" make two bodies but one key")
	}
}

func TestCompileCompletesTheParams(t *testing.T) {
	r := compiled(t, Route{Name: "m", Path: "/{a}/{b}", Query: map[string]string{"q": "{c}"},
		Params: map[string]Param{"b": {Pattern: "x"}, "c": {}}})
	if p := r.Params; len(p) != 3 || !p["a"].Required || !p["b"].Required || p["b"].Pattern != "x" || p["c"].Required {
		t.Errorf("params %+v", p)
	}
}

func TestUnsafeRouteWithoutTTLHasNoKey(t *testing.T) {
	r := compiled(t, Route{Name: "m", Path: "/", Method: "POST"})
	if req, err := r.Build(nil); err != nil || req.Key != "" {
		t.Errorf("key %q, error %v; want neither", req.Key, err)
	}
}

func TestCompileReportsEveryFault(t *testing.T) {
	r := Route{Name: "m", Path: "a/{b/../", Query: map[string]string{"q": "x}"}, Key: []string{"nope"},
		Params: map[string]Param{"p": {Pattern: "("}, "d": {Pattern: "[0-9]", Default: "x"}, "bad name": {}}}
	err := r.Compile()
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{"path:", "query.q:", "params.p.pattern", "params.d.default", `"bad name"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
}

func FuzzBuildStaysInPathAndKeysDiffer(f *testing.F) {
	f.Add("1", "2")
	f.Add("a/b", "a%2fb")
	f.Add("x&b=1", "x")
	r := Route{Name: "m", Path: "/base/{a}/{b}"}
	if err := r.Compile(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		one, err := r.Build(map[string]any{"a": a, "b": b})
		if err != nil {
			return
		}
		u, err := url.Parse("http://h" + one.Path)
		if err != nil || strings.Count(one.Path, "/") != 3 {
			t.Fatalf("path %q: %v", one.Path, err)
		}
		if u.Path != "/base/"+a+"/"+b {
			t.Fatalf("path %q does not carry %q and %q", one.Path, a, b)
		}
		two, err := r.Build(map[string]any{"a": b, "b": a})
		if err == nil && a != b && one.Key == two.Key {
			t.Fatalf("two questions share the key %q", one.Key)
		}
	})
}

func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{"", "{a}", "{{a}}", "x{a}y{b}", "{", "}", "{a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := parseTemplate(s)
		if err != nil {
			return
		}
		out, ok := tpl.expand(func(string) (string, bool) { return "", true })
		if !ok || len(out) > len(s) {
			t.Fatalf("%q expanded to %q", s, out)
		}
	})
}

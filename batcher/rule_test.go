package batcher

import (
	"errors"
	"strings"
	"testing"

	"penstock/request"
)

func TestValidateReportsEveryFaultWithItsKey(t *testing.T) {
	cases := []struct {
		rule Rule
		keys string
	}{
		{Rule{}, "form"},
		{Rule{Form: "soap"}, "form"},
		{Rule{Form: FormQuery}, "param path"},
		{Rule{Form: FormQuery, Param: "id", Path: "films/{id}?x", MaxItems: 1, MaxBytes: -1}, "path path path max_items max_bytes"},
		{Rule{Form: FormQuery, Param: "id", Path: "/f", Query: map[string]string{"a": "{id}"}, Method: "HEAD"}, "query.a method"},
		{Rule{Form: FormPath, Param: "id", Path: "/f", Separator: "/", Name: "x"}, "path name separator"},
		{Rule{Form: FormPath, Param: "id", Path: "/{id}/{id}"}, "path"},
		{Rule{Form: FormJSONArray, Param: "id", Path: "/f", Method: "GET", ArrayPath: "a.#.b", Separator: ";"}, "method separator array_path"},
		{Rule{Form: FormJSONArray, Param: "id", Path: "/f", Item: "x", Body: map[string]any{"a": []any{"{id}"}}}, "body item"},
		{Rule{Form: FormJSONArray, Item: "{id}", By: ByID}, "item by"},
		{Rule{Form: FormJSONRPC, Param: "id", By: ByOrder, IDPath: "x", ItemsPath: "y", ItemPath: "z", MissingStatus: 404}, "param by id_path id_path items_path item_path missing_status"},
		{Rule{Form: FormGraphQL, By: ByID, ArrayPath: "x", Body: map[string]any{}}, "body array_path by"},
		{Rule{Form: FormInput, By: ByKey, ErrorPath: "x", ItemsPath: "a.#"}, "by items_path error_path"},
		{Rule{Form: FormMGet, Param: "id", Path: "/m", By: "luck"}, "by by"},
		{Rule{Form: FormMGet, Param: "id", Path: "/m", ErrorStatus: 200, MissingStatus: 200}, "missing_status error_status"},
		{Rule{Form: FormQuery, Param: "id", Path: "/f", ErrorStatus: 500, SplitOn: []int{429, 500}, IgnoreHeaders: []string{"cookie", "a b"}}, "error_status split_on split_on ignore_headers ignore_headers"},
	}
	for _, c := range cases {
		var keys []string
		for _, f := range c.rule.Faults() {
			keys = append(keys, f.Key)
			if f.Problem == "" || !strings.Contains(c.rule.Validate().Error(), f.Error()) {
				t.Errorf("%+v: fault %q is not told", c.rule, f)
			}
		}
		if !sameKeys(keys, strings.Fields(c.keys)) {
			t.Errorf("%+v:\n got %v\nwant %s", c.rule, c.rule.Validate(), c.keys)
		}
	}
}

// sameKeys reports whether both hold the same keys the same number of times.
func sameKeys(a, b []string) bool {
	count := map[string]int{}
	for _, k := range a {
		count[k]++
	}
	for _, k := range b {
		count[k]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestEveryRuleOfTheFormTestsIsValidForItsRoute(t *testing.T) {
	for name, c := range formCases {
		route := compiled(t, c.route)
		if err := c.rule.ValidateFor(route); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateForKnowsTheRoute(t *testing.T) {
	route := compiled(t, request.Route{Path: "/films", Query: map[string]string{"id": "{id}"}})
	for _, c := range []struct {
		rule Rule
		key  string
	}{
		{Rule{Form: FormQuery, Param: "film", Path: "/films"}, "param"},
		{Rule{Form: FormPath, Param: "id"}, "path"},
	} {
		var f *Fault
		if err := c.rule.ValidateFor(route); !errors.As(err, &f) || f.Key != c.key {
			t.Errorf("%+v: %v", c.rule, err)
		}
	}
	if err := (Rule{Form: FormQuery, Param: "id", Path: "/films"}).ValidateFor(route); err != nil {
		t.Error(err)
	}
}

func TestAFaultyRuleLeavesItsRouteUnbatched(t *testing.T) {
	b := New(Options{Enabled: true, Rules: map[string]Rule{"film": {Form: FormQuery}}}, nil)
	if p := b.Plan(build(t, filmRoute(t), "id", "1")); p.Group != "" {
		t.Errorf("%+v", p)
	}
}

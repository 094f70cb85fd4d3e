package batcher

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"penstock/request"
)

// formCase is one form against a true server of it.
type formCase struct {
	server http.Handler
	route  request.Route
	rule   Rule
	// member makes the request for an id; nil: the route builds it from the param id.
	body func(n int, id string) string
}

var formCases = map[string]formCase{
	"query": {
		server: filmServer(), route: request.Route{Path: "/films/{id}"},
		rule: Rule{Form: FormQuery, Param: "id", Path: "/films", ItemsPath: "films"},
	},
	"query repeated": {
		server: filmServer(), route: request.Route{Path: "/films/{id}"},
		rule: Rule{Form: FormQuery, Param: "id", Path: "/films", ItemsPath: "films", Repeat: true},
	},
	"path": {
		server: filmServer(), route: request.Route{Path: "/films/{id}"},
		rule: Rule{Form: FormPath, Param: "id", Path: "/films/list/{id}", ItemsPath: "films"},
	},
	"json_array": {
		server: filmServer(), route: request.Route{Path: "/films/{id}"},
		rule: Rule{Form: FormJSONArray, Param: "id", Path: "/films/batch", ArrayPath: "ids", By: ByKey, ItemsPath: "films"},
	},
	"mget ids": {
		server: esServer(), route: request.Route{Path: "/films/_doc/{id}"},
		rule: Rule{Form: FormMGet, Param: "id", Path: "/films/_mget"},
	},
	"mget docs": {
		server: esServer(), route: request.Route{Path: "/films/_doc/{id}"},
		rule: Rule{Form: FormMGet, Param: "id", Path: "/films/_mget", Item: map[string]any{"_id": "{id}", "_source": true}},
	},
	"jsonrpc": {
		server: rpcServer(), route: request.Route{Path: "/rpc", Method: "POST"}, rule: Rule{Form: FormJSONRPC},
		body: func(n int, id string) string {
			return fmt.Sprintf(`{"id":"own %d", "jsonrpc":"2.0","method":"film","params":[%q]}`, n, id)
		},
	},
	"graphql": {
		server: graphqlServer(), route: request.Route{Path: "/graphql", Method: "POST"}, rule: Rule{Form: FormGraphQL},
		body: func(_ int, id string) string {
			return fmt.Sprintf(`{"query":"query($id: ID!) { film(id: $id) { id title } }","variables":{"id":%q}}`, id)
		},
	},
	"input": {
		server: embeddingsServer(), route: request.Route{Path: "/v1/embeddings", Method: "POST"}, rule: Rule{Form: FormInput},
		body: func(_ int, id string) string { return fmt.Sprintf(`{"model":"m","input":%q}`, id) },
	},
}

func (c formCase) members(t testing.TB, route *request.Route, ids []string) []*request.Request {
	if c.body == nil {
		return films(t, route, ids...)
	}
	bodies := make([]string, len(ids))
	for i, id := range ids {
		bodies[i] = c.body(i, id)
	}
	return posts(t, route, bodies...)
}

func TestEachFormOverHTTPGivesMembersWhatUnbatchedCallsGive(t *testing.T) {
	for name, c := range formCases {
		t.Run(name, func(t *testing.T) {
			next := overHTTP(t, c.server)
			route := compiled(t, c.route)
			b := newBatcher(t, next, route, c.rule)
			members := c.members(t, route, []string{"a", "b&b/?=ü", "c", "a"})
			for i, m := range members {
				if plan := b.Plan(m); plan.Group == "" || plan.Group != b.Plan(members[0]).Group {
					t.Fatalf("member %d does not travel with the others: %+v", i, plan)
				}
			}
			got := texts(t, b.DoBatch(context.Background(), members))
			if n := len(next.made()); n != 1 {
				t.Errorf("%d calls were made, want 1", n)
			}
			for i, m := range members {
				resp, err := b.Do(context.Background(), m)
				want := text(t, request.Result{Response: resp, Err: err})
				if got[i] != want {
					t.Errorf("member %d:\n batched %s\n    lone %s", i, got[i], want)
				}
				if !strings.HasPrefix(got[i], "200 ") {
					t.Errorf("member %d was not answered: %s", i, got[i])
				}
			}
		})
	}
}

func TestEachFormOneBadMemberCostsOnlyItself(t *testing.T) {
	for name, c := range formCases {
		t.Run(name, func(t *testing.T) {
			next := overHTTP(t, c.server)
			route := compiled(t, c.route)
			b := newBatcher(t, next, route, c.rule)
			ids := []string{"a", "b", "bad one", "c", "gone", "d"}
			members := c.members(t, route, ids)
			got := texts(t, b.DoBatch(context.Background(), members))
			for i, m := range members {
				resp, err := b.Do(context.Background(), m)
				want := text(t, request.Result{Response: resp, Err: err})
				if strings.HasPrefix(got[i], "404 {\"type\":\"urn:penstock:problem:not-found\"") {
					// The upstream has no words for what its batch leaves out.
					want = got[i]
				}
				if got[i] != want {
					t.Errorf("member %q:\n batched %s\n    lone %s", ids[i], got[i], want)
				}
			}
		})
	}
}

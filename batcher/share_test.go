package batcher

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"penstock/request"
)

func TestSameCallsShareAnItemOnlyIfTheCacheWouldShareThem(t *testing.T) {
	route := compiled(t, request.Route{Path: "/rpc", Method: "POST"})
	bodies := []string{
		`{"jsonrpc":"2.0","method":"film","params":["1"],"id":"x"}`, `{"jsonrpc":"2.0","method":"film","params":["1"],"id":7}`,
		`{"jsonrpc":"2.0","method":"film","params":["2"],"id":7}`,
	}
	want := []string{
		`200 {"jsonrpc":"2.0","result":{"id":"1","title":"Film 1"},"id":"x"}`, `200 {"jsonrpc":"2.0","result":{"id":"1","title":"Film 1"},"id":7}`,
		`200 {"jsonrpc":"2.0","result":{"id":"2","title":"Film 2"},"id":7}`,
	}
	for _, keyed := range []bool{true, false} {
		next := over(rpcServer())
		b := newBatcher(t, next, route, Rule{Form: FormJSONRPC})
		members := posts(t, route, bodies...)
		items := int64(3)
		if keyed {
			members[0].Key, members[1].Key, members[2].Key = "film?1", "film?1", "film?2"
			items = 2
		}
		expect(t, texts(t, b.DoBatch(context.Background(), members)), want...)
		if n := gjson.GetBytes(next.made()[0].Data, "#").Int(); n != items {
			t.Errorf("keyed %v: %d calls in the batch, want %d", keyed, n, items)
		}
	}
}

func TestSharersOfALoneCallGetTheirOwnIDs(t *testing.T) {
	route := compiled(t, request.Route{Path: "/rpc", Method: "POST"})
	next := over(rpcServer())
	members := posts(t, route, `{"jsonrpc":"2.0","method":"film","params":["1"],"id":"x"}`, `{"jsonrpc":"2.0","method":"film","params":["1"],"id":7}`)
	members[0].Key, members[1].Key = "k", "k"
	got := texts(t, newBatcher(t, next, route, Rule{Form: FormJSONRPC}).DoBatch(context.Background(), members))
	if !strings.HasSuffix(got[0], `"id":"x"}`) || !strings.HasSuffix(got[1], `"id":7}`) {
		t.Errorf("got %q", got)
	}
}

func TestALoneCallsFailureReachesAllItsSharers(t *testing.T) {
	fault := errors.New("broken pipe")
	next := &recorder{answer: func(*request.Request) (*request.Response, error) { return nil, fault }}
	expect(t, texts(t, run(t, next, queryRule, "1", "1")), "error broken pipe", "error broken pipe")
}

func TestACachedMemberDoesNotHoldTheWholeAnswer(t *testing.T) {
	answer := []byte(`[{"id":"1"},{"id":"2"}]`)
	outcomes, err := newSplitter(queryRule.withDefaults()).split(answer, []item{{id: "1"}, {id: "2"}})
	if err != nil {
		t.Fatal(err)
	}
	if b := outcomes[0].body; cap(b) > 2*len(b)+8 {
		t.Errorf("a body of %d bytes keeps %d", len(b), cap(b))
	}
	copy(answer, "xxxxxxxxxxxxxxxx")
	if string(outcomes[0].body) != `{"id":"1"}` {
		t.Error("a member's body is a window into the answer")
	}
}

func TestRulesMayChangeUnderLoad(t *testing.T) {
	route := filmRoute(t)
	rule := queryRule
	rule.ItemsPath = "films"
	b := newBatcher(t, over(filmServer()), route, rule)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 50 {
				members := films(t, route, "a", "b", "c")
				b.Plan(members[0])
				expect(t, texts(t, b.DoBatch(context.Background(), members)),
					`200 {"id":"a","title":"Film a"}`, `200 {"id":"b","title":"Film b"}`, `200 {"id":"c","title":"Film c"}`)
				b.Stats()
			}
		})
	}
	for i := range 50 {
		b.Apply(Options{Enabled: i%2 == 1, Rules: map[string]Rule{"film": rule}, MaxItems: 2 + i%3})
	}
	workers.Wait()
}

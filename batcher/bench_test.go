package batcher

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"penstock/request"
)

func BenchmarkPlan(b *testing.B) {
	route := filmRoute(b)
	batcher := newBatcher(b, nil, route, queryRule)
	m := build(b, route, "id", "tt0111161")
	m.Header.Set("Authorization", "Bearer abcdefghijklmnop")
	m.Header.Set("Accept", "application/json")
	b.ReportAllocs()
	for b.Loop() {
		if batcher.Plan(m).Group == "" {
			b.Fatal("no group")
		}
	}
}

func BenchmarkDoBatchOf50(b *testing.B) {
	route := filmRoute(b)
	ids, items := make([]string, 50), make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprint("tt", i)
		items[i] = fmt.Sprintf(`{"id":%q,"plot":%q}`, ids[i], strings.Repeat("x", 1000))
	}
	body := "[" + strings.Join(items, ",") + "]"
	next := request.DoerFunc(func(context.Context, *request.Request) (*request.Response, error) { return reply(200, body), nil })
	batcher := newBatcher(b, next, route, queryRule)
	members := films(b, route, ids...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if r := batcher.DoBatch(context.Background(), members); r[49].Err != nil {
			b.Fatal(r[49].Err)
		}
	}
}

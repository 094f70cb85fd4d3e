package scheduler

import (
	"context"
	"fmt"
	"testing"
	"time"

	"penstock/knob"
	"penstock/request"
)

// One request in and one out of a queue that stays as long as it is. Run with -benchmem: there
// must be no allocation.
func BenchmarkQueue(b *testing.B) {
	for _, queued := range []int{1_000, 100_000, 1_000_000} {
		for _, tenants := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("queued=%d/tenants=%d", queued, tenants), func(b *testing.B) {
				var q queue
				q.init(DefaultUrgencyShare)
				now := time.Unix(1e9, 0)
				names := make([]string, tenants)
				for i := range names {
					names[i] = fmt.Sprint("tenant-", i)
				}
				n := 0
				put := func(it *item) {
					n++
					it.class, it.cost, it.weight = uint8(n%request.Urgencies), 0.01+float64(n%7)/1000, float64(1+n%3)
					q.push(it, names[n*7919%tenants], now)
				}
				for _, it := range make([]item, queued) {
					put(&it)
				}
				cycle := func() {
					it := q.next()
					class, f := it.class, it.flow
					q.take(it, now)
					q.settle(class, f, it.cost, 0.01, now)
					put(it)
				}
				for range queued {
					cycle()
				}
				b.ReportAllocs()
				for b.Loop() {
					cycle()
				}
			})
		}
	}
}

// The cancel of a request somewhere in the queue, and its return to the end.
func BenchmarkCancel(b *testing.B) {
	for _, queued := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			var q queue
			q.init(DefaultUrgencyShare)
			now := time.Unix(1e9, 0)
			items := make([]item, queued)
			for i := range items {
				items[i].cost, items[i].weight = 0.01, 1
				q.push(&items[i], fmt.Sprint("tenant-", i%100), now)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % queued
				tenant := items[i].flow.tenant
				q.remove(&items[i], now)
				q.push(&items[i], tenant, now)
			}
		})
	}
}

// A whole Do with nothing to wait for: what the stage adds to a call.
func BenchmarkDo(b *testing.B) {
	s := New(Options{Upstream: "movies", Workers: knob.FixedInt(1 << 20), Priorities: true}, &fake{do: instant})
	defer s.Close()
	b.Run("alone", func(b *testing.B) {
		r := ask("a", 3)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Do(context.Background(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			r := ask("a", 3)
			for pb.Next() {
				if _, err := s.Do(context.Background(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// A Do that waits for its permit behind others.
func BenchmarkDoQueued(b *testing.B) {
	s := New(Options{Upstream: "movies", Workers: knob.FixedInt(1), QueueLength: 1 << 20, Priorities: true}, &fake{do: instant})
	defer s.Close()
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := ask("a", 3)
		for pb.Next() {
			if _, err := s.Do(context.Background(), r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

var instantAnswer = answer("ok")

// instant hands out one response to all; only benchmarks may.
func instant(context.Context, *request.Request) (*request.Response, error) {
	r := *instantAnswer
	return &r, nil
}

package lease

import (
	"fmt"
	"testing"
	"time"

	"penstock/scheduler"
)

// crowdOf is a record of n nodes with all that a record has.
func crowdOf(n int) Record {
	r := Record{Members: make(map[string]Member), Tokens: map[int64]float64{int64(time.Second): 1.5}}
	for i := range n {
		r.Members[fmt.Sprintf("node-abcdefgh%d.jklmnopq", i)] = Member{
			Want: int64(Whole / n), Held: int64(Whole / n), Floor: int64(Whole / 20 / n), Seq: 123456,
		}
	}
	return r
}

// BenchmarkTurn is what one node computes for one write of the record: reading it, its turn, writing it.
func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		b.Run(fmt.Sprint("nodes=", n), func(b *testing.B) {
			data, err := crowdOf(n).encode()
			if err != nil {
				b.Fatal(err)
			}
			t := turn{me: "node-abcdefgh1.jklmnopq", want: Whole / 3, seq: 123457, cutOff: DefaultCutOffRatio, life: func(string) life { return alive }}
			b.ReportAllocs()
			for b.Loop() {
				r, err := parseRecord(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.Step(t).encode(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "bytes/record")
		})
	}
}

// BenchmarkLook is what a node does 20 times a second for each quota that it shares.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{3, 100} {
		b.Run(fmt.Sprint("nodes=", n), func(b *testing.B) {
			s := scheduler.New(scheduler.Options{Upstream: "u", Rates: []scheduler.Rate{{Limit: 100}}}, nil)
			defer s.Close()
			var e Estimate
			r := crowdOf(n)
			b.ReportAllocs()
			for b.Loop() {
				now := time.Now()
				d := Demand(s.Demand())
				e.Add(d, now)
				r.owed("node-abcdefgh1.jklmnopq", e.Want(d.Limit, now))
			}
		})
	}
}

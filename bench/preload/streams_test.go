package preload

import (
	"math/rand/v2"
	"penstock/preload/sim"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = 1_000_000_000

// stream makes n rows, about one each tenth of a second.
func stream(n int, row func(rng *rand.Rand, i int) (client, key uint32)) []Row {
	rng := rand.New(rand.NewPCG(7, 11))
	rows := make([]Row, n)
	at := int64(1)
	for i := range rows {
		at += int64(rng.ExpFloat64() * second / 10)
		c, k := row(rng, i)
		rows[i] = Row{At: at, Client: c, Key: k}
	}
	return rows
}

func TestOnAStreamWithoutStructureItStandsDown(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.1, 10, 20_000)
	for name, rows := range map[string][]Row{
		"random keys":   stream(50_000, func(r *rand.Rand, _ int) (uint32, uint32) { return uint32(r.IntN(20)), uint32(r.IntN(20_000)) }),
		"keys but once": stream(50_000, func(r *rand.Rand, i int) (uint32, uint32) { return uint32(r.IntN(20)), uint32(i) }),
		"zipf":          stream(50_000, func(r *rand.Rand, _ int) (uint32, uint32) { return uint32(r.IntN(20)), uint32(zipf.Uint64()) }),
	} {
		for _, s := range []Setup{{Capacity: 1000}, {Capacity: 1000, Latency: second / 5}} {
			r, _ := sim.ReplayModel(rows, s)
			if waste := float64(r.Issued-r.Used-r.UsedLate) / float64(r.Misses); waste > .01 {
				t.Errorf("%s, %+v: %.1f %% extra calls", name, s, 100*waste)
			}
		}
	}
}

func TestStructureIsFound(t *testing.T) {
	sessions := stream(40_000, func(r *rand.Rand, i int) (uint32, uint32) { // list, then its three details
		return uint32(i % 40), 0
	})
	rng := rand.New(rand.NewPCG(3, 4))
	at := make(map[uint32][2]uint32) // of each client: the list, and how far it is
	for i := range sessions {
		c := sessions[i].Client
		p := at[c]
		if p[1] == 0 {
			p[0] = uint32(rng.IntN(2000)) * 4
		}
		sessions[i].Key = p[0] + p[1]
		p[1] = (p[1] + 1) % 4
		at[c] = p
	}
	pages := stream(40_000, func(_ *rand.Rand, i int) (uint32, uint32) { return uint32(i % 10), uint32(i) })
	for i := range pages { // each client walks through pages of its own
		pages[i].Number = int64(pages[i].Client)*1_000_000 + int64(i/10) + 1
	}
	var jobs []Row // each key once in ten minutes
	for round := range int64(40) {
		for k := range uint32(100) {
			jobs = append(jobs, Row{At: 1 + round*600*second + int64(k)*second, Key: k})
		}
	}
	for name, c := range map[string]struct {
		rows  []Row
		setup Setup
		least float64 // share of the misses without prefetching that must be answered
	}{
		"sessions":            {sessions, Setup{TTL: 30 * second}, .48},
		"sessions, 200 ms":    {sessions, Setup{TTL: 30 * second, Latency: second / 5}, .48},
		"pages never seen":    {pages, Setup{TTL: 30 * second, Latency: second / 5}, .9},
		"a job every 10 min.": {jobs, Setup{TTL: 60 * second, Latency: second / 5}, .6},
	} {
		none := sim.Replay(c.rows, c.setup, nil)
		r, _ := sim.ReplayModel(c.rows, c.setup)
		won := float64(r.Used) / float64(none.Misses)
		if won < c.least || extra(r, none) > 10 {
			t.Errorf("%s: %.0f %% of the misses answered with %.1f %% extra calls; %+v", name, 100*won, extra(r, none), r)
		}
	}
}

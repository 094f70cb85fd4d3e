package preload

import (
	"math/rand/v2"
	"penstock/preload/sim"
	"testing"
)

// mutations are what is done to traces, so that what holds does not hold of these traces only.
var mutations = map[string]func(rng *rand.Rand, rows []Row) []Row{
	"as it is": func(_ *rand.Rand, rows []Row) []Row { return rows },
	"clients shuffled": func(rng *rand.Rand, rows []Row) []Row {
		for i, j := range rng.Perm(len(rows)) {
			rows[i].Client, rows[j].Client = rows[j].Client, rows[i].Client
		}
		return rows
	},
	// Popularity stays; all order goes.
	"keys shuffled": func(rng *rand.Rand, rows []Row) []Row {
		rng.Shuffle(len(rows), func(i, j int) {
			a, b := &rows[i], &rows[j]
			a.Key, a.Number, b.Key, b.Number = b.Key, b.Number, a.Key, a.Number
		})
		return rows
	},
	"ten times slower": func(_ *rand.Rand, rows []Row) []Row {
		for i := range rows {
			rows[i].At *= 10
		}
		return rows
	},
	"ten times faster": func(_ *rand.Rand, rows []Row) []Row {
		for i := range rows {
			rows[i].At = rows[i].At/10 + 1
		}
		return rows
	},
	"half left out": func(rng *rand.Rand, rows []Row) []Row {
		n := 0
		for _, r := range rows {
			if rng.IntN(2) == 0 {
				rows[n] = r
				n++
			}
		}
		return rows[:n]
	},
	"without numbers": func(_ *rand.Rand, rows []Row) []Row {
		for i := range rows {
			rows[i].Number = 0
		}
		return rows
	},
}

// TestTheBudgetHoldsOnMutatedTraces holds the promises on traces that nobody has seen: at most a tenth more
// calls, and where fewer than half of the prefetches are used, so few of them that it does not matter.
func TestTheBudgetHoldsOnMutatedTraces(t *testing.T) {
	most := shortRows
	if *full {
		most = 200_000
	}
	for _, path := range tracePaths(t) {
		rows, _ := load(t, path)
		rows = rows[:min(len(rows), most)]
		for name, mutate := range mutations {
			m := mutate(rand.New(rand.NewPCG(11, 13)), append([]Row(nil), rows...))
			s := Setup{TTL: 600 * second, Latency: second / 5}
			none := sim.Replay(m, s, nil)
			ours, _ := sim.ReplayModel(m, s)
			waste := float64(ours.Issued-ours.Used-ours.UsedLate) / float64(none.Calls())
			t.Logf("%s, %s: hit ratio %.3f, without %.3f; precision %.2f, extra calls %.1f %%, wasted %.1f %%",
				path, name, ours.HitRatio(), none.HitRatio(), ours.Precision(), extra(ours, none), 100*waste)
			if extra(ours, none) > 10 || ours.HitRatio() < none.HitRatio()-0.005 {
				t.Errorf("%s, %s: %.1f %% extra calls, hit ratio %.3f, without %.3f", path, name, extra(ours, none), ours.HitRatio(), none.HitRatio())
			}
			if ours.Precision() < 0.45 && waste > 0.02 {
				t.Errorf("%s, %s: %.1f %% of the calls wasted at a precision of %.2f", path, name, 100*waste, ours.Precision())
			}
		}
	}
}

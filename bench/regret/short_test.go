package regret

import "testing"

// TestShort is the suite's short form: the tuner alone, against what a formula says is possible.
func TestShort(t *testing.T) {
	least := map[string]float64{"a": .93, "c2": .97, "g": .93}
	for _, sc := range scenarios() {
		want, ok := least[sc.id]
		if !ok {
			continue
		}
		t.Run(sc.id, func(t *testing.T) {
			sc.warmup, sc.length = min(sc.warmup, 20*sec), min(sc.length, 100*sec)
			if sc.id == "c2" {
				sc.callers = always(50)
			}
			r := run(t, sc, ours(), 1)
			possible := 0.0
			for at := sc.warmup; at < sc.length; at += sec {
				if sc.world.down == nil || !sc.world.down(at) {
					possible += sc.optimum(at)
				}
			}
			t.Logf("%.1f %% of what is possible, %.2f refusals per 100 answers", 100*float64(r.good)/possible, r.refusals())
			if got := float64(r.good) / possible; got < want {
				t.Errorf("%.1f %% of what is possible, less than %.0f %%", 100*got, 100*want)
			}
			if r.refusals() > mostRefusals {
				t.Errorf("%.2f refusals per 100 answers", r.refusals())
			}
			for _, d := range r.decisions {
				if d.Verdict == "worse" && !d.RolledBack {
					t.Errorf("a worse decision stands: %+v", d)
				}
			}
		})
	}
}

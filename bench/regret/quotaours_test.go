package regret

import (
	"slices"
	"strings"
	"testing"
)

// TestQuotaOurs plays ours alone on rows with a quota, without looking for the best fixed setting:
//
//	go test -C bench ./regret -run QuotaOurs -v -args -only c5,c6 -tell
func TestQuotaOurs(t *testing.T) {
	if *only == "" {
		t.Skip("for rows named by -only")
	}
	for _, r := range suite() {
		sc, ok := r.(*workload)
		if !ok || sc.world.quota == nil || !slices.Contains(strings.Split(*only, ","), sc.id) {
			continue
		}
		t.Run(sc.id, func(t *testing.T) {
			for seed := 1; seed <= *seeds; seed++ {
				res := run(t, sc, ours(), uint64(seed))
				possible := 0.0
				for at := sc.warmup; at < sc.length; at += sec {
					possible += sc.optimum(at)
				}
				t.Logf("%s seed %d: %.1f %% of what is possible, %.2f refusals for 100 answers", sc.id, seed, 100*float64(res.good)/possible, res.refusals())
				if res.urgent > 0 {
					t.Logf("%d of %d urgent requests within a second", res.prompt, res.urgent)
				}
				tell(t, res)
			}
		})
	}
}

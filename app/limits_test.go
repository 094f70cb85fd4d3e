package app

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"penstock/scheduler"
)

func TestLiftingALimitIsEstimatedWithItsArithmetic(t *testing.T) {
	st := &scheduler.Stats{
		Permits: 10, ServiceTime: .1, BatchSize: 1, Queued: 7, Pace: 20, Hold: 3,
		Rates:  []scheduler.RateStats{{Limit: 30, Per: 60, Burst: 1}},
		Quotas: []scheduler.QuotaStats{{Name: "day", Limit: 5000, Per: 86400, Left: 1000, Rate: .05}},
	}
	model := func(s string) curve {
		var m any
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatal(err)
		}
		return curveOf(m)
	}
	rising := model(`{"kind":"curve","points":[{"concurrency":5,"throughput":50},{"concurrency":10,"throughput":90},{"concurrency":20,"throughput":120}]}`)
	flat := model(`{"kind":"curve","points":[{"concurrency":5,"throughput":88},{"concurrency":10,"throughput":90},{"concurrency":20,"throughput":91}]}`)
	for _, c := range []struct {
		name, binding string
		curve         curve
		gain          float64
		says, by      string
	}{
		{"nothing waits", "none", curve{}, 0, "nothing", ""},
		{"workers, no curve", "permits", curve{}, 10, "1/0.1 s", "workers.m"},
		{"workers, a rising curve", "permits", rising, 30, "20 of them would give 120", "workers.m"},
		{"workers at the knee", "permits", flat, 0, "The upstream itself", "whoever"},
		{"a configured window", "rate 0", curve{}, 99.5, "30 calls in 1m0s", "rates[0]"},
		{"a window that has gone", "rate 3", curve{}, 0, "changed", ""},
		{"a pace", "pace", curve{}, 80, "20/s", "whoever"},
		{"a long quota", "quota day", curve{}, 99.95, "5000 calls in 24h0m0s (1000 are left)", "whoever"},
		{"a hold", "hold", curve{}, 0, "in 3s", "whoever"},
		{"the breaker", "breaker", curve{}, 0, "fails", "breaker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := liftOf("m", c.binding, st, 10, c.curve)
			if math.Abs(l.GainPerSecond-c.gain) > 1e-9 || !strings.Contains(l.Sentence, c.says) || !strings.Contains(l.By, c.by) {
				t.Errorf("%+v", l)
			}
		})
	}
	if c := curveOf(map[string]any{"kind": "curve", "points": "none"}); len(c.Points) != 0 {
		t.Errorf("a broken model gave %+v", c)
	}
}

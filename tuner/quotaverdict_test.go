package tuner

import (
	"strings"
	"testing"
	"time"

	"penstock/knob"
	"penstock/observe"
)

func TestARiseThatBringsRefusalsIsWorseAndGoesBack(t *testing.T) {
	now := time.Unix(10_000, 0)
	for name, c := range map[string]struct {
		from, to, pace float64 // pace is where the refusals have had the rate brought by then
		refused        int
		verdict        Verdict
		back           bool
		rate           float64
		says           string
	}{
		"nothing was done":   {50, 100, 100, 500, VerdictWorse, true, 50, "refused 0.0 % to 50.0 %"},
		"cut meanwhile":      {50, 100, 60, 500, VerdictWorse, true, 60, "brought down to 60/s"},
		"no refusals":        {50, 100, 100, 0, VerdictBetter, false, 100, "admitted 50/s to 100/s"},
		"demand alone":       {500, 900, 900, 0, VerdictNeutral, false, 900, "the demand's doing"},
		"a cut, and refused": {100, 50, 50, 500, VerdictNeutral, false, 50, "the quota itself"},
	} {
		t.Run(name, func(t *testing.T) {
			knobs := knob.NewRegistry()
			defer knobs.Close()
			k, err := knobs.Float(knob.Spec{Name: "rate.m", Max: 1e6, Default: c.pace})
			if err != nil {
				t.Fatal(err)
			}
			loop := New(Options{Mode: ModeActive, Knobs: knobs, Signals: observe.NewWindow(observe.WindowOptions{})})
			h := Hand{loop: loop, p: &plugged{Plug: Plug{Knob: "rate.m"}}, Mode: ModeActive}
			q := NewQuotaController(QuotaOptions{})
			q.s.Pace = PaceState{Pace: c.pace, Top: c.pace, Cut: now.Add(-time.Minute)}
			q.before = rateSpan{since: now.Add(-70 * time.Second), admitted: 3000}
			q.now = rateSpan{since: now.Add(-10 * time.Second), admitted: 1000 - c.refused, refused: c.refused}
			q.open = &Decision{Knob: "rate.m", Time: now.Add(-10 * time.Second), From: c.from, To: c.to}
			d := q.verdict(now, h)
			if d == nil || d.Verdict != c.verdict || d.RolledBack != c.back || !strings.Contains(d.Measured, c.says) {
				t.Fatalf("the verdict is %+v", d)
			}
			if got := k.Get(); got != c.rate || q.s.Rate() != c.rate {
				t.Errorf("the rate is %v, and wanted is %v, not %v", got, q.s.Rate(), c.rate)
			}
		})
	}
}

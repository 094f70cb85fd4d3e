package regret

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"penstock/bench/regret/peers"
)

var (
	full  = flag.Bool("full", false, "run the whole suite")
	only  = flag.String("only", "", "one scenario")
	told  = flag.Bool("tell", false, "tell the tuner's decisions and the workers over time")
	quick = flag.Bool("quick", false, "without peers")
	write = flag.String("write", "", "write the table's figures to this file")
)

func ours() policy { return policy{name: "Penstock", workers: 16, tuner: true} }

// statics are the fixed settings of a scenario's grid.
func statics(sc *scenario) []policy {
	rates := sc.rates
	if len(rates) == 0 {
		rates = []float64{0}
	}
	var all []policy
	for _, w := range sc.workers {
		for _, r := range rates {
			all = append(all, policy{name: fmt.Sprintf("%d workers", w), workers: float64(w), pace: r})
		}
	}
	return all
}

// mostRefusals is how many refusals per 100 answers a setting may have to count as one that keeps a
// quota: callers see each of them, and many upstreams ban who does not stop.
const mostRefusals = 2

// best is the fixed setting with the most goodput, of those that keep the quota.
func best(t *testing.T, sc *scenario, seed uint64) *result {
	var b *result
	for _, p := range statics(sc) {
		r := run(t, sc, p, seed)
		if r.refusals() <= mostRefusals && (b == nil || r.goodput() > b.goodput()) {
			b = r
		}
	}
	return b
}

// recovered is how long after the shift at the goodput stays within 5 % of the new optimum for a span;
// -1: not before the next.
func recovered(sc *scenario, r *result, at, until time.Duration) time.Duration {
	const tenth = 100 * time.Millisecond
	span := max(int(5*sc.trip/tenth), 10)
	for i := int(at / tenth); i+span <= int(until/tenth); i++ {
		sum := 0
		for _, n := range r.tenths[i : i+span] {
			sum += n
		}
		if got := float64(sum) / (float64(span) * tenth.Seconds()); got >= .95*sc.optimum(at) && got <= 1.3*sc.optimum(at) {
			return time.Duration(i)*tenth - at
		}
	}
	return -1
}

func TestTable(t *testing.T) {
	if !*full {
		t.Log("the whole table takes minutes: -full")
	}
	for _, sc := range scenarios() {
		if *only != "" && sc.id != *only || !*full && *only == "" {
			continue
		}
		t.Run(sc.id, func(t *testing.T) { table(t, sc) })
	}
}

func table(t *testing.T, sc *scenario) {
	b := best(t, sc, 1)
	line := fmt.Sprintf("| %s | %s | %.1f/s (%s", sc.id, sc.title, b.goodput(), b.policy.name)
	if b.policy.pace > 0 {
		line += fmt.Sprintf(", %.0f/s", b.policy.pace)
	}
	line += ") |"
	us := run(t, sc, ours(), 1)
	if *quick {
		tell(t, us)
		t.Logf("%s: %.1f %% of the best static, %.2f refusals; %s", sc.id, 100*us.goodput()/b.goodput(), us.refusals(), line)
		return
	}
	cell := func(r *result) string {
		s := fmt.Sprintf(" %.1f %%", 100*r.goodput()/b.goodput())
		if sc.world.quota != nil {
			s += fmt.Sprintf(" (%.1f)", r.refusals())
		}
		return s + " |"
	}
	line += cell(us)
	for _, limiter := range peers.All() {
		l := limiter()
		r := run(t, sc, policy{name: l.Name(), workers: float64(max(l.Limit(), 1)), limiter: l}, 1)
		line += cell(r)
	}
	line += " "
	for i, at := range sc.shifts {
		until := sc.length
		if i+1 < len(sc.shifts) {
			until = sc.shifts[i+1]
		}
		d := recovered(sc, us, at, until)
		t.Logf("after the shift at %v: within 5 %% of the new optimum after %v, %.0f round trips", at, d, d.Seconds()/sc.trip.Seconds())
		if i > 0 {
			line += ", "
		}
		line += fmt.Sprintf("%.0f", d.Seconds()/sc.trip.Seconds())
	}
	if len(sc.shifts) == 0 {
		line += "-"
	}
	line += " |"
	tell(t, us)
	t.Log(line)
	if *write != "" {
		f, err := os.OpenFile(*write, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintln(f, line)
	}
}

func tell(t *testing.T, r *result) {
	if !*told {
		return
	}
	t.Logf("workers by second: %v", r.workers)
	for i := len(r.decisions) - 1; i >= 0; i-- {
		d := r.decisions[i]
		t.Logf("%s %s %.1f -> %.1f %s: %s; %s: %s", d.Time.Format("15:04:05"), d.Knob, d.From, d.To, d.Rule, d.Reason, d.Verdict, d.Measured)
	}
}

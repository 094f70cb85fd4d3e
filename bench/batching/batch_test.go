package batching

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var full = flag.Bool("full", false, "longer runs and more sizes of fixed batches")

// The defaults of the configuration: batching.max_items and batching.linger.
const (
	defaultMost   = 50
	defaultLinger = 5 * time.Millisecond
)

// scenario is a load under which Penstock is compared.
type scenario struct {
	load
	// most is the most items that the upstream takes in a call, and so batching.max_items.
	most int
	// long: only in the full run.
	long bool
}

const atLeast = 0.95

var saturated = []scenario{
	{load: load{rate: 6000}, most: defaultMost},
	{load: load{clients: 800}, most: defaultMost, long: true},
	{load: load{clients: 400}, most: defaultMost, long: true},
	{load: load{clients: 100}, most: defaultMost},
	{load: load{clients: 800}, most: 500},
}

// sizes are the fixed sizes of the grid.
func sizes(most int) []int {
	grid := []int{12, 50, 100, 500}
	if *full {
		grid = []int{4, 8, 12, 16, 25, 35, 50, 70, 100, 140, 200, 300, 500}
	}
	for i, n := range grid {
		if n == most {
			return grid[:i+1]
		}
	}
	return grid
}

// measure runs a load against what make makes, in virtual time.
func measure(t *testing.T, run func(u *upstream) figures) (f figures) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { f = run(new(upstream)) })
	return f
}

func (l load) static(t *testing.T, size int, hold time.Duration) figures {
	return measure(t, func(u *upstream) figures { return l.run(u, &static{u: u, size: size, hold: hold}) })
}

func (l load) penstock(t *testing.T, most int, linger time.Duration) figures {
	return measure(t, func(u *upstream) figures {
		s := penstock(u, most, linger)
		defer s.Close()
		return l.run(u, s)
	})
}

// timed sets how long a run takes in virtual time.
func (l load) timed() load {
	l.warm, l.length = time.Second, 4*time.Second // shorter ones count whole rounds of large calls unevenly
	if *full {
		l.length = 6 * time.Second
	}
	return l
}

func row(out *strings.Builder, who string, f figures, best float64) {
	fmt.Fprintf(out, "  %-28s %7.0f/s  %4.2f of best  batch %5.1f  p50 %4d ms  p99 %4d ms  refused %5d\n",
		who, f.perSecond, f.perSecond/best, f.batch, f.p50.Milliseconds(), f.p99.Milliseconds(), f.refused)
}

// At saturation, Penstock with the default settings answers about as many requests per second as
// the fixed batch size that suits the load best.
func TestBatchesAtSaturationComeUpToTheBestFixedSize(t *testing.T) {
	for _, sc := range saturated {
		if sc.long && !*full {
			continue
		}
		sc.load = sc.timed()
		var best figures
		name := ""
		for _, n := range sizes(sc.most) {
			for _, hold := range []time.Duration{0, callCost / 2} {
				if f := sc.static(t, n, hold); f.perSecond > best.perSecond {
					best, name = f, fmt.Sprintf("best fixed: %d, held %v", n, hold)
				}
			}
		}
		var out strings.Builder
		fmt.Fprintf(&out, "%v; at most %d in a call\n", sc.load, sc.most)
		row(&out, name, best, best.perSecond)
		f := sc.penstock(t, sc.most, defaultLinger)
		row(&out, "Penstock", f, best.perSecond)
		if *full {
			row(&out, "Penstock, linger 0", sc.penstock(t, sc.most, 0), best.perSecond)
			row(&out, "Penstock, not batching", sc.penstock(t, 1, 0), best.perSecond)
		}
		t.Log("\n" + out.String())
		if f.perSecond < atLeast*best.perSecond {
			t.Errorf("%v: Penstock answers %.0f/s, less than %g of the %.0f/s of the best fixed size", sc.load, f.perSecond, atLeast, best.perSecond)
		}
	}
}

// Without load batching costs nothing: the median is that of a Penstock without batching.
func TestBatchesAtLowLoadCostNoTime(t *testing.T) {
	var out strings.Builder
	for _, rate := range []float64{5, 20, 60, 100, 150} {
		l := load{rate: rate, warm: time.Second, length: 10 * time.Second}
		plain, batched := l.penstock(t, 1, 0), l.penstock(t, defaultMost, defaultLinger)
		fmt.Fprintf(&out, "  %4g/s  unbatched p50 %6.1f p99 %6.1f ms   batched p50 %6.1f p99 %6.1f ms, %.2f in a call\n",
			rate, ms(plain.p50), ms(plain.p99), ms(batched.p50), ms(batched.p99), batched.batch)
		if float64(batched.p50) > 1.1*float64(plain.p50) {
			t.Errorf("at %g/s the median is %v with batching and %v without", rate, batched.p50, plain.p50)
		}
	}
	t.Log("\n" + out.String())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Requests that can't travel in batches get their permits between the batches.
func TestBatchesLeaveRoomForLoneRequests(t *testing.T) {
	l := load{rate: 2000, loneShare: 0.02, warm: time.Second, length: 3 * time.Second}
	f := l.penstock(t, defaultMost, defaultLinger)
	offered := l.rate * l.loneShare
	t.Logf("%v: %.0f/s in all, of them %.0f/s alone of %.0f offered; p50 %v, of those alone %v", l, f.perSecond, f.lonePerSecond, offered, f.p50, f.loneP50)
	if f.lonePerSecond < 0.8*offered || f.loneP50 > 2*f.p50 {
		t.Errorf("lone requests: %.0f/s of %.0f, p50 %v against %v of all", f.lonePerSecond, offered, f.loneP50, f.p50)
	}
}

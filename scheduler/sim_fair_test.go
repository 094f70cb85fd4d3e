package scheduler

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// Eight urgencies, 100 tenants, three times the capacity: no permit idles while something waits,
// and each urgency gets its guarantee.
func TestSimEightUrgenciesAtThreeTimesTheCapacity(t *testing.T) {
	m := sim{permits: 50, service: 100 * time.Millisecond, length: 16 * time.Second, warmup: 4 * time.Second, seed: 1}
	rate := 3 * float64(m.permits) / m.service.Seconds()
	for u := range request.Urgencies {
		for i := range 100 {
			m.sources = append(m.sources, source{fmt.Sprint("t", i), request.Urgency(u), rate / 800, 0})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := m.scheduler(Options{Workers: knob.FixedInt(m.permits), QueueLength: 2000})
		defer s.Close()
		o := m.run(s, queueOf(s))
		rows := [][]string{{"urgency", "ended", "seconds", "share %"}}
		var sum [request.Urgencies]float64 // of service, in seconds
		var sent [request.Urgencies]int
		for _, r := range o.results {
			sum[r.urgency] += r.served.Seconds()
			sent[r.urgency] += r.sent
		}
		total := 0.0
		for _, n := range sum {
			total += n
		}
		for u, n := range sum {
			share := percent(n, total)
			rows = append(rows, []string{fmt.Sprint(u), fmt.Sprint(sent[u]), fmt.Sprintf("%.1f", n), fmt.Sprintf("%.1f", share)})
			if share < 100*DefaultUrgencyShare {
				t.Errorf("urgency %d got %.2f %% of the capacity, less than its guarantee of %v %%", u, share, 100*DefaultUrgencyShare)
			}
		}
		if o.idle > 0 {
			t.Errorf("permits idled %.3f %% of the time while something waited", 100*o.idle)
		}
		golden(t, "urgencies.txt", table(rows...)+fmt.Sprintf("permits idle while something waits: %.2f %%\n", 100*o.idle))
	})
}

// 100 tenants of weights 1 to 4 at one urgency, each asking for three times its share.
func TestSimTenantsShareByWeight(t *testing.T) {
	m := sim{permits: 25, service: 25 * time.Millisecond, length: 20 * time.Second, warmup: 4 * time.Second, seed: 2}
	weights := make(map[string]float64)
	all := 0.0
	for i := range 100 {
		w := float64(1 + i%4)
		weights[fmt.Sprint("t", i)] = w
		all += w
	}
	for i := range 100 {
		tenant := fmt.Sprint("t", i)
		rate := 3 * float64(m.permits) / m.service.Seconds() * weights[tenant] / all
		m.sources = append(m.sources, source{tenant, 5, rate, 0})
	}
	synctest.Test(t, func(t *testing.T) {
		s := m.scheduler(Options{
			Workers: knob.FixedInt(m.permits), QueueLength: 4000,
			Weights: func(tenant string) float64 { return weights[tenant] },
		})
		defer s.Close()
		o := m.run(s, queueOf(s))
		total := 0.0
		for _, r := range o.results {
			total += r.served.Seconds()
		}
		rows := [][]string{{"weight", "tenants", "seconds", "worst off %"}}
		for w := 1.0; w <= 4; w++ {
			n, got, worst := 0, 0.0, 0.0
			for _, r := range o.results {
				if weights[r.tenant] == w {
					n, got = n+1, got+r.served.Seconds()
					worst = max(worst, math.Abs(r.served.Seconds()/(total*w/all)-1))
				}
			}
			rows = append(rows, []string{fmt.Sprint(w), fmt.Sprint(n), fmt.Sprintf("%.1f", got), fmt.Sprintf("%.2f", 100*worst)})
			if worst > 0.02 {
				t.Errorf("a tenant of weight %v is %.2f %% off its share", w, 100*worst)
			}
		}
		golden(t, "weights.txt", table(rows...))
	})
}

// A tenant at 50 times the rate of the others hardly shows to them.
func TestSimNoisyTenantCostsTheOthersLittle(t *testing.T) {
	m := sim{permits: 100, service: 100 * time.Millisecond, length: 14 * time.Second, warmup: 4 * time.Second, seed: 3}
	const tenants = 20
	rate := 0.5 * float64(m.permits) / m.service.Seconds() / tenants
	for i := range tenants {
		m.sources = append(m.sources, source{fmt.Sprint("t", i), 3, rate, 2 * time.Second})
	}
	others := func(t *testing.T, m sim) (good, p99 float64) {
		s := m.scheduler(Options{Workers: knob.FixedInt(m.permits), QueueLength: 500})
		defer s.Close()
		var all result
		sent := 0
		for _, r := range m.run(s, nil).results[:tenants] {
			sent, all.good = sent+r.sent, all.good+r.good
			all.latency = append(all.latency, r.latency...)
		}
		return float64(all.good) / float64(sent), all.p99().Seconds()
	}
	var quiet, noisy [2]float64
	synctest.Test(t, func(t *testing.T) { quiet[0], quiet[1] = others(t, m) })
	m.sources = append(m.sources, source{"noisy", 3, 50 * rate, 2 * time.Second})
	synctest.Test(t, func(t *testing.T) { noisy[0], noisy[1] = others(t, m) })
	if noisy[0] < 0.95*quiet[0] {
		t.Errorf("the noisy tenant cost the others %.1f %% of their goodput", 100*(1-noisy[0]/quiet[0]))
	}
	if noisy[1] > 1.1*quiet[1] {
		t.Errorf("the noisy tenant cost the others %.1f %% of their p99", 100*(noisy[1]/quiet[1]-1))
	}
	row := func(name string, x [2]float64) []string {
		return []string{name, fmt.Sprintf("%.2f", 100*x[0]), fmt.Sprintf("%.1f", 1000*x[1])}
	}
	golden(t, "noisy.txt", table([]string{"the other tenants", "goodput %", "p99 ms"}, row("alone", quiet), row("beside one at 50 times the rate", noisy)))
}

// Answers within the deadline at three times the capacity, against a plain FIFO.
func TestSimGoodputUnderOverload(t *testing.T) {
	m := sim{permits: 40, service: 200 * time.Millisecond, length: 16 * time.Second, warmup: 4 * time.Second, seed: 4}
	for u := range request.Urgencies {
		for i := range 5 {
			m.sources = append(m.sources, source{fmt.Sprint("t", i), request.Urgency(u), 3 * float64(m.permits) / m.service.Seconds() / 40, time.Second})
		}
	}
	const length = 4 * 40
	goodput := func(o outcome) float64 {
		good := 0
		for _, r := range o.results {
			good += r.good
		}
		return percent(float64(good), m.capacity())
	}
	var plain, ours float64
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(&fake{do: simulated}, m.permits, length)
		plain = goodput(m.run(f, nil))
		f.calls.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		s := m.scheduler(Options{Workers: knob.FixedInt(m.permits), QueueLength: length})
		defer s.Close()
		ours = goodput(m.run(s, nil))
	})
	if ours < 97 {
		t.Errorf("goodput is %.1f %% of the capacity, want 97", ours)
	}
	golden(t, "goodput.txt", table([]string{"answers within the deadline", "% of capacity"},
		[]string{"plain FIFO, same length", fmt.Sprintf("%.1f", plain)}, []string{"scheduler", fmt.Sprintf("%.1f", ours)}))
}

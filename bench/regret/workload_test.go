package regret

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"penstock/bench/regret/peers"
	"penstock/tuner"
)

// workload is a row: a world and who calls it.
type workload struct {
	id, title string
	world     world
	// callers want one answer after the other; nil: none.
	callers func(t time.Duration) int
	// arrivals per second that come whatever happens; nil: none.
	arrivals func(t time.Duration) float64
	// routes are drawn with these shares; empty: one route.
	routes  map[string]float64
	timeout time.Duration
	warmup  time.Duration
	length  time.Duration
	// shifts are the moments of change, and trip the round trip by which the time after them is told.
	shifts []time.Duration
	trip   time.Duration
	// ranked: the callers' requests are the least urgent, the arrivals' the most.
	ranked bool
	// alone: no peers are played, which would be refused millions of times in hours of virtual time.
	alone bool
	// moves: the best setting is not the same all the time.
	moves bool
	// workers and rates are the grid of fixed settings.
	workers []int
	rates   []float64
	// optimum is the goodput that the world allows at t, where a formula says it; nil: unknown.
	optimum func(t time.Duration) float64
	// short is the least share of the optimum that the short form asserts; 0: not part of it.
	short float64
	note  string
}

// ours is the tuner; it knows nothing of a workload.
func ours() policy { return policy{name: "Penstock", workers: peers.Start, tuner: true} }

// statics are the fixed settings of a workload's grid.
func statics(sc *workload) []policy {
	rates := sc.rates
	if len(rates) == 0 {
		rates = []float64{0}
	}
	var all []policy
	for _, w := range sc.workers {
		for _, r := range rates {
			p := policy{name: fmt.Sprintf("%d workers", w), workers: float64(w), pace: r}
			if r > 0 {
				p.name += fmt.Sprintf(", %.0f/s", r)
			}
			all = append(all, p)
		}
	}
	return all
}

// mostRefusals is how many refusals per 100 answers a setting may have to count as one that keeps a
// quota: callers see each of them, and many upstreams ban who does not stop.
const mostRefusals = 2

// best is the fixed setting with the most goodput, of those that keep the quota.
func best(t *testing.T, sc *workload, seed uint64) *result {
	if *against > 0 {
		return run(t, sc, policy{name: fmt.Sprintf("%d workers", *against), workers: float64(*against)}, seed)
	}
	var b *result
	for _, p := range statics(sc) {
		r := run(t, sc, p, seed)
		if r.refusals() <= mostRefusals && (b == nil || r.goodput() > b.goodput()) {
			b = r
		}
	}
	return b
}

func (sc *workload) Name() (id, title string) { return sc.id, sc.title }

// Measure finds the best fixed setting with the first seed, and plays it, ours and the peers with each.
func (sc *workload) Measure(t *testing.T) outcome {
	n := *seeds
	if *quick {
		n = 1
	}
	fixed := []*result{best(t, sc, 1)}
	for seed := 2; seed <= n; seed++ {
		fixed = append(fixed, run(t, sc, fixed[0].policy, uint64(seed)))
	}
	o := outcome{Best: fmt.Sprintf("%.1f/s (%s)", fixed[0].goodput(), fixed[0].policy.name), Peers: make(map[string]figure), Note: sc.note}
	var us []*result
	o.Penstock, us = sc.figure(t, fixed, ours)
	if !*quick && !sc.alone && *against == 0 {
		for _, limiter := range peers.All() {
			f, _ := sc.figure(t, fixed, func() policy {
				l := limiter()
				return policy{name: l.Name(), workers: float64(max(l.Limit(), 1)), limiter: l}
			})
			o.Peers[limiter().Name()] = f
		}
	}
	for i, at := range sc.shifts {
		o.After = append(o.After, sc.tripsAfter(us, i, at))
	}
	for _, r := range us {
		o.Probing = max(o.Probing, probing(sc, r))
		tell(t, r)
		tellShifts(t, sc, r)
	}
	sc.marks(&o, us)
	return o
}

// figure plays a policy with each seed.
func (sc *workload) figure(t *testing.T, fixed []*result, p func() policy) (figure, []*result) {
	var shares, refusals []float64
	var all []*result
	for i, f := range fixed {
		r := run(t, sc, p(), uint64(i+1))
		all = append(all, r)
		shares = append(shares, r.goodput()/f.goodput())
		refusals = append(refusals, r.refusals())
	}
	x := figure{Share: median(shares), Least: slices.Min(shares)}
	if sc.world.quota != nil {
		x.Extra = fmt.Sprintf("%.1f", slices.Max(refusals))
	}
	return x, all
}

func (sc *workload) marks(o *outcome, us []*result) {
	switch {
	case sc.moves:
		o.mark(markShift, o.Penstock.Share > 1, "%.1f", 100*o.Penstock.Share)
	default:
		o.mark(markStill, o.Penstock.Share >= .97, "%.1f", 100*o.Penstock.Share)
	}
	if len(o.Peers) > 0 {
		o.markAhead()
	}
	if len(sc.shifts) > 0 {
		o.mark(markAfter, slices.Max(o.After) <= 20 && slices.Min(o.After) >= 0, "%.0f", o.After)
	}
	if sc.world.quota != nil && !sc.moves {
		o.mark(markQuota, o.Penstock.Share >= .97 && us[0].refusals() <= mostRefusals, "%.1f, %s refused", 100*o.Penstock.Share, o.Penstock.Extra)
	}
	standing := 0
	for _, r := range us {
		standing += standingWorse(r.decisions)
	}
	o.mark(markVerdict, standing == 0, "%d", standing)
	o.mark(markProbing, o.Probing <= .05, "%.1f %%", 100*o.Probing)
}

// standingWorse counts decisions whose verdict is worse and which were not rolled back.
func standingWorse(decisions []tuner.Decision) int {
	n := 0
	for _, d := range decisions {
		if d.Verdict == tuner.VerdictWorse && !d.RolledBack {
			n++
		}
	}
	return n
}

func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// tripsAfter is the median over the seeds of how many round trips the i-th shift cost; -1: too many to tell.
func (sc *workload) tripsAfter(us []*result, i int, at time.Duration) float64 {
	until := sc.length
	if i+1 < len(sc.shifts) {
		until = sc.shifts[i+1]
	}
	var trips []float64
	for _, r := range us {
		if d := recovered(sc, r, at, until); d >= 0 {
			trips = append(trips, d.Seconds()/sc.trip.Seconds())
		} else {
			trips = append(trips, 1e6)
		}
	}
	if m := median(trips); m < 1e6 {
		return m
	}
	return -1
}

const tenth = 100 * time.Millisecond

// recovered is how long after the shift at the goodput stays within 5 % of the new optimum for a span;
// -1: not before the next.
func recovered(sc *workload, r *result, at, until time.Duration) time.Duration {
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

// probing is the share of permit-time spent off the settled value, as an onlooker sees it: that is the
// median of the workers over 30 round trips, and at least 20 s, around each moment. The
// warm-up and what follows a shift (20 round trips, and longer if the new optimum is not found yet) do not
// count: that is finding, not probing.
func probing(sc *workload, r *result) float64 {
	half := max(int(15*sc.trip/tenth), 100)
	var off, total float64
	var around sliding
	found := make([]time.Duration, len(sc.shifts))
	for i, at := range sc.shifts {
		found[i] = at + max(20*sc.trip, sec, recovered(sc, r, at, sc.length))
	}
	for i := int(sc.warmup / tenth); i < len(r.workers); i++ {
		now := time.Duration(i) * tenth
		if slices.ContainsFunc(sc.shifts, func(at time.Duration) bool { return now >= at && now < found[slices.Index(sc.shifts, at)] }) {
			continue
		}
		around.slide(r.workers, max(0, i-half), min(len(r.workers), i+half))
		settled := float64(around.median())
		w := float64(r.workers[i])
		off += max(w-settled, settled-w)
		total += w
	}
	return off / max(total, 1)
}

// sliding counts the values of a window that moves on.
type sliding struct {
	counts   []int
	from, to int
}

func (s *sliding) slide(values []int, from, to int) {
	for ; s.to < to; s.to++ {
		for len(s.counts) <= values[s.to] {
			s.counts = append(s.counts, 0)
		}
		s.counts[values[s.to]]++
	}
	for ; s.from < from; s.from++ {
		s.counts[values[s.from]]--
	}
}

func (s *sliding) median() int {
	left := (s.to - s.from) / 2
	for v, n := range s.counts {
		if left -= n; left < 0 {
			return v
		}
	}
	return 0
}

func tell(t *testing.T, r *result) {
	if !*told {
		return
	}
	var each []int
	for i := 0; i < len(r.workers); i += 10 {
		each = append(each, r.workers[i])
	}
	t.Logf("workers by second: %v", each)
	for _, d := range slices.Backward(r.decisions) {
		t.Logf("%s %s %.1f -> %.1f %s: %s; %s: %s", d.Time.Format("15:04:05"), d.Knob, d.From, d.To, d.Rule, d.Reason, d.Verdict, d.Measured)
	}
}

// Short plays ours alone, against what the formula says is possible.
func (sc *workload) Short(t *testing.T) {
	if sc.short == 0 {
		return
	}
	short := *sc
	short.warmup, short.length = min(sc.warmup, 20*sec), min(sc.length, 100*sec)
	r := run(t, &short, ours(), 1)
	possible := 0.0
	for at := short.warmup; at < short.length; at += sec {
		if sc.world.down == nil || !sc.world.down(at) {
			possible += sc.optimum(at)
		}
	}
	t.Logf("%.1f %% of what is possible, %.2f refusals per 100 answers", 100*float64(r.good)/possible, r.refusals())
	if got := float64(r.good) / possible; got < sc.short {
		t.Errorf("%.1f %% of what is possible, less than %.0f %%", 100*got, 100*sc.short)
	}
	if r.refusals() > mostRefusals {
		t.Errorf("%.2f refusals per 100 answers", r.refusals())
	}
	if n := standingWorse(r.decisions); n > 0 {
		t.Errorf("%d worse decisions stand", n)
	}
	if p := probing(&short, r); p > .05 {
		t.Errorf("%.1f %% of the permits were spent on probing", 100*p)
	}
}

// tellShifts tells what happened just after each change.
func tellShifts(t *testing.T, sc *workload, r *result) {
	if !*told {
		return
	}
	for _, at := range sc.shifts {
		i := int(at / tenth)
		t.Logf("workers by tenth from %v: %v, answers: %v", at, r.workers[i:min(len(r.workers), i+60)], r.tenths[i:min(len(r.tenths), i+60)])
	}
}

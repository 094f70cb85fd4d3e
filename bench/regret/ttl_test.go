package regret

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"sort"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/cache"
	"penstock/knob"
	"penstock/observe"
	"penstock/request"
	"penstock/tuner"
)

// content is a row whose answers change, key by key, at rates of their own. The cache, its looks, the
// evidence, the controller and the loop are the real ones; the upstream answers at once, with the version
// of the key as body, and tells when it changed only in the run that lives by that.
type content struct {
	id, title string
	// change and demand of each key, per second.
	change, demand []float64
	target         float64
	warmup, length time.Duration
}

// contentRun is what one run came to after its warm-up.
type contentRun struct {
	hits, stale, calls int
	decisions          []tuner.Decision
}

func (r contentRun) share() float64 { return float64(r.stale) / float64(max(r.hits, 1)) }

// zipf are n demands that sum to total.
func zipf(n int, total float64) []float64 {
	d := make([]float64, n)
	sum := 0.0
	for i := range d {
		d[i] = math.Pow(float64(i+1), -.9)
		sum += d[i]
	}
	for i := range d {
		d[i] *= total / sum
	}
	return d
}

// rates gives key i of n its rate of change.
func ratesOf(n int, rate func(i int) float64) []float64 {
	r := make([]float64, n)
	for i := range r {
		r[i] = rate(i)
	}
	return r
}

func init() {
	random := rand.New(rand.NewPCG(1, 1))
	row := func(id, title string, target float64, n int, demand float64, rate func(i int) float64) *content {
		return &content{
			id: id, title: title, target: target, change: ratesOf(n, rate), demand: zipf(n, demand),
			warmup: 40 * time.Minute, length: 2 * time.Hour,
		}
	}
	register(
		row("l1", "three of ten keys change each minute, the others each hour; 1 % may be stale", .01, 300, 20, func(i int) float64 {
			if i%10 < 3 {
				return 1.0 / 60
			}
			return 1.0 / 3600
		}),
		row("l2", "keys change between each 30 s and each 10 h; 1 % may be stale", .01, 300, 20, func(int) float64 {
			return math.Pow(1200, random.Float64()) / 36_000
		}),
		row("l3", "all keys change each 10 minutes; 1 % may be stale", .01, 300, 20, func(int) float64 { return 1.0 / 600 }),
		row("l4", "50 keys change between each minute and each hour; 5 % may be stale", .05, 50, 5, func(int) float64 {
			return math.Pow(60, random.Float64()) / 3600
		}),
	)
}

func (c *content) Name() (id, title string) { return c.id, c.title }

// regime is how a run's answers are given their time.
type regime struct {
	name string
	// fixed is one TTL for all; heuristic: a tenth of the time since the last change; learner: by key.
	fixed     time.Duration
	heuristic bool
	learner   func() ttlLearner
	tuner     bool
}

// ttlLearner is a rule that others use, key by key.
type ttlLearner interface {
	look(l cache.Look)
	ttl(key uint64) time.Duration
}

// learned is a ttlLearner as the cache's source of freshness.
type learned struct {
	mu sync.Mutex
	l  ttlLearner
}

func (l *learned) Freshness(key uint64) (ttl, window time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.l.ttl(key), 0, true
}

func (l *learned) EarlyRatio() float64 { return 0 }

// counting estimates the rate of each key as changes seen over time looked at, and takes T = 2e/rate.
type counting struct {
	target float64
	keys   map[uint64]*counted
}

type counted struct {
	changes int
	time    float64
	ttl     time.Duration
}

func (c *counting) look(l cache.Look) {
	k := c.keys[l.Key]
	if k == nil {
		k = &counted{}
		c.keys[l.Key] = k
	}
	k.time += l.Since.Seconds()
	if l.Changed {
		k.changes++
	}
}

func (c *counting) ttl(key uint64) time.Duration {
	k := c.keys[key]
	if k == nil || k.time == 0 {
		return 10 * time.Second
	}
	if k.changes == 0 { // none seen: as if one were about to be
		return time.Duration(2 * c.target * k.time * float64(time.Second))
	}
	return time.Duration(2 * c.target * k.time / float64(k.changes) * float64(time.Second))
}

// stepping makes the TTL half as long again when nothing changed, and half when something did.
type stepping struct{ keys map[uint64]*counted }

func (s *stepping) look(l cache.Look) {
	k := s.keys[l.Key]
	if k == nil {
		k = &counted{ttl: 10 * time.Second}
		s.keys[l.Key] = k
	}
	if l.Changed {
		k.ttl = max(k.ttl/2, 100*time.Millisecond)
	} else if !l.First {
		k.ttl = min(k.ttl*3/2, 24*time.Hour)
	}
}

func (s *stepping) ttl(key uint64) time.Duration {
	if k := s.keys[key]; k != nil {
		return k.ttl
	}
	return 10 * time.Second
}

// keyedKnob is the tuner's plan, as app hands it to the cache.
type keyedKnob struct {
	knob  *knob.Knob
	table *tuner.TTLTable
}

func (k *keyedKnob) Freshness(key uint64) (ttl, window time.Duration, ok bool) {
	return k.table.Freshness(key, k.knob.Value())
}

func (k *keyedKnob) EarlyRatio() float64 { return tuner.Balanced().ProbeRatio }

// versions are the contents of the keys.
type versions struct {
	mu      sync.Mutex
	change  []float64
	random  *rand.Rand
	next    []time.Time
	changed []time.Time
	version []int
	calls   int
	tells   bool
}

func (v *versions) at(i int, now time.Time) int {
	for !v.next[i].After(now) {
		v.version[i]++
		v.changed[i] = v.next[i]
		v.next[i] = v.next[i].Add(time.Duration(v.random.ExpFloat64() / v.change[i] * float64(time.Second)))
	}
	return v.version[i]
}

func (v *versions) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	i, err := strconv.Atoi(r.Key)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	body := strconv.Itoa(v.at(i, now))
	h := http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}
	if v.tells {
		h.Set("Last-Modified", v.changed[i].UTC().Format(http.TimeFormat))
	}
	return &request.Response{Status: http.StatusOK, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}, nil
}

// play makes one run.
func (c *content) play(t *testing.T, g regime, seed uint64) contentRun {
	var res contentRun
	synctest.Test(t, func(t *testing.T) {
		born := time.Now()
		v := &versions{change: c.change, random: rand.New(rand.NewPCG(seed, 0)), tells: g.heuristic}
		for i := range c.change {
			v.next = append(v.next, born.Add(time.Duration(v.random.ExpFloat64()/c.change[i]*float64(time.Second))))
			v.changed = append(v.changed, born.Add(-time.Duration(v.random.ExpFloat64()/c.change[i]*float64(time.Second))))
			v.version = append(v.version, 0)
		}
		knobs := knob.NewRegistry()
		defer knobs.Close()
		k, _ := knobs.Duration(knob.Spec{Name: "cache.ttl.r", Default: 60, Max: 365 * 86_400})
		route := &request.Route{Name: "r", Upstream: "m", Method: http.MethodGet, Cache: request.CachePolicy{Mode: request.CacheTTL, TTL: request.FixedDuration(g.fixed)}}
		options := cache.Options{Enabled: true, MaxBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)}
		var loop *tuner.Loop
		switch {
		case g.heuristic:
			route = request.NewProxyRoute("m", request.CachePolicy{})
		case g.learner != nil:
			l := &learned{l: g.learner()}
			route.Cache.Keyed = l
			options.OnLook = func(o cache.Look) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.l.look(o)
			}
		case g.tuner:
			e := tuner.NewTTLEvidence(0)
			route.Cache.TTL, route.Cache.Keyed = k, &keyedKnob{k.Knob, e.Table()}
			options.OnLook = func(l cache.Look) {
				e.Look(tuner.TTLLook{Key: l.Key, At: l.At, First: l.First, Since: l.Since, Changed: l.Changed, Age: l.Age, Uses: l.Uses, Kept: l.Kept, Early: l.Early})
			}
			loop = tuner.New(tuner.Options{
				Mode: tuner.ModeActive, Knobs: knobs, Signals: observe.NewWindow(observe.WindowOptions{}),
				Appetite: tuner.Appetite{StaleRatio: c.target},
			})
			loop.SetPlugs([]tuner.Plug{{Knob: "cache.ttl.r", Kind: "ttl", Upstream: "m", Route: "r", Safer: 1, Slow: tuner.TTLRule(tuner.TTLSource{Evidence: e, Value: k.Value})}})
			loop.Start()
			defer loop.Stop()
		}
		store, err := cache.New(options, v)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		c.drive(t, store, route, v, born, rand.New(rand.NewPCG(seed, 1)), &res)
		if loop != nil {
			res.decisions = loop.Decisions(tuner.Filter{})
		}
	})
	return res
}

// drive makes the requests, one after the other at random moments.
func (c *content) drive(t *testing.T, store *cache.Cache, route *request.Route, v *versions, born time.Time, random *rand.Rand, res *contentRun) {
	sums := make([]float64, len(c.demand))
	total := 0.0
	for i, d := range c.demand {
		total += d
		sums[i] = total
	}
	before := -1
	body := make([]byte, 32)
	for {
		time.Sleep(time.Duration(random.ExpFloat64() / total * float64(time.Second)))
		at := time.Since(born)
		if at >= c.length {
			break
		}
		counts := at >= c.warmup
		if counts && before < 0 {
			v.mu.Lock()
			before = v.calls
			v.mu.Unlock()
		}
		i := min(sort.SearchFloat64s(sums, random.Float64()*total), len(sums)-1)
		r := &request.Request{Route: route, Method: http.MethodGet, Key: strconv.Itoa(i), Header: make(http.Header)}
		resp, err := store.Do(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := resp.Body.Read(body)
		_ = resp.Body.Close()
		if !counts || !resp.Cache.Hit {
			continue
		}
		res.hits++
		v.mu.Lock()
		if string(body[:n]) != strconv.Itoa(v.at(i, time.Now())) {
			res.stale++
		}
		v.mu.Unlock()
	}
	v.mu.Lock()
	res.calls = v.calls - before
	v.mu.Unlock()
}

// bestFixed is the longest single TTL whose stale share, by the formula, is the target: what an operator who
// knew all rates would set.
func (c *content) bestFixed() time.Duration {
	stale := func(ttl float64) float64 {
		var hits, bad float64
		for i, m := range c.demand {
			h := m * m * ttl / (1 + m*ttl)
			hits += h
			bad += h * tuner.StaleShare(c.change[i], time.Duration(ttl*float64(time.Second)))
		}
		return bad / hits
	}
	lo, hi := .01, 1e6
	for range 100 {
		if mid := math.Sqrt(lo * hi); stale(mid) <= c.target {
			lo = mid
		} else {
			hi = mid
		}
	}
	return time.Duration(lo * float64(time.Second))
}

func (c *content) Measure(t *testing.T) outcome {
	best := c.bestFixed()
	others := []regime{
		{name: "changes counted over time", learner: func() ttlLearner { return &counting{c.target, make(map[uint64]*counted)} }},
		{name: "a tenth of the age (Last-Modified)", heuristic: true},
		{name: "half as long again, or half", learner: func() ttlLearner { return &stepping{make(map[uint64]*counted)} }},
	}
	var fixed, shares, stales []float64
	worst := 0
	note := make(map[string][]float64)
	n := uint64(*seeds)
	if *quick {
		n, others = 1, nil
	}
	for seed := range n {
		f := c.play(t, regime{fixed: best}, seed)
		ours := c.play(t, regime{tuner: true}, seed)
		fixed = append(fixed, float64(f.calls)/(c.length-c.warmup).Seconds())
		shares = append(shares, float64(f.calls)/float64(ours.calls))
		stales = append(stales, ours.share())
		worst += standingWorse(ours.decisions)
		for _, g := range others {
			r := c.play(t, g, seed)
			note[g.name] = append(note[g.name], float64(f.calls)/float64(r.calls), r.share())
		}
		if *told {
			for _, d := range ours.decisions {
				t.Logf("%s %s %.4g -> %.4g: %s; %s; %s %s", d.Time.Format("15:04:05"), d.Rule, d.From, d.To, d.Reason, d.Expected, d.Verdict, d.Measured)
			}
		}
	}
	o := outcome{Best: fmt.Sprintf("%.2f calls/s (TTL %s)", median(fixed), best.Round(10*time.Millisecond))}
	stale := median(stales)
	o.Penstock = figure{Share: median(shares), Least: least(shares), Extra: fmt.Sprintf("%.2f %% stale", 100*stale)}
	o.Note = "Share of upstream calls: over 100 % are fewer than with the best single TTL."
	for _, g := range others {
		r := note[g.name]
		var calls, bad []float64
		for i := 0; i < len(r); i += 2 {
			calls, bad = append(calls, r[i]), append(bad, r[i+1])
		}
		o.Note += fmt.Sprintf(" %s: %.0f %% with %.2f %% stale.", g.name, 100*median(calls), 100*median(bad))
	}
	o.mark(markStale, stale <= c.target && o.Penstock.Share >= 1/1.1, "%.2f %% stale with %.2f of the calls", 100*stale, 1/o.Penstock.Share)
	o.mark(markVerdict, worst == 0, "%d stand", worst)
	return o
}

func least(v []float64) float64 {
	m := v[0]
	for _, x := range v {
		m = min(m, x)
	}
	return m
}

// Short checks one seed of a shorter run against what no single TTL can do.
func (c *content) Short(t *testing.T) {
	if c.id != "l1" {
		return
	}
	s := *c
	s.warmup, s.length = 10*time.Minute, 25*time.Minute
	fixed := s.play(t, regime{fixed: s.bestFixed()}, 1)
	ours := s.play(t, regime{tuner: true}, 1)
	t.Logf("%.2f %% stale, %.2f of the calls", 100*ours.share(), float64(ours.calls)/float64(fixed.calls))
	if ours.share() > 1.3*s.target || ours.calls > fixed.calls {
		t.Errorf("%.2f %% stale with %d calls, the best single TTL makes %d", 100*ours.share(), ours.calls, fixed.calls)
	}
}

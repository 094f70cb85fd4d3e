package regret

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/bench/regret/peers"
	"penstock/knob"
	"penstock/observe"
	"penstock/request"
	"penstock/scheduler"
	"penstock/tuner"
)

// policy turns the knobs of one run.
type policy struct {
	name    string
	workers float64 // to begin with
	pace    float64
	limiter peers.Limiter // nil: none
	tuner   bool
}

// result is what a run came to, after the warm-up.
type result struct {
	policy  policy
	good    int
	bad     int // refused, failed or timed out upstream calls
	refused int // of them by 429
	seconds float64
	// urgent requests, and those of them that were answered within a second.
	urgent, prompt int
	// tenths are good answers in each tenth of a second, from the start.
	tenths []int
	// workers in each tenth of a second.
	workers   []int
	decisions []tuner.Decision
}

func (r *result) goodput() float64 { return float64(r.good) / r.seconds }

// refusals per 100 good answers.
func (r *result) refusals() float64 { return 100 * float64(r.refused) / float64(max(r.good, 1)) }

// harness is one run.
type harness struct {
	sc      *workload
	s       *scheduler.Scheduler
	born    time.Time
	routes  map[string]*request.Route
	mu      sync.Mutex
	res     *result
	started int // callers
}

// run plays a scenario under a policy.
func run(t *testing.T, sc *workload, p policy, seed uint64) *result {
	res := &result{policy: p, seconds: (sc.length - sc.warmup).Seconds(), tenths: make([]int, int(sc.length/(tenth))+1)}
	synctest.Test(t, func(t *testing.T) {
		h := &harness{sc: sc, born: time.Now(), res: res, routes: make(map[string]*request.Route)}
		h.play(p, seed)
	})
	return res
}

func (h *harness) play(p policy, seed uint64) {
	knobs := knob.NewRegistry()
	defer knobs.Close()
	workers, _ := knobs.Int(knob.Spec{Name: "workers.m", Default: p.workers, Min: 1, Max: peers.Max})
	pace, _ := knobs.Float(knob.Spec{Name: "rate.m", Default: p.pace, Max: 1e6})
	u := &upstream{w: h.sc.world, born: h.born, timeout: h.sc.timeout, random: rand.New(rand.NewPCG(seed, 0)), quota: newMeter(h.sc.world.quota, seed)}
	if p.limiter != nil {
		l := p.limiter
		u.onStart = l.Started
		u.onEnd = func(token any, c observe.Call) {
			throttled := c.Outcome == observe.OutcomeRefused
			l.Ended(token, peers.Sample{
				Now: time.Now(), RTT: c.Duration, InFlight: c.InFlight, Throttled: throttled,
				Dropped: throttled || c.Outcome != observe.OutcomeOK,
			})
			_ = workers.SetBase(float64(max(1, min(l.Limit(), peers.Max))), knob.SourceFile)
			_ = pace.SetBase(l.Rate(), knob.SourceFile)
		}
	}
	var loop *tuner.Loop
	if p.tuner {
		obey := func(a tuner.Allowance) { allow(h.s, a) }
		window := observe.NewWindow(observe.WindowOptions{})
		loop = tuner.New(tuner.Options{
			Mode: tuner.ModeActive, Knobs: knobs, Signals: window,
			Targets: []tuner.Target{{Upstream: "m", Workers: "workers.m", Search: true, Rate: "rate.m", Allow: &obey}},
		})
		loop.Start()
		defer loop.Stop()
		u.onCall = func(c observe.Call) { window.OnCall(c); loop.OnCall(c) }
	}
	end := u.onCall
	u.onCall = func(c observe.Call) {
		h.count(c)
		if end != nil {
			end(c)
		}
	}
	h.s = scheduler.New(scheduler.Options{Workers: workers, PaceRate: pace, QueueLength: 1 << 20, Priorities: h.sc.ranked}, u)
	knobs.Subscribe(func(knob.Change) {
		if p.limiter == nil { // a limiter is asked under the upstream's lock
			h.s.Kick()
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	h.drive(ctx, &wg, seed, func() { h.res.workers = append(h.res.workers, workers.Get()) })
	stop()
	h.s.Close()
	wg.Wait()
	if loop != nil {
		h.res.decisions = loop.Decisions(tuner.Filter{})
	}
	time.Sleep(10 * time.Minute) // what the upstream still works on
}

// drive lets callers and arrivals come until the end.
func (h *harness) drive(ctx context.Context, wg *sync.WaitGroup, seed uint64, each func()) {
	if h.sc.arrivals != nil {
		wg.Go(func() { h.arrive(ctx, wg, rand.New(rand.NewPCG(seed, 1))) })
	}
	for at := time.Duration(0); at < h.sc.length; at += tenth {
		if h.sc.callers != nil && at%time.Second == 0 {
			for n := h.sc.callers(at); h.started < n; h.started++ {
				i := h.started
				wg.Go(func() { h.call(ctx, i, rand.New(rand.NewPCG(seed, uint64(2+i)))) })
			}
		}
		time.Sleep(tenth)
		each()
	}
}

// call is one caller: the next request follows the answer.
func (h *harness) call(ctx context.Context, i int, random *rand.Rand) {
	for ctx.Err() == nil {
		if i >= h.sc.callers(time.Since(h.born)) { // away for now
			time.Sleep(tenth)
			continue
		}
		if !h.one(ctx, random, request.LeastUrgent) {
			time.Sleep(time.Duration((.5 + random.Float64()) * float64(10*time.Millisecond)))
		}
	}
}

// arrive makes requests at random moments.
func (h *harness) arrive(ctx context.Context, wg *sync.WaitGroup, random *rand.Rand) {
	for ctx.Err() == nil {
		rate := h.sc.arrivals(time.Since(h.born))
		if rate <= 0 {
			time.Sleep(tenth)
			continue
		}
		time.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		seed := random.Uint64()
		wg.Go(func() { h.one(ctx, rand.New(rand.NewPCG(seed, 0)), 0) })
	}
}

// one makes a request, at an urgency if they are ranked.
func (h *harness) one(ctx context.Context, random *rand.Rand, u request.Urgency) bool {
	r := &request.Request{Route: h.route(random.Float64()), Method: http.MethodGet, Path: "/"}
	if !h.sc.ranked {
		u = request.DefaultUrgency
	}
	r.SetUrgency(u)
	began := time.Now()
	resp, err := h.s.Do(ctx, r)
	ok := err == nil && resp.Status == http.StatusOK
	if h.sc.ranked && u == 0 {
		h.urgent(began, ok)
	}
	return ok
}

// urgent counts an urgent request, after the warm-up, and whether it was answered within a second.
func (h *harness) urgent(began time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := began.Sub(h.born); at < h.sc.warmup || at > h.sc.length-sec {
		return
	}
	h.res.urgent++
	if ok && time.Since(began) <= time.Second {
		h.res.prompt++
	}
}

func (h *harness) route(x float64) *request.Route {
	name := "r"
	for _, n := range []string{"fast", "slow"} {
		if share := h.sc.routes[n]; x >= 0 && share > 0 {
			name = n
			x -= share
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.routes[name]
	if !ok {
		r = &request.Route{Name: name, Upstream: "m"}
		h.routes[name] = r
	}
	return r
}

func (h *harness) count(c observe.Call) {
	at := time.Since(h.born)
	h.mu.Lock()
	defer h.mu.Unlock()
	if at >= h.sc.length {
		return
	}
	if c.Outcome == observe.OutcomeOK {
		h.res.tenths[int(at/(tenth))]++
	}
	if at < h.sc.warmup {
		return
	}
	switch c.Outcome {
	case observe.OutcomeOK:
		h.res.good++
	case observe.OutcomeRefused:
		h.res.refused++
		h.res.bad++
	default:
		h.res.bad++
	}
}

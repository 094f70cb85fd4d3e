package regret

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/batcher"
	"penstock/knob"
	"penstock/observe"
	"penstock/request"
	"penstock/scheduler"
	"penstock/tuner"
)

// batchRow is scenario k: calls with n requests take a + b*n, and the load rises step by step. Scheduler, batcher and tuner
// are the real ones, the number of workers is fixed. The score is the mean time to an answer.
type batchRow struct {
	call, item time.Duration // a and b
	workers    int
	loads      []float64 // requests per second, one step after the other
	step       time.Duration
}

func init() {
	register(&batchRow{call: 100 * time.Millisecond, item: 10 * time.Millisecond, workers: 4, loads: []float64{10, 40, 120, 240, 320}, step: 40 * time.Second})
}

func (*batchRow) Name() (id, title string) {
	return "k", "batches: calls of 100 ms + 10 ms a request, 4 workers, 10 to 320 requests/s"
}

// batchSetting is a fixed setting; target 0: ours, from the defaults of the configuration.
type batchSetting struct {
	target int
	linger time.Duration
}

func (s batchSetting) String() string {
	return fmt.Sprintf("batches of %d, linger %v", s.target, s.linger)
}

// batchResult is what one run came to.
type batchResult struct {
	seconds   float64 // mean time to an answer
	calls     int
	requests  int
	decisions []tuner.Decision
}

// batchUpstream answers GET /items/x and GET /items?ids=x,y after a + b*n.
type batchUpstream struct {
	row    *batchRow
	onCall func(observe.Call)

	mu       sync.Mutex // guards what follows
	inFlight int
	calls    int
}

func (u *batchUpstream) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	ids := []string{r.Path[strings.LastIndexByte(r.Path, '/')+1:]}
	body := `{"id":"` + ids[0] + `"}`
	if list, ok := strings.CutPrefix(r.RawQuery, "ids="); ok {
		ids = strings.Split(list, ",")
		body = `[{"id":"` + strings.Join(ids, `"},{"id":"`) + `"}]`
	}
	u.mu.Lock()
	u.calls++
	u.inFlight++
	c := observe.Call{Upstream: "m", Route: "items", Start: time.Now(), InFlight: u.inFlight, Items: len(ids), Outcome: observe.OutcomeOK}
	u.mu.Unlock()
	time.Sleep(u.row.call + time.Duration(len(ids))*u.row.item)
	u.mu.Lock()
	u.inFlight--
	u.mu.Unlock()
	c.Duration = time.Since(c.Start)
	if u.onCall != nil {
		u.onCall(c)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return &request.Response{Status: 200, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}, nil
}

// run plays the row once.
func (r *batchRow) run(t *testing.T, seed uint64, fixed batchSetting) (out batchResult) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		knobs := knob.NewRegistry()
		defer knobs.Close()
		target, err := knobs.Int(knob.Spec{Name: "batch.target.m", Default: 50, Min: 1, Max: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		linger, err := knobs.Duration(knob.Spec{Name: "batch.linger.m", Default: .005, Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		u := &batchUpstream{row: r}
		meter := tuner.NewFlowMeter()
		var loop *tuner.Loop
		if fixed.target > 0 {
			_ = target.SetBase(float64(fixed.target), knob.SourceFile)
			_ = linger.SetBase(fixed.linger.Seconds(), knob.SourceFile)
		} else {
			loop = r.tuner(knobs, meter)
			u.onCall = func(c observe.Call) { meter.OnCall(c, time.Now()) }
			loop.Start()
		}
		b := batcher.New(batcher.Options{Enabled: true, MaxItems: 100, Rules: map[string]batcher.Rule{"items": {
			Form: batcher.FormQuery, Param: "id", Path: "/items", MaxItems: 100, MaxBytes: 1 << 20,
		}}}, u)
		s := scheduler.New(scheduler.Options{
			Upstream: "m", Workers: knob.FixedInt(r.workers), BatchTarget: target, BatchLinger: linger, QueueLength: 1 << 20,
			OnWait: func(_ request.Urgency, wait time.Duration) { meter.OnWait(wait, time.Now()) },
		}, b)
		knobs.Subscribe(func(knob.Change) { s.Kick() })
		out.seconds, out.requests = r.drive(t, s, seed)
		s.Close()
		out.calls = u.calls
		if loop != nil {
			loop.Stop()
			out.decisions = loop.Decisions(tuner.Filter{})
		}
	})
	return out
}

func (r *batchRow) tuner(knobs *knob.Registry, meter *tuner.FlowMeter) *tuner.Loop {
	measure := func(from, to time.Time) tuner.Flow { return meter.Between(from, to, float64(r.workers), 0) }
	return tuner.New(tuner.Options{
		Mode: tuner.ModeActive, Knobs: knobs, Signals: observe.NewWindow(observe.WindowOptions{}),
		Plugs: []tuner.Plug{
			{Knob: "batch.target.m", Kind: "batch", Upstream: "m", Couple: "m", Safer: 1, Slow: tuner.BatchRule(measure).Slow()},
			{Knob: "batch.linger.m", Kind: "linger", Upstream: "m", Couple: "m", Safer: 1, Slow: tuner.LingerRule(measure).Slow()},
		},
	})
}

// drive has requests arrive at random, step by step, and waits for the last answer.
func (r *batchRow) drive(t *testing.T, s *scheduler.Scheduler, seed uint64) (mean float64, n int) {
	route := &request.Route{Name: "items", Upstream: "m", Path: "/items/{id}"}
	if err := route.Compile(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 11))
	var wg sync.WaitGroup
	var mu sync.Mutex
	sum := 0.0
	for _, load := range r.loads {
		for end := time.Now().Add(r.step); time.Now().Before(end); n++ {
			time.Sleep(time.Duration(random.ExpFloat64() / load * float64(time.Second)))
			id := strconv.Itoa(n)
			wg.Go(func() {
				start := time.Now()
				req, err := route.Build(map[string]any{"id": id})
				if err == nil {
					var resp *request.Response
					if resp, err = s.Do(context.Background(), req); err == nil {
						err = resp.Body.Close()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if sum += time.Since(start).Seconds(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	return sum / float64(n), n
}

// Measure compares ours with a grid of fixed settings.
func (r *batchRow) Measure(t *testing.T) (out outcome) {
	n := uint64(*seeds)
	if *quick {
		n = 1
	}
	var shares []float64
	var last batchResult
	for seed := uint64(1); seed <= n; seed++ {
		best, setting := batchResult{}, batchSetting{}
		for _, target := range []int{4, 8, 16, 32, 50, 100} {
			for _, linger := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
				if got := r.run(t, seed, batchSetting{target, linger}); best.requests == 0 || got.seconds < best.seconds {
					best, setting = got, batchSetting{target, linger}
				}
			}
		}
		last = r.run(t, seed, batchSetting{})
		shares = append(shares, best.seconds/last.seconds)
		out.Best = fmt.Sprintf("%.0f ms to an answer (%s)", 1e3*best.seconds, setting)
		out.Note = fmt.Sprintf("Ours takes %.0f ms to an answer and %.1f requests a call; the best fixed setting %.0f ms and %.1f.",
			1e3*last.seconds, float64(last.requests)/float64(last.calls), 1e3*best.seconds, float64(best.requests)/float64(best.calls))
	}
	out.Penstock = figure{Share: median(shares), Least: slices.Min(shares)}
	out.mark(markStill, out.Penstock.Share >= .97, "%.1f", 100*out.Penstock.Share)
	out.mark(markVerdict, standingWorse(last.decisions) == 0, "%d", standingWorse(last.decisions))
	for _, d := range last.decisions {
		t.Logf("%s %s %v -> %v: %s; %s %s", d.Time.Format("04:05"), d.Knob, d.From, d.To, d.Reason, d.Verdict, d.Measured)
	}
	return out
}

// Short plays the row once without the grid.
func (r *batchRow) Short(t *testing.T) {
	short := *r
	short.loads, short.step = []float64{40, 240}, 20*time.Second
	ours, fixed := short.run(t, 1, batchSetting{}), short.run(t, 1, batchSetting{50, 5 * time.Millisecond})
	if standingWorse(ours.decisions) > 0 || ours.seconds > 1.1*fixed.seconds {
		t.Errorf("%.0f ms to an answer, %.0f ms with the defaults; %+v", 1e3*ours.seconds, 1e3*fixed.seconds, ours.decisions)
	}
}

package scheduler

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/request"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with testdata/name.
func golden(t *testing.T, name, text string) {
	t.Helper()
	t.Log("\n" + text)
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("differs from %s (go test -update writes it anew):\n%s", path, want)
	}
}

// source is one tenant's open-loop load at one urgency: Poisson arrivals.
type source struct {
	tenant   string
	urgency  request.Urgency
	rate     float64 // per second
	deadline time.Duration
}

// sim is one run of a load against a Doer, in virtual time. Each request has its own service time,
// drawn beforehand, so that two runs of one seed see the same arrivals and the same services.
type sim struct {
	permits int
	service time.Duration // mean; uniform within a fifth around it
	length  time.Duration
	warmup  time.Duration // what ends before it, or after length, is not counted
	seed    uint64
	sources []source
}

// result is what one source got.
type result struct {
	source
	sent, good int
	served     time.Duration   // service time of the good
	latency    []time.Duration // of the good
}

func (r *result) p99() time.Duration {
	slices.Sort(r.latency)
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[len(r.latency)*99/100]
}

type outcome struct {
	results []result
	// idle is the share of permit time that was unused while something waited.
	idle float64
}

// simulated is the service time of a request, carried in its params.
func simulated(ctx context.Context, r *request.Request) (*request.Response, error) {
	return slow(r.Params["service"].(time.Duration))(ctx, r)
}

// run runs the load against do. waiting, if not nil, gives how many requests wait and how many
// permits are free; it is asked every millisecond for the share of idle permits.
func (m sim) run(do request.Doer, waiting func() (queued, free int)) outcome {
	rng := rand.New(rand.NewPCG(m.seed, 7))
	o := outcome{results: make([]result, len(m.sources))}
	due := make([]time.Duration, len(m.sources))
	gap := func(i int) time.Duration {
		return time.Duration(rng.ExpFloat64() / m.sources[i].rate * float64(time.Second))
	}
	for i, src := range m.sources {
		o.results[i].source = src
		due[i] = gap(i)
	}
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	stop := make(chan struct{})
	if waiting != nil {
		wg.Go(func() { o.idle = m.watch(waiting, stop) })
	}
	for {
		next := 0
		for i := range due {
			if due[i] < due[next] {
				next = i
			}
		}
		at := due[next]
		if at > m.length {
			break
		}
		due[next] += gap(next)
		service := time.Duration((0.8 + 0.4*rng.Float64()) * float64(m.service))
		<-time.After(time.Until(start.Add(at)))
		res := &o.results[next]
		wg.Go(func() {
			ok, latency := send(do, res.source, service)
			if end := time.Since(start); end < m.warmup || end > m.length {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			res.sent++
			if ok {
				res.good++
				res.served += service
				res.latency = append(res.latency, latency)
			}
		})
	}
	close(stop)
	wg.Wait()
	return o
}

func send(do request.Doer, src source, service time.Duration) (bool, time.Duration) {
	ctx, begin := context.Background(), time.Now()
	r := ask(src.tenant, src.urgency)
	r.Params = map[string]any{"service": service}
	if src.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, src.deadline)
		defer cancel()
		r.Deadline = begin.Add(src.deadline)
	}
	resp, err := do.Do(ctx, r)
	if err != nil {
		return false, 0
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return true, time.Since(begin)
}

func (m sim) watch(waiting func() (int, int), stop chan struct{}) float64 {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	idle, looks := 0, 0
	for {
		select {
		case <-stop:
			return float64(idle) / float64(max(1, looks*m.permits))
		case <-tick.C:
			queued, free := waiting()
			looks++
			idle += min(queued, max(0, free))
		}
	}
}

func (m sim) scheduler(o Options) *Scheduler {
	o.Upstream, o.Priorities = "sim", true
	return New(o, &fake{do: simulated})
}

func queueOf(s *Scheduler) func() (int, int) {
	return func() (int, int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queued(), s.opts.Workers.Get() - s.inFlight
	}
}

// capacity is how many requests all permits can serve in the counted time.
func (m sim) capacity() float64 {
	return float64(m.permits) * (m.length - m.warmup).Seconds() / m.service.Seconds()
}

// fifo is what most proxies have: so many permits, and a bounded queue served in order of arrival.
type fifo struct {
	next    request.Doer
	permits chan struct{} // Go serves those that wait for a channel in their order
	queued  chan struct{}
	calls   sync.WaitGroup
}

func newFIFO(next request.Doer, permits, length int) *fifo {
	return &fifo{next: next, permits: make(chan struct{}, permits), queued: make(chan struct{}, permits+length)}
}

var errFull = errors.New("full")

func (f *fifo) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	select {
	case f.queued <- struct{}{}:
	default:
		return nil, errFull
	}
	defer func() { <-f.queued }()
	select {
	case f.permits <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// The upstream works on for a client that has gone, so the permit is taken for the whole time.
	done := make(chan struct{})
	f.calls.Go(func() {
		_, _ = f.next.Do(context.WithoutCancel(ctx), r)
		<-f.permits
		close(done)
	})
	select {
	case <-done:
		return answer("ok"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func percent(part, whole float64) float64 { return 100 * part / math.Max(whole, 1e-9) }

func table(rows ...[]string) string {
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&b, "%-34s", cell)
			} else {
				fmt.Fprintf(&b, "%12s", cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

package batching

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
	"time"

	"go.uber.org/goleak"

	"penstock/batcher"
	"penstock/knob"
	"penstock/request"
	"penstock/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	permits  = 8
	callCost = 40 * time.Millisecond
	itemCost = time.Millisecond
)

// cost is how long the upstream takes for a call of n items.
func cost(n int) time.Duration { return callCost + time.Duration(n)*itemCost }

// upstream answers GET /items/x and GET /items?ids=x,y, and counts.
type upstream struct {
	mu           sync.Mutex // guards what follows
	calls, items int
}

func (u *upstream) take(ctx context.Context, n int) error {
	u.mu.Lock()
	u.calls++
	u.items += n
	u.mu.Unlock()
	select {
	case <-time.After(cost(n)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (u *upstream) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	ids := []string{r.Path[strings.LastIndexByte(r.Path, '/')+1:]}
	body := `{"id":"` + ids[0] + `"}`
	if list, ok := strings.CutPrefix(r.RawQuery, "ids="); ok {
		ids = strings.Split(list, ",")
		body = `[{"id":"` + strings.Join(ids, `"},{"id":"`) + `"}]`
	}
	if err := u.take(ctx, len(ids)); err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return &request.Response{Status: 200, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}, nil
}

func route(name string) *request.Route {
	r := &request.Route{Name: name, Upstream: "u", Path: "/" + name + "/{id}"}
	if err := r.Compile(); err != nil {
		panic(err)
	}
	return r
}

var (
	items = route("items") // travels in batches
	lone  = route("lone")  // does not
)

// penstock is the scheduler and the batcher with the defaults of the configuration: batches of at
// most most, and the given linger. most 1 is a Penstock without batching.
func penstock(u *upstream, most int, linger time.Duration) *scheduler.Scheduler {
	b := batcher.New(batcher.Options{
		Enabled: most > 1, MaxItems: most,
		Rules: map[string]batcher.Rule{"items": {
			Form: batcher.FormQuery, Param: "id", Path: "/items", MaxItems: most, MaxBytes: 1 << 20,
		}},
	}, u)
	return scheduler.New(scheduler.Options{
		Upstream: "u", Workers: knob.FixedInt(permits), Priorities: true,
		BatchTarget: knob.FixedInt(most), BatchLinger: knob.FixedDuration(linger),
	}, b)
}

// static is a batcher as others have it: first in, first out, and each free permit takes what
// waits, at most size. It waits up to hold for a full batch.
type static struct {
	u    *upstream
	size int
	hold time.Duration

	mu    sync.Mutex // guards what follows
	queue []waiter
	busy  int
	timed bool // start will be called when the oldest has waited long enough
}

type waiter struct {
	since time.Time
	done  chan struct{}
}

func (s *static) Do(context.Context, *request.Request) (*request.Response, error) {
	w := waiter{time.Now(), make(chan struct{})}
	s.mu.Lock()
	if len(s.queue) >= scheduler.DefaultQueueLength {
		s.mu.Unlock()
		return nil, &request.Error{Problem: request.ProblemReducedCapacity, Detail: "the queue is full"}
	}
	s.queue = append(s.queue, w)
	s.start()
	s.mu.Unlock()
	<-w.done
	return &request.Response{Status: 200, Body: request.NewBody(nil)}, nil
}

// start uses the free permits. The caller holds mu.
func (s *static) start() {
	for s.busy < permits && len(s.queue) > 0 {
		if wait := s.hold - time.Since(s.queue[0].since); len(s.queue) < s.size && wait > 0 {
			if !s.timed {
				s.timed = true
				time.AfterFunc(wait, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.timed = false
					s.start()
				})
			}
			return
		}
		n := min(s.size, len(s.queue))
		batch := s.queue[:n:n]
		s.queue = s.queue[n:]
		s.busy++
		go func() {
			_ = s.u.take(context.Background(), n) // its context never ends
			for _, w := range batch {
				close(w.done)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.busy--
			s.start()
		}()
	}
}

// load is what comes: clients who ask again as soon as they have an answer, or arrivals at random
// at a rate per second.
type load struct {
	clients int
	rate    float64
	// loneShare is the share of requests that can't travel in batches.
	loneShare float64
	// warm is how long the run goes before what ends is counted, length all of it.
	warm, length time.Duration
}

func (l load) String() string {
	s := fmt.Sprintf("%d clients, always asking", l.clients)
	if l.clients == 0 {
		s = fmt.Sprintf("%g requests/s at random", l.rate)
	}
	if l.loneShare > 0 {
		s += fmt.Sprintf(", %g %% of them alone", l.loneShare*100)
	}
	return s
}

// figures are what a run came to.
type figures struct {
	perSecond     float64 // answers
	batch         float64 // items of a call, on average
	p50, p99      time.Duration
	loneP50       time.Duration
	lonePerSecond float64
	refused       int
}

// tally notes the answers of a run.
type tally struct {
	load  load
	start time.Time

	mu      sync.Mutex // guards what follows
	all     []time.Duration
	alone   []time.Duration
	refused int
}

func (t *tally) ask(do request.Doer, id int, alone bool) {
	route, begin := items, time.Now()
	if alone {
		route = lone
	}
	r, err := route.Build(map[string]any{"id": strconv.Itoa(id)})
	if err != nil {
		panic(err)
	}
	r.Tenant = "tenant-" + strconv.Itoa(id%10)
	resp, err := do.Do(context.Background(), r)
	if err == nil {
		err = resp.Body.Close()
	}
	end := time.Since(t.start)
	if end < t.load.warm || end > t.load.length {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.refused++
		return
	}
	t.all = append(t.all, time.Since(begin))
	if alone {
		t.alone = append(t.alone, time.Since(begin))
	}
}

// run has the load ask do, in the bubble of the caller.
func (l load) run(u *upstream, do request.Doer) figures {
	t := &tally{load: l, start: time.Now()}
	rng := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	ids := 0
	for c := range l.clients {
		all.Go(func() {
			own := rand.New(rand.NewPCG(uint64(c), 3))
			for n := c; time.Since(t.start) < l.length; n += l.clients {
				t.ask(do, n, own.Float64() < l.loneShare)
			}
		})
	}
	for at := time.Duration(0); l.clients == 0 && at < l.length; {
		at += time.Duration(rng.ExpFloat64() / l.rate * float64(time.Second))
		<-time.After(time.Until(t.start.Add(at)))
		ids++
		id, alone := ids, rng.Float64() < l.loneShare
		all.Go(func() { t.ask(do, id, alone) })
	}
	all.Wait()
	span := (l.length - l.warm).Seconds()
	return figures{
		perSecond: float64(len(t.all)) / span, lonePerSecond: float64(len(t.alone)) / span,
		batch: float64(u.items) / float64(u.calls), refused: t.refused,
		p50: quantile(t.all, 0.5), p99: quantile(t.all, 0.99), loneP50: quantile(t.alone, 0.5),
	}
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}

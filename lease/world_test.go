package lease

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"penstock/engine"
	"penstock/knob"
	"penstock/request"
	"penstock/scheduler"
)

// world is some nodes that share an upstream's quota by one engine. It runs in a bubble of synctest.
type world struct {
	t      *testing.T
	memory *engine.Memory
	start  time.Time
	rate   scheduler.Rate
	o      Options
	seed   uint64

	nodes []*node

	mu    sync.Mutex // guards what follows
	calls []sent
}

// sent is a call that reached the upstream.
type sent struct {
	at   time.Duration // since the start
	node int
}

// node is one of them: a scheduler, its keeper, and those who ask it.
type node struct {
	w      *world
	id     int
	line   *line
	s      *scheduler.Scheduler
	k      *Keeper
	random *rand.Rand
	stop   context.CancelFunc
	asking sync.WaitGroup
	paused chan struct{} // closed: it runs
	mu     sync.Mutex    // guards paused and rate
	rate   float64
}

func newWorld(t *testing.T, seed uint64, rate scheduler.Rate, o Options, nodes int) *world {
	w := &world{t: t, seed: seed, memory: engine.NewMemory(), start: time.Now(), rate: rate, o: o}
	for range nodes {
		w.join()
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.kill()
			n.s.Close()
		}
	})
	return w
}

// join adds a node that nobody asks yet.
func (w *world) join() *node {
	n := &node{w: w, id: len(w.nodes), random: rand.New(rand.NewPCG(w.seed, uint64(len(w.nodes)))), paused: make(chan struct{})}
	close(n.paused)
	n.line = &line{Engine: w.memory, delay: 3 * time.Millisecond, random: rand.New(rand.NewPCG(w.seed, uint64(100+n.id)))}
	n.s = scheduler.New(scheduler.Options{
		Upstream: "u", Workers: knob.FixedInt(60), Rates: []scheduler.Rate{w.rate}, QueueLength: 500,
	}, upstream{n})
	o := w.o
	o.Engine, o.Node = n.line, fmt.Sprint("node", n.id)
	k, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	k.Set([]Quota{quotaOf(n.s)})
	n.k = k
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.asking.Go(func() { n.ask(ctx) })
	w.nodes = append(w.nodes, n)
	return n
}

// quotaOf shares a scheduler's rates.
func quotaOf(s *scheduler.Scheduler) Quota {
	return Quota{
		Name:   "u",
		Demand: func() Demand { return Demand(s.Demand()) },
		Bursts: s.Bursts,
		Apply: func(parts []Part, add map[time.Duration]float64) map[time.Duration]float64 {
			sh := scheduler.Share{Add: add}
			for _, p := range parts {
				sh.Steps = append(sh.Steps, scheduler.ShareStep(p))
			}
			return s.SetShare(sh)
		},
	}
}

// demand sets how many requests a second come to each node.
func (w *world) demand(perSecond ...float64) {
	for i, r := range perSecond {
		w.nodes[i].mu.Lock()
		w.nodes[i].rate = r
		w.nodes[i].mu.Unlock()
	}
}

func (n *node) state() (float64, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rate, n.paused
}

// ask sends requests by chance at the node's rate; each has a second.
func (n *node) ask(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	route := &request.Route{Name: "r", Upstream: "u"}
	for ctx.Err() == nil {
		rate, paused := n.state()
		gap := 5 * time.Millisecond
		if rate > 0 {
			gap = min(time.Duration(n.random.ExpFloat64()/rate*float64(time.Second)), time.Second)
		}
		select {
		case <-time.After(gap):
		case <-ctx.Done():
			return
		}
		<-paused
		if rate == 0 {
			continue
		}
		all.Go(func() {
			r := &request.Request{Route: route, Method: "GET", Deadline: time.Now().Add(time.Second)}
			if resp, err := n.s.Do(ctx, r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}

// pause keeps a node from sending anything new, or lets it go on.
func (n *node) pause(stop bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if stop {
		n.paused = make(chan struct{})
	} else {
		close(n.paused)
	}
}

// share is the part of the quota that a node's scheduler keeps to.
func (n *node) share() float64 { return n.s.Stats().Rates[0].Share }

// kill ends a node without a word to the others.
func (n *node) kill() {
	n.line.cut(true)
	n.stop()
	n.asking.Wait()
	n.k.Close(context.Background())
}

// upstream counts the calls of a node.
type upstream struct{ n *node }

func (u upstream) Plan(*request.Request) request.BatchPlan { return request.BatchPlan{Max: 1} }

func (u upstream) DoBatch(context.Context, []*request.Request) []request.Result { return nil }

func (u upstream) Do(context.Context, *request.Request) (*request.Response, error) {
	w := u.n.w
	w.mu.Lock()
	w.calls = append(w.calls, sent{time.Since(w.start), u.n.id})
	w.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	return &request.Response{Status: 200, Body: request.NewBody(nil)}, nil
}

// used is how many calls there were from a moment to another.
func (w *world) used(from, to time.Duration) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	find := func(at time.Duration) int {
		i, _ := slices.BinarySearchFunc(w.calls, at, func(s sent, at time.Duration) int { return int(s.at - at) })
		return i
	}
	return find(to) - find(from)
}

// windows are the fewest and the most calls in any window of a length between two moments.
func (w *world) windows(from, to, length time.Duration) (fewest, most int) {
	fewest = 1 << 30
	for at := from; at+length <= to; at += 50 * time.Millisecond {
		n := w.used(at, at+length)
		fewest, most = min(fewest, n), max(most, n)
	}
	return fewest, most
}

// line is a node's way to the engine: slow, and sometimes cut.
type line struct {
	engine.Engine
	delay time.Duration

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	broken bool
	kvs    []*lineKV
}

// cut breaks the line, or mends it. What is on its way when it breaks may have arrived.
func (l *line) cut(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
	for _, kv := range l.kvs {
		if broken {
			kv.stop()
		}
	}
}

// pass takes as long as a message does.
func (l *line) pass(ctx context.Context) error {
	for {
		l.mu.Lock()
		d, broken := l.delay/2+time.Duration(l.random.Int64N(int64(l.delay))), l.broken
		l.mu.Unlock()
		if !broken {
			time.Sleep(d)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the line is cut", engine.ErrUnavailable)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *line) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	if err := l.pass(ctx); err != nil {
		return nil, err
	}
	kv, err := l.Engine.KV(ctx, o)
	return &lineKV{KV: kv, l: l}, err
}

type lineKV struct {
	engine.KV
	l    *line
	stop context.CancelFunc
}

func (k *lineKV) Get(ctx context.Context, key string) (engine.Entry, error) {
	if err := k.l.pass(ctx); err != nil {
		return engine.Entry{}, err
	}
	return k.KV.Get(ctx, key)
}

func (k *lineKV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, func() (uint64, error) { return k.KV.Create(ctx, key, value) })
}

func (k *lineKV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.write(ctx, func() (uint64, error) { return k.KV.Update(ctx, key, value, revision) })
}

func (k *lineKV) write(ctx context.Context, f func() (uint64, error)) (uint64, error) {
	if err := k.l.pass(ctx); err != nil {
		return 0, err
	}
	revision, err := f()
	if lost := k.l.pass(ctx); lost != nil {
		return 0, lost // it was written all the same
	}
	return revision, err
}

func (k *lineKV) Watch(ctx context.Context) (<-chan engine.Entry, error) {
	if err := k.l.pass(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	in, err := k.KV.Watch(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	k.l.mu.Lock()
	k.stop = cancel
	k.l.kvs = append(k.l.kvs, k)
	k.l.mu.Unlock()
	out := make(chan engine.Entry)
	go func() {
		defer close(out)
		defer cancel()
		for e := range in {
			if k.l.pass(ctx) != nil {
				return
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

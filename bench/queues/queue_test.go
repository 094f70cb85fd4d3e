package queues

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"penstock/knob"
	"penstock/request"
	"penstock/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a queue with one permit.
type peer struct {
	name string
	// open makes the queue for clients of so many tenants. pass waits for the permit, calls
	// inside, and gives the permit back; client is the number of who asks. waiting is how many wait.
	open func(clients, tenants int) (pass func(client int, inside func()), waiting func() int, done func())
}

var peers = []peer{{"penstock", openPenstock}, {"channel", openChannel}}

// instant is an upstream that answers at once.
type instant struct{}

func (instant) Plan(*request.Request) request.BatchPlan { return request.BatchPlan{Max: 1} }

func (instant) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	r.Params["inside"].(func())()
	return &request.Response{Status: 200, Body: request.NewBody(nil)}, nil
}

func (instant) DoBatch(context.Context, []*request.Request) []request.Result { return nil }

func openPenstock(clients, tenants int) (func(int, func()), func() int, func()) {
	s := scheduler.New(scheduler.Options{
		Upstream: "u", Workers: knob.FixedInt(1), QueueLength: 4 * clients, Priorities: true,
	}, instant{})
	route := &request.Route{Name: "r", Upstream: "u"}
	pass := func(client int, inside func()) {
		r := &request.Request{
			Route: route, Method: "GET", Path: "/", Tenant: fmt.Sprint(client % tenants),
			Params: map[string]any{"inside": inside},
		}
		r.SetUrgency(5)
		resp, err := s.Do(context.Background(), r)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
	}
	return pass, func() int { return s.Stats().Queued }, s.Close
}

// openChannel is a channel as a semaphore: first come, first served.
func openChannel(int, int) (func(int, func()), func() int, func()) {
	permit := make(chan struct{}, 1)
	var waiting atomic.Int64
	pass := func(_ int, inside func()) {
		waiting.Add(1)
		permit <- struct{}{}
		waiting.Add(-1)
		inside()
		<-permit
	}
	return pass, func() int { return int(waiting.Load()) }, func() {}
}

// drive has clients clients pass n times in all, once all of them wait. begin is called then, and
// end after the nth time.
func drive(p peer, clients, tenants, n int, begin, end func()) {
	pass, waiting, done := p.open(clients, tenants)
	defer done()
	var left atomic.Int64
	left.Store(int64(n))
	count := func() {
		if left.Add(-1) == 0 {
			end()
		}
	}
	var all sync.WaitGroup
	held, free := make(chan struct{}), make(chan struct{})
	all.Go(func() {
		pass(0, func() {
			close(held)
			<-free
		})
	})
	<-held
	for c := range clients {
		all.Go(func() {
			for left.Load() > 0 {
				pass(c, count)
			}
		})
	}
	for waiting() < clients {
		runtime.Gosched()
	}
	begin()
	close(free)
	all.Wait()
}

func BenchmarkQueue(b *testing.B) {
	for _, queued := range []int{1_000, 100_000} {
		for _, tenants := range []int{1, 100, 10_000} {
			for _, p := range peers {
				b.Run(fmt.Sprintf("queued=%d/tenants=%d/%s", queued, tenants, p.name), func(b *testing.B) {
					b.ReportAllocs()
					b.StopTimer()
					drive(p, queued, tenants, b.N, b.StartTimer, b.StopTimer)
				})
			}
		}
	}
}

func TestEveryPeerServesEverybody(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			ended := false
			drive(p, 50, 7, 500, func() {}, func() { ended = true })
			if !ended {
				t.Error("not all were served")
			}
		})
	}
}

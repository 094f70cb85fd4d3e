package scheduler

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// Everything at once: at the end nothing is queued, no permit is taken, and the queue is whole.
func TestNothingIsLostWhenAllHappensAtOnce(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) { storm(t, seed) })
	}
}

func storm(t *testing.T, seed uint64) {
	b := newBatcher(5, 3*time.Millisecond, time.Millisecond)
	do := b.do
	b.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
		resp, err := do(ctx, r)
		if err == nil && len(r.ID)%2 == 0 {
			resp.Body = &stream{Reader: strings.NewReader("streamed")}
		}
		return resp, err
	}
	o := options(6)
	o.QueueLength, o.BatchTarget, o.BatchLinger = 60, knob.FixedInt(4), knob.FixedDuration(2*time.Millisecond)
	o.Rates = []Rate{{Limit: 1500, Burst: 10}, {Limit: 30000, Per: time.Minute, Burst: 200}}
	s := New(o, b)
	defer s.Close()
	var wg sync.WaitGroup
	for client := range 60 {
		rng := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for i := range 30 {
				stormy(s, rng, fmt.Sprint(client, "-", i))
			}
		})
	}
	stop := make(chan struct{})
	var turning sync.WaitGroup
	turning.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			_ = o.Workers.SetBase(float64(rng.IntN(10)), knob.SourceFile)
			s.Kick()
			s.Stats()
			if rng.IntN(10) == 0 {
				s.Apply(o)
			}
			s.mu.Lock()
			checkInvariants(t, &s.q)
			s.mu.Unlock()
		}
	})
	wg.Wait()
	close(stop)
	turning.Wait()
	_ = o.Workers.SetBase(6, knob.SourceFile)
	s.Kick()
	<-time.After(10 * time.Second) // for the permits held for cancelled calls
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkCalm(t, s)
}

// checkCalm checks that nothing is left of what was going on.
func checkCalm(t *testing.T, s *Scheduler) {
	t.Helper()
	if st := s.Stats(); st.InFlight != 0 || st.Held != 0 || st.Queued != 0 || len(s.q.groups) != 0 {
		t.Errorf("stats %+v at the end, %d groups", st, len(s.q.groups))
	}
	for u := range s.q.classes {
		for _, f := range s.q.classes[u].flows {
			if f.inFlight != 0 {
				t.Errorf("urgency %d: tenant %s still has %d in flight", u, f.tenant, f.inFlight)
			}
		}
	}
}

// stormy is one request with a random fate.
func stormy(s *Scheduler, rng *rand.Rand, id string) {
	r := ask(fmt.Sprint("t", rng.IntN(5)), request.Urgency(rng.IntN(8)))
	r.ID = id
	if rng.IntN(2) == 0 {
		r.Route = batchRoute
	}
	r.Background = rng.IntN(8) == 0
	if r.Background {
		r.SetUrgency(request.LeastUrgent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch rng.IntN(4) {
	case 0:
		withDeadline(r, time.Duration(rng.IntN(40))*time.Millisecond)
	case 1:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(40))*time.Millisecond)
		defer cancel()
	case 2:
		stop := time.AfterFunc(time.Duration(rng.IntN(40))*time.Millisecond, cancel)
		defer stop.Stop()
	}
	u := request.Urgency(rng.IntN(8))
	promote := time.AfterFunc(time.Duration(rng.IntN(10))*time.Millisecond, func() { r.Promote(u) })
	defer promote.Stop()
	resp, err := s.Do(ctx, r)
	if err != nil {
		return
	}
	if rng.IntN(2) == 0 {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	resp.Body.Close()
}

// The same with real time and real parallelism, for the race detector.
func TestManyGoroutinesShareTheScheduler(t *testing.T) {
	o := options(4)
	o.QueueLength = 10000
	s := New(o, &fake{do: func(context.Context, *request.Request) (*request.Response, error) { return answer("ok"), nil }})
	defer s.Close()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 300 {
				r := ask(fmt.Sprint("t", g%5), request.Urgency(i%8))
				if i%3 == 0 {
					go r.Promote(0)
				}
				if _, err := s.Do(t.Context(), r); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					s.Stats()
					s.Kick()
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Dispatched != 16*300 || st.InFlight != 0 {
		t.Errorf("stats %+v, want 4800 dispatched", st)
	}
}

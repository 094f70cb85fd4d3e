package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// slow answers after d, or when the call is cancelled.
func slow(d time.Duration) func(context.Context, *request.Request) (*request.Response, error) {
	return func(ctx context.Context, r *request.Request) (*request.Response, error) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return answer("ok"), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// gate lets calls through one by one and notes their order.
type gate struct {
	*fake
	open chan struct{}

	mu    sync.Mutex // guards order
	order []string
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	g.fake = &fake{do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
		g.mu.Lock()
		g.order = append(g.order, r.ID)
		g.mu.Unlock()
		select {
		case <-g.open:
			return answer("ok"), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
	return g
}

func (g *gate) served() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

// pass lets n calls end, one every 10 ms.
func (g *gate) pass(n int) {
	for range n {
		<-time.After(10 * time.Millisecond)
		g.open <- struct{}{}
		synctest.Wait()
	}
}

// asked is a Do under way.
type asked struct {
	r      *request.Request
	cancel context.CancelCauseFunc
	done   chan struct{}
	resp   *request.Response
	err    error
	took   time.Duration
}

// begin starts a Do for r on its own goroutine and waits until it blocks or returns.
func begin(t *testing.T, s *Scheduler, id string, r *request.Request) *asked {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	a := &asked{r: r, cancel: cancel, done: make(chan struct{})}
	r.ID = id
	start := time.Now()
	go func() {
		a.resp, a.err = s.Do(ctx, r)
		a.took = time.Since(start)
		close(a.done)
	}()
	synctest.Wait()
	return a
}

// wait gives the answer's text, or the error.
func (a *asked) wait() (string, error) {
	<-a.done
	if a.err != nil {
		return "", a.err
	}
	b, err := io.ReadAll(a.resp.Body)
	a.resp.Body.Close()
	return string(b), err
}

// problem checks that err is a problem of kind p, and gives it.
func problem(t *testing.T, err error, p request.Problem) *request.Error {
	t.Helper()
	var e *request.Error
	if !errors.As(err, &e) || e.Problem != p {
		t.Fatalf("error is %v, want the problem %s", err, p)
	}
	return e
}

func expectOrder(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("served %v, want %v", got, want)
	}
}

func options(workers int) Options {
	return Options{Upstream: "movies", Workers: knob.FixedInt(workers), Priorities: true}
}

func withDeadline(r *request.Request, d time.Duration) *request.Request {
	r.Deadline = time.Now().Add(d)
	return r
}

func TestNoMoreCallsThanPermitsAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(3), &fake{do: slow(time.Second)})
		defer s.Close()
		start := time.Now()
		var all []*asked
		for i := range 9 {
			all = append(all, begin(t, s, fmt.Sprint(i), ask("a", 3)))
		}
		if st := s.Stats(); st.InFlight != 3 || st.Queued != 6 || st.QueuedByTenant["a"] != 6 || st.Binding != "permits" {
			t.Errorf("stats %+v, want 3 in flight, 6 queued, bound by permits", st)
		}
		for i, a := range all {
			if _, err := a.wait(); err != nil {
				t.Error(err)
			}
			if want := time.Duration(i/3) * time.Second; a.resp.Timing.Queue != want {
				t.Errorf("request %d says it waited %v, want %v", i, a.resp.Timing.Queue, want)
			}
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("9 calls of 1 s on 3 permits took %v, want 3s", d)
		}
		synctest.Wait()
		if st := s.Stats(); st.InFlight != 0 || st.Queued != 0 || st.Binding != "none" || st.BindingShares["permits"] <= 0 {
			t.Errorf("stats %+v, want nothing in flight or queued, and some of the time bound by permits", st)
		}
	})
}

func TestMoreUrgentIsServedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := New(options(1), g)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		for _, u := range []request.Urgency{7, 3, 0, 5, 0} {
			begin(t, s, fmt.Sprint(u), ask("a", u))
		}
		g.pass(6)
		expectOrder(t, g.served(), "first", "0", "0", "3", "5", "7")
	})
}

func TestWithoutPrioritiesAllAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		o := options(1)
		o.Priorities = false
		s := New(o, g)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		for _, u := range []request.Urgency{7, 3, 0} {
			a := begin(t, s, fmt.Sprint(u), ask("a", u))
			a.r.Promote(0)
		}
		g.pass(4)
		expectOrder(t, g.served(), "first", "7", "3", "0")
	})
}

func TestTenantsTakeTurnsByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		o := options(1)
		o.Weights = func(tenant string) float64 { return map[string]float64{"b": 2}[tenant] }
		s := New(o, g)
		defer s.Close()
		begin(t, s, "x", ask("x", 3))
		for range 6 {
			begin(t, s, "a", ask("a", 3))
		}
		for range 6 {
			begin(t, s, "b", ask("b", 3))
		}
		g.pass(13)
		counts := map[string]int{}
		for _, id := range g.served()[1:10] {
			counts[id]++
		}
		if counts["a"] != 3 || counts["b"] != 6 {
			t.Errorf("of nine, a got %d and b of twice the weight %d; want 3 and 6", counts["a"], counts["b"])
		}
	})
}

// The tenant of expensive requests pays for what they took, not for what was guessed.
func TestCostIsSettledByWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := make(map[string]time.Duration)
		s := New(options(1), &fake{do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
			d := 10 * time.Millisecond
			if r.Tenant == "dear" {
				d = 40 * time.Millisecond
			}
			mu.Lock()
			busy[r.Tenant] += d
			mu.Unlock()
			return slow(d)(ctx, r)
		}})
		defer s.Close()
		for range 100 {
			begin(t, s, "d", ask("dear", 3))
		}
		for range 400 {
			begin(t, s, "c", ask("cheap", 3))
		}
		<-time.After(2 * time.Second)
		mu.Lock()
		d, c := busy["dear"], busy["cheap"]
		mu.Unlock()
		if d > c*11/10 || c > d*11/10 {
			t.Errorf("the tenant of dear requests got %v of the permit, the other %v; want equal shares", d, c)
		}
		s.Close()
	})
}

func TestCancelledRequestNeverReachesAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := New(options(1), g)
		defer s.Close()
		begin(t, s, "1", ask("a", 3))
		two := begin(t, s, "2", ask("a", 3))
		begin(t, s, "3", ask("a", 3))
		why := errors.New("hung up")
		two.cancel(why)
		_, err := two.wait()
		problem(t, err, request.ProblemClientClosed)
		if !errors.Is(err, why) {
			t.Errorf("error %v does not wrap the cause", err)
		}
		if st := s.Stats(); st.Queued != 1 || st.Cancelled != 1 {
			t.Errorf("stats %+v, want one queued, one cancelled", st)
		}
		g.pass(2)
		expectOrder(t, g.served(), "1", "3")
		if two.r.Started() {
			t.Error("the cancelled request is marked as started")
		}
	})
}

func TestPromotedRequestMovesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := New(options(1), g)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		begin(t, s, "second", ask("a", 3))
		late := begin(t, s, "late", ask("a", 6))
		late.r.Promote(1)
		if st := s.Stats(); st.QueuedByUrgency[1] != 1 || st.QueuedByUrgency[6] != 0 {
			t.Errorf("queued %v, want the promoted one at urgency 1", st.QueuedByUrgency)
		}
		g.pass(3)
		expectOrder(t, g.served(), "first", "late", "second")
		late.r.Promote(0) // too late, and harmless
	})
}

func TestBackgroundRunsOnlyOnSparePermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := New(options(2), g)
		defer s.Close()
		background := func(id string) *asked {
			r := ask("", request.LeastUrgent)
			r.Background = true
			return begin(t, s, id, r)
		}
		background("b1")
		background("b2") // must leave the last permit free
		expectOrder(t, g.served(), "b1")
		if st := s.Stats(); st.Background != 1 || st.Binding != "none" {
			t.Errorf("stats %+v: waiting background work must not look like a lack of permits", st)
		}
		begin(t, s, "r1", ask("a", 7))
		begin(t, s, "r2", ask("a", 7))
		b3 := background("b3")
		g.pass(1)
		expectOrder(t, g.served(), "b1", "r1", "r2")
		b3.r.Promote(3)
		g.pass(4)
		expectOrder(t, g.served(), "b1", "r1", "r2", "b3", "b2")
	})
}

func TestWorkersResizeWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		o := options(1)
		s := New(o, g)
		defer s.Close()
		resize := func(n int) {
			if err := o.Workers.SetBase(float64(n), knob.SourceFile); err != nil {
				t.Fatal(err)
			}
			s.Kick()
			synctest.Wait()
		}
		for i := range 6 {
			begin(t, s, fmt.Sprint(i), ask("a", 3))
		}
		resize(4)
		expectOrder(t, slices.Sorted(slices.Values(g.served())), "0", "1", "2", "3")
		resize(2)
		g.pass(2)
		if st := s.Stats(); st.InFlight != 2 || st.Queued != 2 {
			t.Errorf("stats %+v, want 2 in flight and 2 queued after the cut", st)
		}
		resize(0)
		g.pass(2)
		expectOrder(t, slices.Sorted(slices.Values(g.served())), "0", "1", "2", "3")
		resize(8)
		expectOrder(t, slices.Sorted(slices.Values(g.served())), "0", "1", "2", "3", "4", "5")
		g.pass(2)
	})
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// batcher answers batches of route "batch" after base + each per member, and notes them.
type batcher struct {
	*fake
	max        int
	base, each time.Duration

	mu      sync.Mutex // guards batches
	batches [][]string
}

func newBatcher(max int, base, each time.Duration) *batcher {
	b := &batcher{max: max, base: base, each: each}
	note := func(members []*request.Request) time.Duration {
		ids := make([]string, len(members))
		for i, r := range members {
			ids[i] = r.ID
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.batches = append(b.batches, ids)
		return base + time.Duration(len(members))*each
	}
	b.fake = &fake{
		plan: func(r *request.Request) request.BatchPlan {
			if r.Route != batchRoute {
				return request.BatchPlan{Max: 1}
			}
			return request.BatchPlan{Group: "g", Max: b.max, Weight: len(r.Data), MaxWeight: 100}
		},
		do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
			return slow(note([]*request.Request{r}))(ctx, r)
		},
		batch: func(ctx context.Context, members []*request.Request) []request.Result {
			d := note(members)
			results := make([]request.Result, len(members))
			if _, err := slow(d)(ctx, nil); err != nil {
				for i := range results {
					results[i].Err = err
				}
				return results
			}
			for i, r := range members {
				results[i].Response = answer(r.ID)
			}
			return results
		},
	}
	return b
}

var batchRoute = &request.Route{Name: "batch", Upstream: "movies"}

// join makes a request that can travel in a batch.
func join(tenant string, u request.Urgency) *request.Request {
	r := ask(tenant, u)
	r.Route = batchRoute
	return r
}

func (b *batcher) sent() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, ids := range b.batches {
		all = append(all, strings.Join(ids, ","))
	}
	return strings.Join(all, " | ")
}

func expectSent(t *testing.T, b *batcher, want string) {
	t.Helper()
	if got := b.sent(); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

func TestBatchFormsFromTheQueueWhenAPermitIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(4, 100*time.Millisecond, 0)
		o := options(1)
		o.Rates = []Rate{{Limit: 1, Per: time.Hour, Burst: 3}} // one token for a call, not for a member
		s := New(o, b)
		defer s.Close()
		var all []*asked
		for i := range 8 {
			all = append(all, begin(t, s, fmt.Sprint(i), join("a", 3)))
		}
		begin(t, s, "alone", ask("a", 3))
		for i, a := range all[:5] {
			text, err := a.wait()
			if want := fmt.Sprint(i); err != nil || i > 0 && text != want {
				t.Errorf("member %d got %q, %v", i, text, err)
			}
		}
		if q := all[3].resp.Timing.Queue; q != 100*time.Millisecond {
			t.Errorf("a member says it waited %v, want 100ms", q)
		}
		synctest.Wait()
		expectSent(t, b, "0 | 1,2,3,4 | 5,6,7")
	})
}

func TestBatchTakesTheMostUrgentFirstAndThenTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(3, 100*time.Millisecond, 0)
		s := New(options(1), b)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		var last *asked
		for i, u := range []request.Urgency{6, 3, 3, 1, 6} {
			last = begin(t, s, fmt.Sprint(i), join("a", u))
			begin(t, s, fmt.Sprint("x", i), ask("a", 7))
		}
		_, _ = last.wait()
		if got := b.sent(); !strings.HasPrefix(got, "first | 3,1,2 | 0,4") {
			t.Errorf("sent %s", got)
		}
	})
}

func TestBatchTargetAndWeightBoundTheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(100, 100*time.Millisecond, 0)
		o := options(1)
		o.BatchTarget = knob.FixedInt(2)
		s := New(o, b)
		defer s.Close()
		var last *asked
		for i := range 6 {
			r := join("a", 3)
			r.Data = make([]byte, 30)
			if i >= 4 {
				r.Data = make([]byte, 60)
			}
			last = begin(t, s, fmt.Sprint(i), r)
		}
		_, _ = last.wait()
		expectSent(t, b, "0 | 1,2 | 3,4 | 5")
	})
}

func TestMemberThatLeavesDoesNotEndTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, time.Second, 0)
		s := New(options(1), b)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		var m []*asked
		for i := range 4 {
			m = append(m, begin(t, s, fmt.Sprint(i), join("a", 3)))
		}
		m[1].cancel(nil) // before it is sent
		_, err := m[1].wait()
		problem(t, err, request.ProblemClientClosed)
		<-time.After(1500 * time.Millisecond)
		for _, gone := range []*asked{m[0], m[2]} { // the leader, and another, while it is under way
			start := time.Now()
			gone.cancel(nil)
			_, err := gone.wait()
			problem(t, err, request.ProblemClientClosed)
			if d := time.Since(start); d != 0 {
				t.Errorf("a member that left was kept for %v", d)
			}
		}
		expectInFlight(t, s, 1, "after members have left")
		if text, err := m[3].wait(); err != nil || text != "3" {
			t.Errorf("the last member got %q, %v", text, err)
		}
		expectSent(t, b, "first | 0,2,3")
		synctest.Wait()
		expectInFlight(t, s, 0, "after the batch")
	})
}

func TestBatchHoldsItsPermitUntilAllBodiesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, time.Second, 0)
		bodies := map[string]*stream{}
		b.batch = func(_ context.Context, members []*request.Request) []request.Result {
			results := make([]request.Result, len(members))
			for i, r := range members {
				body := &stream{Reader: strings.NewReader(r.ID)}
				bodies[r.ID] = body
				results[i].Response = &request.Response{Status: 200, Body: body}
			}
			<-time.After(time.Second)
			return results
		}
		s := New(options(1), b)
		defer s.Close()
		begin(t, s, "first", ask("a", 3))
		var m []*asked
		for i := range 3 {
			m = append(m, begin(t, s, fmt.Sprint(i), join("a", 3)))
		}
		<-time.After(1500 * time.Millisecond)
		m[2].cancel(nil)
		<-m[0].done
		<-m[1].done
		synctest.Wait()
		if !bodies["2"].closed {
			t.Error("the answer of a member that left was not closed")
		}
		_, _ = io.ReadAll(m[0].resp.Body)
		expectInFlight(t, s, 1, "while a member still reads")
		m[1].resp.Body.Close()
		expectInFlight(t, s, 0, "after the last body")
	})
}

func TestBatchThatPanicsOrGivesTooLittleFailsItsMembersOnly(t *testing.T) {
	broken := errors.New("broken")
	for name, f := range map[string]func(context.Context, []*request.Request) []request.Result{
		"panic":   func(context.Context, []*request.Request) []request.Result { panic("oops") },
		"short":   func(context.Context, []*request.Request) []request.Result { return nil },
		"nothing": func(_ context.Context, m []*request.Request) []request.Result { return make([]request.Result, len(m)) },
		"errors": func(_ context.Context, m []*request.Request) []request.Result {
			r := make([]request.Result, len(m))
			for i := range r {
				r[i].Err = broken
			}
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBatcher(10, time.Second, 0)
				b.batch = f
				s := New(options(1), b)
				defer s.Close()
				first := begin(t, s, "first", ask("a", 3))
				one, two := begin(t, s, "1", join("a", 3)), begin(t, s, "2", join("a", 3))
				for _, a := range []*asked{one, two} {
					if _, err := a.wait(); name == "errors" && !errors.Is(err, broken) {
						t.Errorf("error %v, want the member's own", err)
					} else if name != "errors" {
						problem(t, err, request.ProblemInternal)
					}
				}
				if _, err := first.wait(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				expectInFlight(t, s, 0, "after the failed batch")
			})
		})
	}
}

// lingering is a scheduler whose batches linger up to 40 ms, with one call in flight.
func lingering(t *testing.T, b *batcher, workers int) *Scheduler {
	t.Helper()
	o := options(workers)
	o.BatchTarget, o.BatchLinger = knob.FixedInt(3), knob.FixedDuration(40*time.Millisecond)
	s := New(o, b)
	for range 20 { // arrivals are frequent, and a call takes 200 ms
		begin(t, s, "w", join("a", 3))
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.mu.Lock()
		s.estimateOf(batchRoute).arrivals.add(1, time.Now())
		s.mu.Unlock()
	}
	b.mu.Lock()
	b.batches = nil
	b.mu.Unlock()
	s.mu.Lock()
	s.members = 3 * workers // as if the calls in flight carried three each, so that three is a fair batch
	s.mu.Unlock()
	return s
}

func TestBatchLingersOnlyWhenBusyAndNotBeyondItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, 200*time.Millisecond, 0)
		s := lingering(t, b, 4)
		defer s.Close()
		begin(t, s, "idle", join("a", 3)) // nothing in flight: goes at once
		expectSent(t, b, "idle")
		begin(t, s, "1", join("a", 3))
		expectInFlight(t, s, 1, "while a batch lingers")
		if st := s.Stats(); st.Queued != 1 || st.QueuedByUrgency[3] != 1 {
			t.Errorf("stats %+v, want the lingering one counted as queued", st)
		}
		begin(t, s, "2", join("a", 3))
		begin(t, s, "alone", ask("b", 3)) // other work takes the permit meanwhile
		expectSent(t, b, "idle | alone")
		begin(t, s, "3", join("a", 3)) // the target is reached
		expectSent(t, b, "idle | alone | 1,2,3")
		start := time.Now()
		four := begin(t, s, "4", join("a", 3))
		_, _ = four.wait()
		if d := time.Since(start); d != 240*time.Millisecond {
			t.Errorf("a batch that nobody joined took %v, want to have lingered 40ms", d)
		}
	})
}

func TestLingerNeverBreaksADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, 200*time.Millisecond, 0)
		s := lingering(t, b, 4)
		defer s.Close()
		begin(t, s, "idle", join("a", 3))
		start := time.Now()
		begin(t, s, "1", join("a", 3))
		two := begin(t, s, "2", withDeadline(join("a", 3), 230*time.Millisecond))
		if _, err := two.wait(); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 210*time.Millisecond {
			t.Errorf("answered after %v, want the linger cut to 10ms", d)
		}
		expectSent(t, b, "idle | 1,2")
	})
}

func TestLeavingOrClosingWhileABatchLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, 200*time.Millisecond, 0)
		s := lingering(t, b, 4)
		idle := begin(t, s, "idle", join("a", 3))
		one := begin(t, s, "1", join("a", 3))
		one.cancel(nil)
		_, err := one.wait()
		problem(t, err, request.ProblemClientClosed)
		if st := s.Stats(); st.Queued != 0 || len(s.q.groups) != 0 || len(s.forming) != 0 {
			t.Errorf("stats %+v: the batch without members is still there", st)
		}
		two := begin(t, s, "2", join("a", 3))
		s.mu.Lock()
		s.shutdown(time.Now())
		s.closed = true
		s.mu.Unlock()
		_, err = two.wait()
		problem(t, err, request.ProblemShuttingDown)
		if _, err := idle.wait(); err != nil {
			t.Error(err)
		}
		s.Close()
		expectSent(t, b, "idle")
	})
}

func TestCloseCancelsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(10, time.Hour, 0)
		b.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
			return slow(time.Second)(ctx, r)
		}
		s := New(options(1), b)
		begin(t, s, "first", ask("a", 3))
		one := begin(t, s, "1", join("a", 3))
		two := begin(t, s, "2", join("a", 3))
		<-time.After(2 * time.Second)
		s.Close()
		for _, a := range []*asked{one, two} {
			if _, err := a.wait(); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want the batch's end", err)
			}
		}
	})
}

func TestABatchIsAFairPartOfTheWorkForThePermitsThatTheRateFeeds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rates []Rate
		sent  string
	}{
		{"permits bind", nil, "1,2,3 | 4,5,6 | w"},
		{"a rate feeds one permit", []Rate{{Limit: 1, Per: time.Second, Burst: 1}}, "1,2,3,4,5,6 | w"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				workers := knob.FixedInt(2)
				o := options(2)
				o.Workers, o.Rates = workers, tc.rates
				b := newBatcher(10, 200*time.Millisecond, 0)
				s := New(o, b)
				defer s.Close()
				_, _ = begin(t, s, "w", join("a", 3)).wait() // how long a call takes is learned
				<-time.After(time.Second)
				if err := workers.SetBase(0, knob.SourceFile); err != nil {
					t.Fatal(err)
				}
				for i := range 6 {
					begin(t, s, strconv.Itoa(i+1), join("a", 3))
				}
				if err := workers.SetBase(2, knob.SourceFile); err != nil {
					t.Fatal(err)
				}
				s.Kick()
				<-time.After(500 * time.Millisecond)
				b.mu.Lock()
				slices.SortFunc(b.batches, slices.Compare) // those that begin at once are noted in any order
				b.mu.Unlock()
				expectSent(t, b, tc.sent)
			})
		})
	}
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// measured is a scheduler that knows that calls take a second.
func measured(t *testing.T, o Options) *Scheduler {
	t.Helper()
	s := New(o, &fake{do: slow(time.Second)})
	for range 10 {
		if _, err := s.Do(t.Context(), ask("a", 3)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestRequestThatCantMeetItsDeadlineIsRefusedOnArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := measured(t, options(1))
		defer s.Close()
		for range 5 {
			begin(t, s, "", ask("a", 3))
		}
		var retries []time.Duration
		for _, left := range []time.Duration{1500 * time.Millisecond, 3 * time.Second} {
			start := time.Now()
			a := begin(t, s, "", withDeadline(ask("a", 3), left))
			_, err := a.wait()
			e := problem(t, err, request.ProblemReducedCapacity)
			if d := time.Since(start); d != 0 {
				t.Errorf("refused after %v, want at once", d)
			}
			if e.Upstream != "movies" || e.Detail == "" {
				t.Errorf("error %+v says too little", e)
			}
			retries = append(retries, e.RetryAfter)
		}
		if retries[0] <= retries[1] || retries[1] <= 0 {
			t.Errorf("retry after %v with 1.5 s left and %v with 3 s left; want it computed, and longer for the first", retries[0], retries[1])
		}
		if _, err := begin(t, s, "", withDeadline(ask("a", 3), 10*time.Second)).wait(); err != nil {
			t.Errorf("with time enough: %v", err)
		}
		if _, err := begin(t, s, "", withDeadline(ask("a", 0), 2600*time.Millisecond)).wait(); err != nil {
			t.Errorf("urgent enough: %v", err)
		}
		if n := s.Stats().Refused["late"]; n != 2 {
			t.Errorf("%d counted as late, want 2", n)
		}
	})
}

func TestDeadlineThatPassesInTheQueueEndsTheWaitAtOnce(t *testing.T) {
	for _, byContext := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			s := New(options(1), g)
			defer s.Close()
			first := begin(t, s, "1", ask("a", 3))
			r, ctx := ask("a", 3), t.Context()
			if byContext {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			} else {
				withDeadline(r, time.Second)
			}
			start := time.Now()
			_, err := s.Do(ctx, r)
			e := problem(t, err, request.ProblemDeadline)
			if d := time.Since(start); d != time.Second || e.Timing.Queue != time.Second {
				t.Errorf("by context %v: gave up after %v and says %v, want 1s", byContext, d, e.Timing.Queue)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v does not wrap the cause", err)
			}
			if st := s.Stats(); st.Queued != 0 || st.Expired != 1 {
				t.Errorf("stats %+v, want nothing queued, one expired", st)
			}
			g.pass(1)
			_, _ = first.wait()
			if r.Started() {
				t.Error("the expired request was started")
			}
		})
	}
}

func TestFullQueueRefusesWithAComputedRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := func(queue int) time.Duration {
			o := options(1)
			o.QueueLength = queue
			s := measured(t, o)
			defer s.Close()
			for range max(queue, 0) + 1 {
				begin(t, s, "", ask("a", 3))
			}
			_, err := begin(t, s, "", ask("a", 3)).wait()
			e := problem(t, err, request.ProblemReducedCapacity)
			if s.Stats().Refused["full"] != 1 {
				t.Errorf("refusals %v, want one for a full queue", s.Stats().Refused)
			}
			s.Close()
			<-time.After(2 * time.Second)
			return e.RetryAfter
		}
		short, long := refused(4), refused(40)
		if short < time.Second || long < 8*short {
			t.Errorf("retry after %v behind 4 and %v behind 40, want it to grow with the queue", short, long)
		}
		if none := refused(-1); none <= 0 {
			t.Errorf("retry after %v without a queue", none)
		}
	})
}

func TestFullQueueGivesWayToTheMoreUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(1)
		o.QueueLength = 5
		s := New(o, newGate())
		defer s.Close()
		begin(t, s, "", ask("a", 3))
		begin(t, s, "", ask("light", 6))
		begin(t, s, "", ask("heavy", 6))
		begin(t, s, "", ask("heavy", 6))
		newest := begin(t, s, "", ask("heavy", 6))
		begin(t, s, "", ask("a", 4))
		begin(t, s, "", ask("a", 2))
		_, err := newest.wait()
		e := problem(t, err, request.ProblemReducedCapacity)
		if e.RetryAfter <= 0 {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		_, err = begin(t, s, "", ask("heavy", 6)).wait()
		problem(t, err, request.ProblemReducedCapacity)
		_, err = begin(t, s, "", ask("light", 7)).wait()
		problem(t, err, request.ProblemReducedCapacity)
		st := s.Stats()
		if st.Refused["displaced"] != 1 || st.Refused["full"] != 2 || st.Queued != 5 {
			t.Errorf("stats %+v, want one displaced, two refused, five queued", st)
		}
	})
}

func TestTenantWithMostQueuedGivesWayAtTheSameUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(1)
		o.QueueLength = 10
		s := New(o, newGate())
		defer s.Close()
		for range 20 {
			begin(t, s, "", ask("noisy", 3))
		}
		for range 8 {
			begin(t, s, "", ask("quiet", 3))
		}
		if st := s.Stats(); st.QueuedByTenant["quiet"] != 5 || st.QueuedByTenant["noisy"] != 5 {
			t.Errorf("queued %v, want half each", st.QueuedByTenant)
		}
	})
}

func TestInteractiveTurnsNewestFirstUnderOverloadAndBatchDoesNot(t *testing.T) {
	for _, u := range []request.Urgency{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			s := New(options(1), g)
			defer s.Close()
			for i := range 40 {
				begin(t, s, fmt.Sprint(i), ask("a", u))
			}
			g.pass(30)
			got, first := g.served(), []string{"0", "1", "2", "3"}
			if !slices.Equal(got[:4], first) {
				t.Errorf("urgency %d: began with %v, want the oldest first before the overload shows", u, got[:4])
			}
			newest := slices.Contains(got, "39")
			if want := u == 3; newest != want {
				t.Errorf("urgency %d: newest first is %v, want %v; served %v", u, newest, want, got)
			}
			if named := len(s.Stats().NewestFirst) == 1; named != newest {
				t.Errorf("urgency %d: stats say newest first: %v", u, s.Stats().NewestFirst)
			}
			g.pass(10)
			if st := s.Stats(); st.Queued != 0 || len(st.NewestFirst) != 0 || st.Refused["codel"] != 0 {
				t.Errorf("stats %+v, want all served, none dropped and the order back to normal", st)
			}
		})
	}
}

func TestStandingQueueDropsItsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		o := options(1)
		o.QueueLength = 60
		s := New(o, g)
		defer s.Close()
		var all []*asked
		for i := range 60 {
			all = append(all, begin(t, s, fmt.Sprint(i), ask("a", 0)))
		}
		g.pass(25)
		dropped := s.Stats().Refused["codel"]
		if dropped == 0 {
			t.Fatal("a queue over half full that does not get shorter dropped nothing")
		}
		for _, a := range all {
			select {
			case <-a.done:
				if a.err != nil {
					problem(t, a.err, request.ProblemReducedCapacity)
					dropped--
				}
			default:
			}
		}
		if dropped != 0 {
			t.Errorf("%d drops are not accounted for", dropped)
		}
	})
}

func TestHopelessRequestGivesItsPermitToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := measured(t, options(1))
		defer s.Close()
		begin(t, s, "", ask("a", 3))
		// Predicted to be in time; then a more urgent one comes between.
		hopeless := begin(t, s, "", withDeadline(ask("a", 3), 2900*time.Millisecond))
		begin(t, s, "", ask("a", 0))
		patient := begin(t, s, "", ask("b", 5))
		_, err := hopeless.wait()
		problem(t, err, request.ProblemReducedCapacity)
		if hopeless.took >= 2900*time.Millisecond || hopeless.r.Started() {
			t.Errorf("given up after %v, started %v; want it dropped when its turn came", hopeless.took, hopeless.r.Started())
		}
		if _, err := patient.wait(); err != nil || patient.resp.Timing.Queue != 2*time.Second {
			t.Errorf("the other waited %v (%v), want 2s", patient.resp.Timing.Queue, err)
		}
	})
}

// One fast failure must not make the upstream look fast, nor a slow past keep everybody out.
func TestEstimateIgnoresFailuresAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, fail := time.Second, ""
		s := New(options(1), &fake{do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
			switch fail {
			case "429":
				return &request.Response{Status: 429, Body: request.NewBody(nil)}, nil
			case "down":
				return nil, &request.Error{Problem: request.ProblemUpstreamDown}
			case "hangs":
				_, _ = slow(10*time.Second)(ctx, r)
				return nil, &request.Error{Problem: request.ProblemUpstreamTimeout}
			}
			return slow(took)(ctx, r)
		}})
		defer s.Close()
		ask1 := func() {
			r := ask("a", 3)
			withDeadline(r, 2*time.Second)
			if _, err := s.Do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			ask1()
		}
		fail = "429"
		for range 20 {
			ask1()
		}
		fail = "down"
		for range 20 {
			_, _ = s.Do(t.Context(), ask("a", 3))
		}
		if d := s.Stats().ServiceTime; d != 1 {
			t.Errorf("service time is %v after fast refusals, want 1", d)
		}
		fail = "hangs"
		_, _ = s.Do(t.Context(), ask("a", 3))
		if d := s.Stats().ServiceTime; d <= 1 {
			t.Errorf("service time is still %v after a timeout", d)
		}
		fail, took = "", 10*time.Millisecond
		for range 60 {
			ask1()
		}
		if d := s.Stats().ServiceTime; d > 0.02 {
			t.Errorf("service time is still %v after 60 fast calls", d)
		}
	})
}

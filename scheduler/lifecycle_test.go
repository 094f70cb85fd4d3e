package scheduler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestPanicBehindTheSchedulerFreesThePermit(t *testing.T) {
	s := New(options(1), &fake{do: func(context.Context, *request.Request) (*request.Response, error) { panic("oops") }})
	defer s.Close()
	func() {
		defer func() { recover() }()
		_, _ = s.Do(t.Context(), ask("a", 3))
		t.Error("the panic was swallowed")
	}()
	if st := s.Stats(); st.InFlight != 0 {
		t.Errorf("%d permits are taken after the panic", st.InFlight)
	}
}

func TestAnswerWithoutResponseIsAnError(t *testing.T) {
	s := New(options(1), &fake{do: func(context.Context, *request.Request) (*request.Response, error) { return nil, nil }})
	defer s.Close()
	_, err := s.Do(t.Context(), ask("a", 3))
	problem(t, err, request.ProblemInternal)
}

func TestDrainWaitsForAllAndRefusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), &fake{do: slow(time.Second)})
		defer s.Close()
		if err := s.Drain(t.Context()); err != nil {
			t.Errorf("drain of an empty scheduler: %v", err)
		}
		start := time.Now()
		a, b := begin(t, s, "1", ask("a", 3)), begin(t, s, "2", ask("a", 3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain gave %v after half a second, want the context's end", err)
		}
		c := begin(t, s, "3", ask("a", 3))
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("drained after %v, want 3s", d)
		}
		for _, x := range []*asked{a, b, c} {
			if _, err := x.wait(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCloseRefusesWhatIsQueuedAndLeavesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := New(options(1), g)
		first, queued := begin(t, s, "1", ask("a", 3)), begin(t, s, "2", ask("a", 7))
		s.Close()
		s.Close()
		_, err := queued.wait()
		problem(t, err, request.ProblemShuttingDown)
		_, err = s.Do(t.Context(), ask("a", 3))
		problem(t, err, request.ProblemShuttingDown)
		g.pass(1)
		if _, err := first.wait(); err != nil {
			t.Error(err)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		s.Kick()
	})
}

package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func limited(parent context.Context, d time.Duration) *exchange {
	x := &exchange{Context: parent}
	x.bind(&request.Request{Arrived: time.Now(), Deadline: time.Now().Add(d)})
	return x
}

func isDeadline(err error) bool {
	e, ok := errors.AsType[*request.Error](err)
	return ok && e.Problem == request.ProblemDeadline
}

func TestATimeLimitEndsWithItsCauseHoweverItIsAsked(t *testing.T) {
	for name, wait := range map[string]func(x *exchange){
		"nobody waited":   func(*exchange) { <-time.After(2 * time.Second) },
		"waited for":      func(x *exchange) { <-x.Done() },
		"waited by child": func(x *exchange) { c, cancel := context.WithCancel(x); defer cancel(); <-c.Done() },
	} {
		synctest.Test(t, func(t *testing.T) {
			x := limited(t.Context(), time.Second)
			defer x.release()
			if x.Err() != nil || context.Cause(x) != nil {
				t.Errorf("%s: ended early", name)
			}
			if at, ok := x.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("%s: deadline %v %v", name, at, ok)
			}
			wait(x)
			if !errors.Is(x.Err(), context.DeadlineExceeded) || !isDeadline(context.Cause(x)) {
				t.Errorf("%s: error %v, cause %v", name, x.Err(), context.Cause(x))
			}
		})
	}
}

func TestATimeLimitEndsWithItsParentAndWhenReleased(t *testing.T) {
	for _, armed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gone := errors.New("gone")
			parent, cancel := context.WithCancelCause(t.Context())
			x := limited(parent, time.Hour)
			defer x.release()
			if armed {
				_ = x.Done()
			}
			cancel(gone)
			synctest.Wait()
			if !errors.Is(x.Err(), context.Canceled) || !errors.Is(context.Cause(x), gone) {
				t.Errorf("armed %v: error %v, cause %v", armed, x.Err(), context.Cause(x))
			}
			y := limited(t.Context(), time.Hour)
			if armed {
				_ = y.Done()
			}
			y.release()
			<-y.Done()
		})
	}
}

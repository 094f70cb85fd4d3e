package scheduler

import (
	"context"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"penstock/observe"
	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func registry() *observe.Registry { return observe.NewRegistry() }

// fake is the stage behind the scheduler.
type fake struct {
	plan  func(*request.Request) request.BatchPlan
	do    func(context.Context, *request.Request) (*request.Response, error)
	batch func(context.Context, []*request.Request) []request.Result
	calls atomic.Int64
}

func (f *fake) Plan(r *request.Request) request.BatchPlan {
	if f.plan == nil {
		return request.BatchPlan{Max: 1}
	}
	return f.plan(r)
}

func (f *fake) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	f.calls.Add(1)
	if f.do == nil {
		return answer(""), nil
	}
	return f.do(ctx, r)
}

func (f *fake) DoBatch(ctx context.Context, members []*request.Request) []request.Result {
	f.calls.Add(1)
	return f.batch(ctx, members)
}

func answer(body string) *request.Response {
	return &request.Response{Status: 200, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}
}

var testRoute = &request.Route{Name: "movie", Upstream: "movies"}

// ask makes a request.
func ask(tenant string, u request.Urgency) *request.Request {
	r := &request.Request{Route: testRoute, Method: "GET", Path: "/", Tenant: tenant}
	r.SetUrgency(u)
	return r
}

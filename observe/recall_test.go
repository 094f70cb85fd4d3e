package observe

import (
	"context"
	"testing"
	"time"

	"penstock/request"
)

// byHeart is a stage that recalls what is asked for as "k".
type byHeart struct{}

func (byHeart) Do(context.Context, *request.Request) (*request.Response, error) { return nil, nil }

func (byHeart) Recall(r *request.Request, _ time.Time) *request.Response {
	if r.Key != "k" {
		return nil
	}
	return &request.Response{Status: 200, Body: request.NewBody([]byte("abc")), Cache: request.CacheStatus{Hit: true, HasTTL: true, TTL: time.Minute}}
}

func TestWhatIsRecalledIsMeasured(t *testing.T) {
	reg, w := NewRegistry(), NewWindow(WindowOptions{Span: 10 * time.Second})
	d := Doer(byHeart{}, DoerOptions{Registry: reg, Window: w}).(request.Recaller)
	route := request.NewProxyRoute("up", request.CachePolicy{})
	for _, key := range []string{"k", "k", "other"} {
		d.Recall(&request.Request{Route: route, Key: key}, time.Now())
	}
	if d.Recall(&request.Request{Route: route, Key: "k", Background: true}, time.Now()) != nil {
		t.Error("a background request was recalled")
	}
	s := w.Signals(time.Minute).Total.Requests
	if s.Count != 2 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAStageWithoutMemoryRecallsNothing(t *testing.T) {
	d := Doer(request.DoerFunc(func(context.Context, *request.Request) (*request.Response, error) { return nil, nil }), DoerOptions{})
	if d.(request.Recaller).Recall(&request.Request{}, time.Now()) != nil {
		t.Error("it recalled something")
	}
}

package cache

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"penstock/request"
)

// hints gathers interim answers; the race detector tells if two goroutines call it.
type hints struct{ all []string }

func (h *hints) WriteInterim(_ int, header http.Header) { h.all = append(h.all, header.Get("Link")) }

// Interim answers go to the client whose request the upstream sees, and to nobody else: whether the
// answer may be shared is not known by then. They are not stored.
func TestInterimAnswersReachTheLeaderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		more := make(chan struct{})
		o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
			if r.Interim != nil {
				r.Interim.WriteInterim(103, http.Header{"Link": {"a"}})
				<-more
				r.Interim.WriteInterim(103, http.Header{"Link": {"b"}})
			}
			return reply(200, "hello", "Cache-Control", "max-age=60"), nil
		}}
		c := newCache(t, testOptions(), o)
		var leader, waiter, later hints
		ask := func(h *hints) answer {
			r := get(httpRoute(), "k")
			r.Interim = h
			return do(t, c, r)
		}
		var wg sync.WaitGroup
		wg.Go(func() { ask(&leader) })
		synctest.Wait()
		wg.Go(func() {
			if a := ask(&waiter); !a.Cache.Collapsed {
				t.Errorf("%+v", a.Cache)
			}
		})
		synctest.Wait()
		if len(leader.all) != 1 {
			t.Errorf("heard %v before the answer", leader.all)
		}
		close(more)
		wg.Wait()
		ask(&later)
		if len(leader.all) != 2 || leader.all[1] != "b" || len(waiter.all)+len(later.all) != 0 {
			t.Errorf("heard %v, %v, %v", leader.all, waiter.all, later.all)
		}
	})
}

func TestInterimAnswersNeverBlockTheCall(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		for range 10 * maxInterims {
			r.Interim.WriteInterim(102, nil)
		}
		return reply(200, "hello"), nil
	}}
	c := newCache(t, testOptions(), o)
	r := get(httpRoute(), "k")
	var h hints
	r.Interim = &h
	do(t, c, r)
	if len(h.all) == 0 {
		t.Error("heard nothing")
	}
}

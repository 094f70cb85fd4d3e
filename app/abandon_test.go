package app

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const abandoning = smallest + `
routes:
  finishing: {upstream: movies, path: "/f/{id}", cache: {ttl: 1m}, on_abandon: finish}
  cancelling: {upstream: movies, path: "/c/{id}", cache: {ttl: 1m}, on_abandon: cancel}
`

// leave asks a route and hangs up once the upstream call has begun.
func (h *house) leave(up *counted, body, path string) (gone func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(ctx, "POST", h.dataURL("/v1/requests"), strings.NewReader(body))
		if resp, err := h.client.Do(req); err == nil {
			resp.Body.Close()
			h.t.Error("the client that left got an answer")
		}
	}()
	h.eventually("the call has begun", func() bool { return up.of(path) == 1 })
	return func() { cancel(); <-done }
}

func (h *house) scheduled() (inFlight, held int) {
	st := h.table.Load().nodes["movies"].scheduler.Stats()
	return st.InFlight, st.Held
}

func TestAnAbandonedCallThatFinishesIsStoredAndKeepsItsPermit(t *testing.T) {
	up := &counted{hold: make(chan struct{})}
	h := open(t, abandoning, up)
	h.leave(up, `{"route":"finishing","params":{"id":1}}`, "/f/1")()
	h.eventually("nobody waits", func() bool { return h.window.Signals(signalsSpan).Total.Requests.InFlight == 0 })
	if n, held := h.scheduled(); n != 1 || held != 0 {
		t.Errorf("%d permits taken, %d of them held; want 1, 0", n, held)
	}
	close(up.hold)
	h.eventually("the permit is free", func() bool { n, _ := h.scheduled(); return n == 0 })
	a := h.do("POST", h.dataURL("/v1/requests"), `{"route":"finishing","params":{"id":1}}`).expect(t, 200)
	if got := a.header.Get("Cache-Status"); !strings.Contains(got, "hit") || up.of("/f/1") != 1 {
		t.Errorf("Cache-Status %q after %d calls; want a hit after 1", got, up.of("/f/1"))
	}
}

func TestAnAbandonedCallThatIsCancelledKeepsItsPermitAsLongAsSuchCallsTake(t *testing.T) {
	var cancelled, calls atomic.Int64
	slow := make(chan struct{})
	up := &counted{}
	h := open(t, abandoning, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) <= 3 { // what such calls usually take is learned from these
			time.AfterFunc(150*time.Millisecond, func() { slow <- struct{}{} })
			<-slow
			up.ServeHTTP(w, r)
			return
		}
		up.ServeHTTP(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		cancelled.Add(1)
	}))
	for _, id := range []string{"10", "11", "12"} {
		h.do("POST", h.dataURL("/v1/requests"), `{"route":"cancelling","params":{"id":`+id+`}}`).expect(t, 200)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(ctx, "POST", h.dataURL("/v1/requests"), strings.NewReader(`{"route":"cancelling","params":{"id":1}}`))
		if resp, err := h.client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	h.eventually("the call has begun", func() bool { return up.of("/c/1") == 1 })
	cancel()
	<-done
	h.eventually("the upstream sees the cancellation", func() bool { return cancelled.Load() == 1 })
	if n, held := h.scheduled(); n != 1 || held != 1 {
		t.Errorf("%d permits taken, %d held after the cancellation; want 1, 1", n, held)
	}
	h.eventually("the permit is free", func() bool { n, _ := h.scheduled(); return n == 0 })
}

func TestTheFirstClientMayLeaveAndTheOthersStillGetTheirAnswer(t *testing.T) {
	up := &counted{hold: make(chan struct{})}
	h := open(t, abandoning, up)
	const body = `{"route":"cancelling","params":{"id":5}}`
	gone := h.leave(up, body, "/c/5")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { h.do("POST", h.dataURL("/v1/requests"), body).expect(t, 200, "GET /c/5") })
	}
	h.eventually("all wait", func() bool { return h.window.Signals(signalsSpan).Total.Requests.InFlight == 21 })
	gone()
	close(up.hold)
	wg.Wait()
	if n := up.of("/c/5"); n != 1 {
		t.Errorf("%d upstream calls, want 1", n)
	}
}

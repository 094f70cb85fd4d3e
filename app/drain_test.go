package app

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestStopDrainsAndReadinessSaysSoFirst(t *testing.T) {
	up := &counted{hold: make(chan struct{})}
	h := open(t, smallest, up)
	h.do("GET", h.adminURL("/readyz"), "").expect(t, 200)
	answers := make(chan answer, 40)
	for i := range 40 { // more than there are workers: some wait in the queue
		go func() { answers <- h.get("/proxy/movies/" + strings.Repeat("x", i+1)) }()
	}
	h.eventually("all wait", func() bool { return h.window.Signals(signalsSpan).Total.Requests.InFlight == 40 })
	stopped := make(chan error, 1)
	go func() { stopped <- h.Stop(context.Background()) }()
	h.eventually("readiness says 503", func() bool {
		return h.do("GET", h.adminURL("/readyz"), "").status == http.StatusServiceUnavailable
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with requests in flight: %v", err)
	default:
	}
	close(up.hold)
	for range 40 {
		(<-answers).expect(t, 200)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestNoRequestIsLostWhenStoppingUnderLoad(t *testing.T) {
	h := open(t, smallest+"server: {drain_timeout: 10s}\n", new(counted))
	var served, lost atomic.Int64
	var load sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for range 16 {
		load.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequest("GET", h.dataURL("/proxy/movies/x"), nil)
				resp, err := h.client.Do(req)
				switch {
				case err != nil && strings.Contains(err.Error(), "dial tcp"):
					return // never connected: a load balancer has long looked elsewhere
				case err != nil || resp.StatusCode != 200:
					lost.Add(1)
					t.Logf("lost: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				served.Add(1)
			}
		})
	}
	h.eventually("requests flow", func() bool { return served.Load() > 100 })
	if err := h.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
	cancel()
	load.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d requests were lost of %d", lost.Load(), served.Load())
	}
}

func TestAListenerThatEndsByItselfIsTold(t *testing.T) {
	h := open(t, smallest, new(counted))
	_ = h.data.listener.TCPListener.Close()
	if err := <-h.Failed(); err == nil || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("told %v, want which listener it was", err)
	}
}

func TestStopCutsWhatDoesNotEndInTime(t *testing.T) {
	up := &counted{hold: make(chan struct{})}
	h := open(t, smallest+"server: {drain_timeout: 50ms}\n", up)
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := h.client.Get(h.dataURL("/proxy/movies/x"))
		if err == nil {
			resp.Body.Close()
		}
	}()
	h.eventually("the call is made", func() bool { return up.of("/x") == 1 })
	begun := time.Now()
	if h.Stop(context.Background()) == nil {
		t.Error("stop does not tell of the request that it cut")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stop took %s", took)
	}
	<-done
	close(up.hold)
	h.stopErr = nil // reported above
}

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/tuner"
)

const searchedConfig = `upstreams:
  movies:
    base_url: UPSTREAM
    workers: {count: 4, min: 1, max: 64}
tuning: {mode: MODE, interval: 200ms}
`

// slots serves so many requests at once, each in 100 ms, and lets the others wait in their order.
func slots(n int) http.Handler {
	free := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		free <- struct{}{}
		<-time.After(100 * time.Millisecond)
		<-free
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "{}")
	})
}

// crowd keeps so many requests waiting until the test ends.
func (h *house) crowd(n int) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, h.dataURL(fmt.Sprintf("/proxy/movies/%d-%d", i, j)), nil)
				if resp, err := h.client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	h.t.Cleanup(func() { stop(); wg.Wait() })
}

// decided waits for a decision of the tuner on the workers.
func (h *house) decided() tuner.Decision {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for {
		select {
		case <-look.C:
			for _, d := range h.tuner.Decisions(tuner.Filter{Knob: "workers.movies"}) {
				if d.Author == "" {
					return d
				}
			}
		case <-late:
			h.t.Fatal("the tuner decided nothing about the workers")
		}
	}
}

func TestTheWorkersAreFoundInTheServiceAndTheLedgerSaysWhy(t *testing.T) {
	h := open(t, strings.Replace(searchedConfig, "MODE", "active", 1), slots(12))
	h.crowd(40)
	h.eventually("more workers for an upstream that serves 12 at once", func() bool { return h.value("workers.movies") >= 8 })
	d := h.decided()
	t.Logf("%s: %.0f -> %.0f: %s; expected: %s; %s: %s", d.Rule, d.From, d.To, d.Reason, d.Expected, d.Verdict, d.Measured)
	if d.Mode != tuner.ModeActive || d.From == d.To || d.Reason == "" || d.Expected == "" || d.Measured == "" || d.Verdict == "" {
		t.Errorf("the decision is %+v", d)
	}
	h.do("GET", h.adminURL("/admin/v1/tuning"), "").expect(t, 200, `"kind":"curve"`, `"points":[{"concurrency"`, `"chosen"`, `"knee"`)
}

func TestInShadowModeTheWorkersStayAndTheLedgerSaysWhatWouldBeDone(t *testing.T) {
	h := open(t, strings.Replace(searchedConfig, "MODE", "shadow", 1), slots(12))
	h.crowd(40)
	d := h.decided()
	t.Logf("%s: %.0f -> %.0f: %s", d.Rule, d.From, d.To, d.Reason)
	if d.From != 4 || d.To <= 4 || d.Mode != tuner.ModeShadow || d.Verdict != "" {
		t.Errorf("the decision is %+v", d)
	}
	if v := h.value("workers.movies"); v != 4 {
		t.Errorf("in shadow mode the workers went to %v", v)
	}
}

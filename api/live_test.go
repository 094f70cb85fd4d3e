package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// viewer is a connection to one who watches. What is written is not copied.
type viewer struct {
	header http.Header
	// stuck: it takes no bytes until the deadline of the write.
	stuck bool

	mu       sync.Mutex // guards what follows
	deadline time.Time
	frames   []*byte // where each event that came begins in memory
	times    []time.Time
}

func (v *viewer) Header() http.Header { return v.header }
func (v *viewer) WriteHeader(int)     {}
func (v *viewer) FlushError() error   { return nil }

func (v *viewer) SetWriteDeadline(t time.Time) error {
	v.mu.Lock()
	v.deadline = t
	v.mu.Unlock()
	return nil
}

func (v *viewer) Write(b []byte) (int, error) {
	v.mu.Lock()
	deadline := v.deadline
	v.mu.Unlock()
	if v.stuck && bytes.HasPrefix(b, []byte("id: ")) {
		time.Sleep(time.Until(deadline))
		return 0, os.ErrDeadlineExceeded
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if bytes.HasPrefix(b, []byte("id: ")) {
		v.frames, v.times = append(v.frames, &b[0]), append(v.times, time.Now())
	}
	return len(b), nil
}

func TestTwoHundredViewersShareEachSnapshotAndTheSlowHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		built := 0
		live := NewLive(func() any { built++; return map[string]int{"built": built} })
		h := newAdminHandler(t, func(o *AdminOptions) { o.Live = live })
		before := runtime.NumGoroutine()

		var viewers []*viewer
		var done sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		vanish, gone := context.WithCancel(t.Context())
		defer gone()
		for i := range 200 {
			v := &viewer{header: make(http.Header), stuck: i%5 == 0} // 40 are stuck
			watch := ctx
			if i%5 == 1 {
				watch = vanish // 40 vanish
			}
			viewers = append(viewers, v)
			done.Go(func() { h.ServeHTTP(v, httptest.NewRequest("GET", "/admin/v1/live", nil).WithContext(watch)) })
		}
		synctest.Wait()
		if n := live.Viewers(); n != 200 {
			t.Fatalf("%d watch", n)
		}
		const ticks = 60
		for i := range ticks {
			if i == 5 {
				gone()
			}
			live.Tick(time.Now())
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n, goroutines := live.Viewers(), runtime.NumGoroutine()-before; n != 120 || goroutines > 120 {
			t.Errorf("%d viewers and %d goroutines are left of 200 of which 40 vanished and 40 are stuck", n, goroutines)
		}
		if built > ticks+1 {
			t.Errorf("%d snapshots were made for %d ticks", built, ticks)
		}
		first := viewers[2]
		for i, v := range viewers {
			switch {
			case v.stuck && len(v.frames) != 0:
				t.Errorf("viewer %d is stuck and got %d events", i, len(v.frames))
			case i%5 < 2:
			case len(v.frames) != ticks+1:
				t.Errorf("viewer %d got %d events, want the first and %d", i, len(v.frames), ticks)
			case v.frames[ticks/2] != first.frames[ticks/2]:
				t.Errorf("viewer %d got a copy of its own", i)
			case !v.times[ticks/2].Equal(first.times[ticks/2]):
				t.Errorf("viewer %d waited %s", i, v.times[ticks/2].Sub(first.times[ticks/2]))
			}
		}
		cancel()
		done.Wait()
	})
}

func TestASlowViewerSkipsSnapshots(t *testing.T) {
	n := 0
	live := NewLive(func() any { n++; return n })
	live.Tick(time.UnixMilli(1))
	wake, leave, _ := live.watch()
	defer leave()
	for i := range 100 {
		live.Tick(time.UnixMilli(int64(i) + 2))
	}
	<-wake
	if len(wake) != 0 {
		t.Error("more than one token waits")
	}
	f, err := live.frame()
	if err != nil || string(f.json) != "1\n" || f.id != 101 {
		t.Errorf("the frame is %+v, error %v: only the newest snapshot should have been made", f, err)
	}
}

func TestLiveSendsWhatBrowsersExpect(t *testing.T) {
	s := serve(t, newAdminHandler(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/admin/v1/live", nil)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %q", ct)
	}
	want := "retry: 2000\n\nid: "
	b := make([]byte, len(want))
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != want {
		t.Errorf("the stream begins %q, error %v", b, err)
	}
}

func TestNobodyMoreIsLetInThanFits(t *testing.T) {
	live := NewLive(func() any { return 1 })
	for range maxViewers {
		live.watch()
	}
	w := ask(newAdminHandler(t, func(o *AdminOptions) { o.Live = live }), "GET", "/admin/v1/live", "")
	wantProblem(t, w, request.ProblemReducedCapacity)
	if w.Header().Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
}

func liveCases(t *testing.T) []contractCase {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	get := func(path string) *http.Request { return httptest.NewRequest("GET", path, nil) }
	h := newAdminHandler(t)
	full := NewLive(func() any { return 1 })
	for range maxViewers {
		full.watch()
	}
	crowded := newAdminHandler(t, func(o *AdminOptions) { o.Live = full })
	const history, report = "/admin/v1/history", "/admin/v1/history/report"
	return []contractCase{
		{"get", "/admin/v1/now", "200", h, get("/admin/v1/now")},
		{"get", "/admin/v1/live", "200", h, get("/admin/v1/live").WithContext(ended)},
		{"get", "/admin/v1/live", "503", crowded, get("/admin/v1/live")},
		{"get", history, "200", h, get(history)},
		{"get", history, "200", h, get(history + "?signal=rate&from=-15m&step=15s")},
		{"get", history, "200", h, get(history + "?signal=rate&format=csv")},
		{"get", history, "400", h, get(history + "?format=csv")},
		{"get", history, "400", h, get(history + "?signal=rate&format=xml")},
		{"get", history, "400", h, get(history + "?from=yesterday")},
		{"get", history, "400", h, get(history + "?to=1e99")},
		{"get", history, "400", h, get(history + "?from=-1m&to=-2m")},
		{"get", history, "400", h, get(history + "?step=-1s")},
		{"get", history, "400", h, get(history + "?" + strings.Repeat("signal=a&", maxPatterns+1))},
		{"get", report, "200", h, get(report)},
		{"get", report, "400", h, get(report + "?from=1h")},
	}
}

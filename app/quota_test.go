package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"penstock/request"
	"penstock/tuner"
)

// metered is an upstream that admits so many calls for good, tells so by headers if it tells, and asks to wait for an
// hour when they are used up. Nothing of it depends on the clock.
type metered struct {
	limit int64
	tells bool
	calls atomic.Int64
}

func (m *metered) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := m.calls.Add(1)
	w.Header().Set("Cache-Control", "no-store")
	if m.tells {
		w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"hour";q=%d;w=3600`, m.limit))
		w.Header().Set("RateLimit", fmt.Sprintf(`"hour";r=%d;t=3000`, max(m.limit-n, 0)))
	}
	if n > m.limit {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

// askFor sends a request that may wait for a while only.
func (h *house) askFor(path string, u request.Urgency) (status int, body string) {
	h.t.Helper()
	r, err := http.NewRequest("GET", h.dataURL(path), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("X-Deadline-Ms", "300")
	r.Header.Set("Priority", fmt.Sprintf("u=%d", u))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (h *house) quotaModel() tuner.QuotaModel {
	h.t.Helper()
	for _, k := range h.view().Knobs {
		if m, ok := k.Model.(tuner.QuotaModel); ok && k.Knob == "rate.movies" {
			return m
		}
	}
	h.t.Fatal("rate.movies has no model")
	return tuner.QuotaModel{}
}

func TestAToldQuotaIsKeptForTheUrgentAndNeverOverrun(t *testing.T) {
	m := &metered{limit: 20, tells: true}
	h := open(t, smallest, m)
	h.get("/proxy/movies/first").expect(t, 200)
	model := h.quotaModel()
	if len(model.Windows) != 1 || model.Windows[0].Limit != 20 || model.Windows[0].Source != tuner.SourceHeaders || model.Windows[0].Remaining != 19 {
		t.Fatalf("the model is %+v", model)
	}
	refused := 0
	for i := range 40 {
		if status, _ := h.askFor(fmt.Sprintf("/proxy/movies/idle/%d", i), 6); status != 200 {
			refused++
		}
	}
	if refused == 0 || m.calls.Load() > 18 {
		t.Errorf("of 40 idle requests %d had to wait longer than they could, and %d of 20 calls are used up", refused, m.calls.Load())
	}
	// What is left is there for the urgent.
	before := m.calls.Load()
	if status, body := h.askFor("/proxy/movies/urgent", 0); status != 200 || m.calls.Load() != before+1 {
		t.Errorf("an urgent request got %d: %s", status, body)
	}
	for i := range 30 {
		h.askFor(fmt.Sprintf("/proxy/movies/urgent/%d", i), 0)
	}
	if n := m.calls.Load(); n > 20 {
		t.Errorf("%d calls were made where 20 are admitted", n)
	}
	h.do("GET", h.adminURL("/admin/v1/limits"), "").expect(t, 200, `"lifting"`, `"sentence"`, `"name":"hour"`)
}

func TestRetryAfterStopsTheCallsToAnUpstream(t *testing.T) {
	m := &metered{limit: 3}
	h := open(t, smallest, m)
	for i := range 3 {
		h.get(fmt.Sprintf("/proxy/movies/%d", i)).expect(t, 200)
	}
	h.get("/proxy/movies/over").expect(t, 429)
	used := m.calls.Load()
	status, body := h.askFor("/proxy/movies/next", 0)
	if status != 503 && status != 504 || m.calls.Load() != used {
		t.Errorf("after the word to wait an hour a request got %d (%s), and %d calls more were made", status, body, m.calls.Load()-used)
	}
	if status == 503 && !strings.Contains(body, "retry in") {
		t.Errorf("it does not say when to come back: %s", body)
	}
	if held := h.quotaModel().HoldSeconds; held < 1000 {
		t.Errorf("sending goes on in %.0f s", held)
	}
	// An operator's word beats what was learned, but not the upstream's.
	h.do("PUT", h.adminURL("/admin/v1/knobs/rate.movies/pin"), `{"value":100}`).expect(t, 200)
	if h.askFor("/proxy/movies/pinned", 0); m.calls.Load() != used {
		t.Error("a pin of the rate ended the wait that the upstream asked for")
	}
}

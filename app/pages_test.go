package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/web"
)

// sampled has a house take its first sample.
func sampled(t *testing.T, config string) *house {
	t.Helper()
	h := open(t, config, new(counted))
	h.sampler.Take()
	return h
}

func (h *house) page(path string) string {
	h.t.Helper()
	return h.do("GET", h.adminURL("/"+path), "").expect(h.t, 200).body
}

func TestEachPageIsRenderedFromARunningApp(t *testing.T) {
	h := sampled(t, keeping(t.TempDir()))
	h.do("PUT", h.adminURL("/admin/v1/knobs/workers.movies/pin"), `{"value": 7, "note": "for the sale"}`).expect(t, 200)
	for path, want := range map[string]string{
		"": "What holds requests back", "tuning": "for the sale", "queue": "No tenant has anything waiting", "cache": "No key has saved a call yet",
		"preload": "Precision", "upstreams": "closed", "config": "base_url", "config?all=1": "max_entries", "alerts": "All is well",
	} {
		if got := h.page(path); !strings.Contains(got, want) {
			t.Errorf("/%s lacks %q", path, want)
		}
	}
}

func TestAChangeIsShownAtOnce(t *testing.T) {
	h := sampled(t, keeping(t.TempDir()))
	if strings.Contains(h.page("tuning"), "tuner frozen") {
		t.Fatal("frozen from the start")
	}
	h.do("PATCH", h.adminURL(tuningPath), `{"frozen":true}`).expect(t, 200)
	if !strings.Contains(h.page("tuning"), "tuner frozen") {
		t.Error("the page waits for the next sample before it says that the tuner is frozen")
	}
}

func TestTheHistorySurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	h := sampled(t, keeping(dir))
	want := h.history.Signals()
	if len(want) < 20 {
		t.Fatalf("only %d signals are kept: %v", len(want), want)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h = open(t, keeping(dir), new(counted))
	if got := h.history.Signals(); len(got) < len(want) {
		t.Errorf("of %d signals %d are left", len(want), len(got))
	}
	for _, r := range h.history.Reaches() {
		if r.From.IsZero() || time.Since(r.From) > time.Hour {
			t.Errorf("the history reaches back to %v", r.From)
		}
	}
}

func TestABrokenHistoryFileIsToldOfAndStartsAnew(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "history.penstock"), []byte("penstock history 1\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sampled(t, keeping(dir))
	if !strings.Contains(h.log.String(), "history of signals can't be read") {
		t.Errorf("the log does not tell: %s", h.log)
	}
}

func TestNowHasWhatTheHistoryGotAndCanBeRead(t *testing.T) {
	h := sampled(t, keeping(t.TempDir()))
	var n web.Now
	if err := json.Unmarshal([]byte(h.page("admin/v1/now")), &n); err != nil {
		t.Fatal(err)
	}
	if n.Status != "ready" || len(n.Upstreams) == 0 || len(n.Knobs) == 0 || n.Signals["workers/movies"] == 0 {
		t.Errorf("now is %+v", n)
	}
	for name := range n.Signals {
		if _, ok := h.history.Mean(name, n.At.Add(-time.Minute), n.At.Add(time.Minute)); ok == 0 {
			t.Errorf("signal %s is not in the history", name)
		}
	}
}

package app

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/configs"
	"penstock/engine"
	"penstock/engine/natsengine"
	"penstock/tuner"
)

// keeping is the smallest configuration with a data_dir.
func keeping(dir string) string { return "data_dir: " + dir + "\n" + smallest }

// restart stops h and opens another App on the same configuration.
func (h *house) restart() *house {
	h.t.Helper()
	if err := h.Stop(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	b, err := os.ReadFile(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	return open(h.t, string(b), nil)
}

// inStore lets f change the store of a data_dir that no App has open.
func inStore(t *testing.T, dir string, f func(e engine.Engine)) {
	t.Helper()
	e, err := natsengine.Open(t.Context(), natsengine.Options{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	f(e)
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func putJSON(t *testing.T, e engine.Engine, bucket, key string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := e.KV(t.Context(), engine.KVOptions{Name: bucket})
	if err == nil {
		_, err = kv.Put(t.Context(), key, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const pinPath = "/admin/v1/knobs/workers.movies/pin"

func (h *house) value(name string) float64 {
	h.t.Helper()
	k, ok := h.knobs.Lookup(name)
	if !ok {
		h.t.Fatalf("no knob %s", name)
	}
	return k.Value()
}

func TestPinsSurviveARestart(t *testing.T) {
	h := open(t, keeping(t.TempDir()), new(counted))
	h.do("PUT", h.adminURL(pinPath), `{"value":5,"for":"2h","note":"sale day"}`).expect(t, 200)
	h.do("PUT", h.adminURL("/admin/v1/knobs/batch.target.movies/pin"), `{"value":7}`).expect(t, 200)
	until := h.mustKnob("workers.movies").State().Pin.Until

	h = h.restart()
	p := h.mustKnob("workers.movies").State().Pin
	if p == nil || p.Value != 5 || p.Note != "sale day" || p.Author != "operator" || !p.Until.Equal(until) || p.FromFile {
		t.Fatalf("restored %+v, until %v", p, until)
	}
	if h.value("batch.target.movies") != 7 {
		t.Error("the second pin is gone")
	}
	h.do("GET", h.adminURL("/admin/v1/decisions?knob=workers.movies"), "").expect(t, 200, `"rule":"restore"`, "sale day", `"rule":"pin"`)
	h.do("DELETE", h.adminURL(pinPath), "").expect(t, 200)

	h = h.restart()
	if p := h.mustKnob("workers.movies").State().Pin; p != nil {
		t.Errorf("the pin that was removed is back: %+v", p)
	}
}

func TestAnAnsweredPinOutlivesAKill(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	h := open(t, keeping(dir), new(counted))
	h.do("PUT", h.adminURL(pinPath), `{"value":5}`).expect(t, 200)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if h := open(t, keeping(copied), new(counted)); h.value("workers.movies") != 5 {
		t.Error("the pin is gone")
	}
}

func TestPinsThatCantStandAreNotRestored(t *testing.T) {
	dir := t.TempDir()
	inStore(t, dir, func(e engine.Engine) {
		putJSON(t, e, "pins", "workers.movies", pinRecord{Value: "5", Until: time.Now().Add(-time.Second)})
		putJSON(t, e, "pins", "batch.target.movies", pinRecord{Value: "1e9"})
		putJSON(t, e, "pins", "batch.linger.movies", pinRecord{Value: "nonsense"})
		putJSON(t, e, "pins", "preload.threshold", "not a record")
		putJSON(t, e, "pins", "workers.gone", pinRecord{Value: "3", Note: "waits"})
	})
	h := open(t, keeping(dir), new(counted))
	for _, k := range h.knobs.All() {
		if p := k.State().Pin; p != nil {
			t.Errorf("%s is pinned: %+v", k.Spec().Name, p)
		}
	}
	for _, want := range []string{"has expired", "is not within", "nonsense", "preload.threshold", "workers.gone"} {
		if !strings.Contains(h.log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, h.log)
		}
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	inStore(t, dir, func(e engine.Engine) {
		kv, err := e.KV(t.Context(), engine.KVOptions{Name: "pins"})
		if err != nil {
			t.Fatal(err)
		}
		list, err := kv.List(t.Context())
		var left []string
		for _, x := range list {
			left = append(left, x.Key)
		}
		// What waits for its knob stays, and so does what can't be read.
		if got := strings.Join(left, " "); err != nil || got != "preload.threshold workers.gone" {
			t.Errorf("left are %s, %v", got, err)
		}
	})
}

func TestTheLedgerSurvivesARestart(t *testing.T) {
	h := open(t, keeping(t.TempDir()), new(counted))
	id := h.tuner.Record(tuner.Decision{Knob: "workers.movies", From: 8, To: 9, Rule: "grow", Mode: tuner.ModeActive, Reason: "goodput rose"})
	for range 100 {
		h.tuner.Record(tuner.Decision{Knob: "workers.movies", Rule: "more"})
	}
	h = h.restart()
	h.do("GET", h.adminURL("/admin/v1/decisions/"+id), "").expect(t, 200, "goodput rose", "the process ended before")
	fresh := h.tuner.Record(tuner.Decision{Knob: "workers.movies", Rule: "new"})
	h = h.restart()
	got := h.tuner.Decisions(tuner.Filter{})
	if len(got) != 102 || got[0].ID != fresh || got[101].ID != id {
		t.Errorf("%d decisions, the newest %+v", len(got), got[0])
	}
}

func TestWhatTheTunerFoundIsTrustedByItsAge(t *testing.T) {
	check := func(name string, r tunedRecord, want float64) {
		t.Helper()
		dir := t.TempDir()
		inStore(t, dir, func(e engine.Engine) { putJSON(t, e, "tuned", "workers.movies", r) })
		h := open(t, keeping(dir), new(counted))
		if got := h.value("workers.movies"); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		restored := len(h.tuner.Decisions(tuner.Filter{Knob: "workers.movies"}))
		if base := h.mustKnob("workers.movies").State().Base; (want != base) != (restored == 1) {
			t.Errorf("%s: %d records in the ledger", name, restored)
		}
	}
	base := configs.Defaults().Workers.Count
	b, now := number(float64(base)), time.Now()
	check("fresh", tunedRecord{Value: number(float64(base + 10)), Base: b, At: now.Add(-time.Minute)}, float64(base+10))
	check("half a day old", tunedRecord{Value: number(float64(base + 10)), Base: b, At: now.Add(-12*time.Hour - 30*time.Minute)}, float64(base+5))
	check("two days old", tunedRecord{Value: number(float64(base + 10)), Base: b, At: now.Add(-48 * time.Hour)}, float64(base))
	check("out of bounds", tunedRecord{Value: "1e9", Base: b, At: now}, float64(base))
	check("another base", tunedRecord{Value: number(float64(base + 10)), Base: "3", At: now}, float64(base))
	check("nonsense", tunedRecord{Value: "NaN", Base: b, At: now}, float64(base))
}

func TestWhatTheTunerFoundSurvivesARestart(t *testing.T) {
	h := open(t, keeping(t.TempDir()), new(counted))
	k := h.mustKnob("workers.movies")
	want := k.Value() + 3
	if err := k.Tune(want, "test"); err != nil {
		t.Fatal(err)
	}
	h = h.restart()
	if s := h.mustKnob("workers.movies").State(); s.Value != want || s.Source != "tuner" {
		t.Errorf("restored %+v, want %v", s, want)
	}
	h.write(strings.Replace(mustRead(t, h.config), "data_dir", "tuning: {mode: shadow}\ndata_dir", 1))
	h = h.restart()
	if s := h.mustKnob("workers.movies").State(); s.Tuned != nil {
		t.Errorf("in shadow mode it begins with %+v", s)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnotherProcessOnTheDataDirIsRefused(t *testing.T) {
	h := open(t, keeping(t.TempDir()), new(counted))
	_, err := New(Options{Config: configs.LoadOptions{Path: h.config, Flags: map[string]string{
		"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0",
	}}, LogOutput: h.log, PollInterval: -1})
	if err == nil || !strings.Contains(err.Error(), "data_dir") || !strings.Contains(err.Error(), "--ephemeral") {
		t.Errorf("it says %v", err)
	}
	h.get("/proxy/movies/x").expect(t, 200)
}

func TestAnEphemeralRunLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	config := filepath.Join(t.TempDir(), "p.yaml")
	text := "data_dir: " + dir + "\ncache: {persist: true}\nupstreams: {movies: {base_url: http://127.0.0.1:9}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(syncBuffer)
	a, err := New(Options{Ephemeral: true, LogOutput: log, PollInterval: -1, Config: configs.LoadOptions{
		Path: config, Flags: map[string]string{"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	if err := a.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data_dir is there: %v", err)
	}
	if !strings.Contains(log.String(), "nothing is kept") {
		t.Errorf("it does not say so: %s", log)
	}
}

func TestADamagedStoreStartsWithAWarning(t *testing.T) {
	dir := t.TempDir()
	h := open(t, keeping(dir), new(counted))
	h.do("PUT", h.adminURL(pinPath), `{"value":5}`).expect(t, 200)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	metas, err := filepath.Glob(filepath.Join(dir, "engine", "solo", "jetstream", "*", "streams", "*", "meta.inf"))
	if err != nil || len(metas) < 5 {
		t.Fatalf("%v, %v", metas, err)
	}
	for _, m := range metas {
		if err := os.WriteFile(m, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h = open(t, keeping(dir), new(counted))
	if !strings.Contains(h.log.String(), "damaged") {
		t.Errorf("no warning: %s", h.log)
	}
	h.do("PUT", h.adminURL(pinPath), `{"value":6}`).expect(t, 200)
	if h = h.restart(); h.value("workers.movies") != 6 {
		t.Error("nothing is kept after the damage")
	}
}

func TestDecisionsAreStreamedUntilTheEnd(t *testing.T) {
	h := open(t, smallest, new(counted))
	resp, err := h.client.Get(h.adminURL("/admin/v1/decisions/stream?knob=workers.movies"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func(prefix string) string {
		t.Helper()
		for lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return s
			}
		}
		t.Fatalf("the stream ended without %q: %v", prefix, lines.Err())
		return ""
	}
	next("retry:") // from here on nothing is missed
	h.tuner.Record(tuner.Decision{Knob: "other", Rule: "no"})
	id := h.tuner.Record(tuner.Decision{Knob: "workers.movies", Rule: "grow", Reason: "goodput rose"})
	if got := next("data: "); !strings.Contains(got, id) || !strings.Contains(got, "goodput rose") {
		t.Errorf("streamed %s", got)
	}
	since := "?since=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	h.do("GET", h.adminURL("/admin/v1/decisions"+since), "").expect(t, 200, id)
	if a := h.do("GET", h.adminURL("/admin/v1/decisions"+since+"&verdict=worse"), "").expect(t, 200); strings.Contains(a.body, id) {
		t.Errorf("it was not judged worse: %s", a.body)
	}
	if err := h.Stop(context.Background()); err != nil { // an open stream must not hold it up
		t.Error(err)
	}
	for lines.Scan() {
	}
}

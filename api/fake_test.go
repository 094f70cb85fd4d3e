package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock/knob"
	"penstock/request"
)

// table is a fixed Routes with one upstream, movies.
type table struct {
	routes map[string]*request.Route
	proxy  *request.Route
}

func newTable(t testing.TB) *table {
	t.Helper()
	movie := &request.Route{Name: "movie", Upstream: "movies", Method: http.MethodGet, Path: "/movies/{id}", Urgency: 3,
		Params: map[string]request.Param{"id": {Required: true, Pattern: "[a-z0-9]+", Doc: "the film's id"}},
		Cache:  request.CachePolicy{Mode: request.CacheTTL, TTL: request.FixedDuration(30e9)}}
	brands := &request.Route{Name: "brands", Upstream: "movies", Path: "/brands", Urgency: 5}
	for _, r := range []*request.Route{movie, brands} {
		if err := r.Compile(); err != nil {
			t.Fatal(err)
		}
	}
	return &table{map[string]*request.Route{"movie": movie, "brands": brands},
		request.NewProxyRoute("movies", request.CachePolicy{})}
}

func (t *table) Route(name string) (*request.Route, bool) { r, ok := t.routes[name]; return r, ok }

func (t *table) Routes() (all []*request.Route) {
	for _, r := range t.routes {
		all = append(all, r)
	}
	return all
}

func (t *table) Proxy(upstream string) (*request.Route, bool) { return t.proxy, upstream == "movies" }

// newDataHandler makes a data plane in front of do.
func newDataHandler(t testing.TB, do request.DoerFunc, change ...func(*DataOptions)) http.Handler {
	t.Helper()
	o := DataOptions{Doer: do, Routes: newTable(t), Tenants: headerTenants{}, Version: "test"}
	for _, f := range change {
		f(&o)
	}
	h, err := NewData(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func withLimits(l Limits) func(*DataOptions) {
	return func(o *DataOptions) { o.Limits = func() Limits { return l } }
}

// reply makes an answer held in memory.
func reply(status int, body string, header ...string) *request.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = append(h[header[i]], header[i+1])
	}
	return &request.Response{Status: status, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body)),
		Cache: request.CacheStatus{Fwd: "miss"}}
}

func replies(status int, body string, header ...string) request.DoerFunc {
	return func(context.Context, *request.Request) (*request.Response, error) {
		return reply(status, body, header...), nil
	}
}

func fails(err error) request.DoerFunc {
	return func(context.Context, *request.Request) (*request.Response, error) { return nil, err }
}

// hang answers only when the context ends.
func hang(ctx context.Context, _ *request.Request) (*request.Response, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// keep answers 200 and remembers the request.
func keep(got **request.Request) request.DoerFunc {
	return func(_ context.Context, r *request.Request) (*request.Response, error) {
		*got = r
		return reply(200, `{"ok":true}`), nil
	}
}

// ask has h answer a request; header are names and values.
func ask(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, in)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantProblem checks that w is a whole problem document of kind p and returns it.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, p request.Problem) problemDoc {
	t.Helper()
	var doc problemDoc
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("answer %d %q is no problem document: %v", w.Code, w.Body, err)
	}
	if doc.Type != p.Type() || doc.Status != p.Status() || w.Code != p.Status() || doc.Title != p.Title() {
		t.Fatalf("got %d %+v, want %s %d", w.Code, doc, p, p.Status())
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type is %q", ct)
	}
	if doc.RequestID == "" || doc.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("request_id %q, X-Request-Id %q", doc.RequestID, w.Header().Get("X-Request-Id"))
	}
	if doc.Detail == "" || doc.Instance == "" {
		t.Errorf("detail %q or instance %q is empty", doc.Detail, doc.Instance)
	}
	return doc
}

// serve puts h on a real socket until the test ends.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

// fakeConfig is a Config with fixed answers.
type fakeConfig struct {
	view    ConfigView
	changes []ConfigChange
	err     error
}

func (c *fakeConfig) Effective() ConfigView                          { return c.view }
func (c *fakeConfig) Diff(context.Context) ([]ConfigChange, error)   { return c.changes, c.err }
func (c *fakeConfig) Reload(context.Context) ([]ConfigChange, error) { return c.changes, c.err }

// fakeCache remembers the last purge.
type fakeCache struct{ last PurgeRequest }

func (c *fakeCache) Stats() any { return map[string]int{"entries": 2} }

func (c *fakeCache) Purge(_ context.Context, p PurgeRequest) (int, error) {
	c.last = p
	return 7, nil
}

type fakeDecisions struct{ last DecisionQuery }

func (d *fakeDecisions) List(q DecisionQuery) any {
	d.last = q
	return []map[string]any{{"id": "1", "knob": "workers.movies"}}
}

func (d *fakeDecisions) Get(id string) (any, bool) {
	return map[string]any{"id": id}, id == "1"
}

// Changes gives the changes 1 to 3.
func (d *fakeDecisions) Changes(rev uint64, q DecisionQuery) (list []DecisionEvent) {
	for i := rev + 1; i <= 3; i++ {
		list = append(list, DecisionEvent{Rev: i, Decision: map[string]any{"id": i, "knob": q.Knob}})
	}
	return list
}

func (d *fakeDecisions) Rev() uint64 { return 3 }

func (d *fakeDecisions) Follow() (<-chan struct{}, func()) { return nil, func() {} }

// newKnobs makes a registry with one knob of each kind, one of them pinned by the file.
func newKnobs(t testing.TB) *knob.Registry {
	t.Helper()
	r := knob.NewRegistry()
	for _, s := range []knob.Spec{
		{Name: "workers.movies", Kind: knob.KindInt, Unit: "permits", Default: 8, Min: 1, Max: 64, MaxStep: 8, Doc: "How many calls at once."},
		{Name: "cache.ttl.movie", Kind: knob.KindDuration, Unit: "s", Default: 30, Min: 0, Max: 3600},
		{Name: "batching.movies", Kind: knob.KindBool, Default: 1, Min: 0, Max: 1},
		{Name: "fixed.movies", Kind: knob.KindFloat, Default: .5, Min: 0, Max: 1},
	} {
		if _, err := r.Register(s); err != nil {
			t.Fatal(err)
		}
	}
	k, _ := r.Lookup("fixed.movies")
	if err := k.Pin(knob.Pin{Value: .25, FromFile: true, Author: "file"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// newAdminHandler makes an admin plane with a fake behind each path.
func newAdminHandler(t testing.TB, change ...func(*AdminOptions)) http.Handler {
	t.Helper()
	o := AdminOptions{
		Config:    &fakeConfig{changes: []ConfigChange{{Key: "cache.max_bytes", From: 1, To: 2}, {Key: "server.listen", From: ":1", To: ":2", RestartNeeded: true}}},
		Knobs:     newKnobs(t),
		Cache:     &fakeCache{},
		Decisions: &fakeDecisions{},
		Tuning:    fakeTuning{},
		Live:      NewLive(func() any { return map[string]int{"in_flight": 3} }),
		History:   fakeHistory{},
		Preload:   func() any { return json.RawMessage(preloadSample) },
		Metrics:   func(w io.Writer) { _, _ = io.WriteString(w, "penstock_up 1\n") },
		Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<!doctype html><title>Penstock</title>")
		}),
		Profiling: func() bool { return true },
		Version:   "test",
	}
	for _, f := range change {
		f(&o)
	}
	h, err := NewAdmin(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fakeTuning knows one decision, 1, and one knob, workers.movies.
type fakeTuning struct{}

func (fakeTuning) View() any {
	return map[string]any{"mode": "active", "frozen": false, "switches": map[string]any{}, "modes": map[string]any{},
		"knobs": []map[string]any{{"knob": "workers.movies", "mode": "active", "value": 8, "rule": "settled", "reason": "all is well"}}}
}

func (fakeTuning) Change(c TuningChange) error {
	for name := range c.Modes {
		if name != "workers.movies" {
			return errors.New("no knob is named " + name)
		}
	}
	return nil
}

func (fakeTuning) RollBack(id, author, note string) (any, bool, error) {
	if note == "late" {
		return nil, true, errors.New("the knob has moved on")
	}
	return map[string]any{"id": id, "author": author}, id == "1", nil
}

// preloadSample is an answer of the preloader.
const preloadSample = `{"enabled":true,"threshold":0.2,"budget_ratio":0.1,"budget_left":3,"standing_down":false,"observed":9,"dropped":0,"crowded":0,
"tables":[{"name":"keys","used":1,"size":8,"bytes":64}],"totals":{` + preloadCounts + `},
"sources":[{"source":"sequence","state":"on","predicted":4,"measured_ratio":0.5,` + preloadCounts + `}],
"routes":[{"upstream":"movies","route":"movie",` + preloadCounts + `}],
"calibration":[{"source":"sequence","predicted_ratio":0.55,"measured_ratio":0.48,"count":12}],
"graph":{"nodes":[{"id":"1","label":"movie?id=7","upstream":"movies","route":"movie"}],"edges":[{"from":"1","to":"1","source":"sequence","weight":0.8,"count":3,"seconds":1.2}]}}`

const preloadCounts = `"issued":3,"used":1,"late":1,"evicted":0,"expired":1,"unstored":0,"failed":0,"redundant":0,"outstanding":0,"precision_ratio":0.67,"coverage_ratio":0.1,"timeliness_ratio":0.5,"extra_calls_ratio":0.01,"wasted_bytes":10,"saved_seconds":0.4`

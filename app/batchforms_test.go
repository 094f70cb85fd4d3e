package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"penstock/demo"
)

// batchRoutes has a route for each batch form. With one worker, what comes while a call is held
// queues, and travels together once that call ends.
const batchRoutes = `
upstreams:
  movies:
    base_url: UPSTREAM
    workers: {count: 1, min: 1, max: 1}
    cache: {mode: ttl, ttl: 10m, negative_ttl: 10m}
preload: {enabled: false}
tuning: {mode: "off"}
batching: {enabled: BATCHING, linger: 0s}
routes:
  query:
    upstream: movies
    path: /movies/{id}
    batch: {form: query, param: id, path: /movies, retry_missing: true, error_path: error}
  path:
    upstream: movies
    path: /shelf/{id}
    batch: {form: path, param: id, separator: ";", by: order, error_path: error}
  json_array:
    upstream: movies
    path: /items/{id}
    batch: {form: json_array, param: id, path: /items, error_path: error}
  jsonrpc:
    upstream: movies
    method: POST
    path: /rpc
    body: {jsonrpc: "2.0", id: 1, method: movie.get, params: {id: "{id}"}}
    batch: {form: jsonrpc}
  graphql:
    upstream: movies
    method: POST
    path: /graphql
    body: {query: "query($id: Int!) { movie(id: $id) { title } }", variables: {id: "{id}"}}
    batch: {form: graphql}
  input:
    upstream: movies
    method: POST
    path: /v1/embeddings
    body: {model: small, input: "{id}"}
    batch: {form: input}
  mget:
    upstream: movies
    path: /_doc/{id}
    batch: {form: mget, param: id, path: /_mget}
`

// batchForm is what the tests know of the route of one form.
type batchForm struct {
	name string
	// unknown is an id that the upstream has nothing for; empty: it has something for all.
	unknown string
	// byOrder: nothing in an item says whose it is.
	byOrder bool
	// items is the field of a batch's answer that holds the items; empty: it is the array.
	items string
	// dropped is the status of a member whose item the answer leaves out; by order a batch that
	// is short is asked again until all are answered.
	dropped int
	// spoil makes an item a failure, spoiled is the member's status then.
	spoil   func(item map[string]any)
	spoiled int
}

func withError(item map[string]any) { item["error"] = map[string]any{"code": 5, "message": "injected"} }

var batchForms = []batchForm{
	{name: "query", unknown: "4711", dropped: 200, spoil: withError, spoiled: 502},
	{name: "path", unknown: "4711", byOrder: true, dropped: 200, spoil: withError, spoiled: 502},
	{name: "json_array", dropped: 404, spoil: withError, spoiled: 502},
	{name: "jsonrpc", unknown: "4711", dropped: 502, spoiled: 200, spoil: func(item map[string]any) {
		delete(item, "result")
		withError(item)
	}},
	{name: "graphql", unknown: "4711", byOrder: true, dropped: 200, spoiled: 200, spoil: func(item map[string]any) {
		item["data"], item["errors"] = nil, []any{map[string]any{"message": "injected"}}
	}},
	{name: "input", items: "data", dropped: 502, spoiled: 502, spoil: func(item map[string]any) {
		item["index"] = 1000 // of nobody
	}},
	{name: "mget", unknown: "4711", items: "docs", dropped: 404, spoil: withError, spoiled: 502},
}

// batchWorld is the demo API with one call held, calls noted and faults injected.
type batchWorld struct {
	api   *demo.API
	inner http.Handler

	mu    sync.Mutex // guards what follows
	calls []string   // method, URL and body of each call but the held ones
	held  chan struct{}
	free  chan struct{}
	// poison makes every call that names it a 400.
	poison string
	// mangle changes the items of a batch's answer.
	mangle func(items []json.RawMessage) []json.RawMessage
	items  string
}

func newBatchWorld(t *testing.T) *batchWorld {
	t.Helper()
	api, err := demo.NewAPI(demo.Options{Seed: 1, Base: demo.Conditions{LatencyMS: 0.01, Slots: 16}, Sigma: -1, PerItem: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := &batchWorld{api: api}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc("GET /hold", func(http.ResponseWriter, *http.Request) {
		w.mu.Lock()
		held, free := w.held, w.free
		w.mu.Unlock()
		close(held)
		<-free
	})
	mux.HandleFunc("GET /shelf/{ids}", serveShelf)
	w.inner = mux
	return w
}

// serveShelf is an API with ids in the path, answered in their order with null for an unknown one.
func serveShelf(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	ids := strings.Split(r.PathValue("ids"), ";")
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = fmt.Sprintf(`{"place": "shelf %s", "height" : 1e2}`, id)
		if id == "4711" {
			items[i] = "null"
		}
	}
	if len(ids) > 1 {
		fmt.Fprintf(w, "[%s]\n", strings.Join(items, ", "))
		return
	}
	if items[0] == "null" {
		w.WriteHeader(http.StatusNotFound)
	}
	fmt.Fprint(w, items[0])
}

func (w *batchWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		w.inner.ServeHTTP(rw, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := r.Method + " " + r.URL.Path + " " + r.URL.RawQuery + " " + string(body)
	w.mu.Lock()
	w.calls = append(w.calls, call)
	poison, mangle, items := w.poison, w.mangle, w.items
	w.mu.Unlock()
	if poison != "" && regexp.MustCompile(`\b`+poison+`\b`).MatchString(call) {
		rw.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(rw, `{"error":"a bad id"}`)
		return
	}
	if mangle == nil {
		w.inner.ServeHTTP(rw, r)
		return
	}
	rec := httptest.NewRecorder()
	w.inner.ServeHTTP(rec, r)
	rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
	rw.WriteHeader(rec.Code)
	_, _ = rw.Write(mangled(rec.Body.Bytes(), items, mangle))
}

// mangled changes a batch's answer, and leaves that of a single request alone.
func mangled(body []byte, field string, mangle func([]json.RawMessage) []json.RawMessage) []byte {
	var items []json.RawMessage
	var whole map[string]json.RawMessage
	if field == "" {
		if json.Unmarshal(body, &items) != nil {
			return body
		}
	} else if json.Unmarshal(body, &whole) != nil || json.Unmarshal(whole[field], &items) != nil {
		return body
	}
	if len(items) < 2 {
		return body
	}
	out := []byte("[") // joined by hand, so that the items stay byte for byte as they are
	for i, it := range mangle(items) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, it...)
	}
	out = append(out, ']')
	if field != "" {
		return bytes.Replace(body, whole[field], out, 1)
	}
	return out
}

func (w *batchWorld) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}

func (w *batchWorld) made() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

func (w *batchWorld) inject(poison, items string, mangle func([]json.RawMessage) []json.RawMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.poison, w.items, w.mangle = poison, items, mangle
}

// hold makes the next call of /hold wait; it is there once held is closed.
func (w *batchWorld) hold() (held <-chan struct{}, release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.free = make(chan struct{}), make(chan struct{})
	return w.held, sync.OnceFunc(func() { close(w.free) })
}

// openBatching starts an App on the world, with or without batching.
func openBatching(t *testing.T, w *batchWorld, batching bool) *house {
	t.Helper()
	return open(t, strings.ReplaceAll(batchRoutes, "BATCHING", fmt.Sprint(batching)), w)
}

func (h *house) ask(route, id string) answer {
	h.t.Helper()
	param := id
	if route == "input" || route == "json_array" { // these APIs want texts
		param = fmt.Sprintf("%q", id)
	}
	return h.do("POST", h.dataURL("/v1/requests"), fmt.Sprintf(`{"route":%q,"params":{"id":%s}}`, route, param))
}

// askTogether has clients clients ask for each id while the one permit is taken, and lets them go
// once all of them wait. It returns the answers by id.
func (h *house) askTogether(w *batchWorld, route string, ids []string, clients int) map[string][]answer {
	h.t.Helper()
	held, release := w.hold()
	var all sync.WaitGroup
	defer all.Wait()
	defer release()
	all.Go(func() { h.do("GET", h.dataURL("/proxy/movies/hold"), "") })
	<-held
	var mu sync.Mutex
	answers := make(map[string][]answer)
	for range clients {
		for _, id := range ids {
			all.Go(func() {
				a := h.ask(route, id)
				mu.Lock()
				defer mu.Unlock()
				answers[id] = append(answers[id], a)
			})
		}
	}
	h.eventually("all requests wait", func() bool {
		return h.Stats().Upstreams["movies"].Scheduler.Queued == len(ids) &&
			h.window.Signals(signalsSpan).Total.Requests.InFlight == int64(1+clients*len(ids))
	})
	release()
	all.Wait()
	return answers
}

// usage is what a batch can only share out: how many tokens one member's input has.
var usage = regexp.MustCompile(`,"usage":\{"prompt_tokens":[1-9][0-9]*,"total_tokens":[1-9][0-9]*\}`)

// same reports whether two answers are the same to a client, but for the usage of embeddings.
func same(a, b answer) bool {
	return a.status == b.status && a.header.Get("Content-Type") == b.header.Get("Content-Type") &&
		usage.ReplaceAllString(a.body, "") == usage.ReplaceAllString(b.body, "")
}

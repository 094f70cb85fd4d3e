package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP receiver.
type collector struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	spans []*tracepb.Span
	auth  string
}

func collect(t *testing.T) *collector {
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		data := new(tracepb.TracesData)
		if err == nil {
			err = proto.Unmarshal(b, data)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("a bad export: %v %s %v", err, r.URL, r.Header)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.auth = r.Header.Get("Authorization")
		for _, rs := range data.ResourceSpans {
			for _, s := range rs.ScopeSpans {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// traced starts an App that sends its spans to c.
func traced(t *testing.T, c *collector, more, config string, upstream http.Handler) *house {
	t.Helper()
	return open(t, "tracing: {enabled: true, endpoint: "+c.URL+"/v1/traces"+more+"}\n"+config, upstream)
}

// all flushes by a stop, and gives the spans by name.
func (c *collector) all(h *house) map[string][]*tracepb.Span {
	h.t.Helper()
	if err := h.Stop(context.Background()); err != nil {
		h.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := make(map[string][]*tracepb.Span)
	for _, s := range c.spans {
		m[s.Name] = append(m[s.Name], s)
	}
	return m
}

func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			if v := a.Value.GetStringValue(); v != "" {
				return v
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

func (h *house) getTraced(path, parent string) {
	h.t.Helper()
	req, _ := http.NewRequest("GET", h.dataURL(path), nil)
	if parent != "" {
		req.Header.Set("Traceparent", parent)
		req.Header.Set("Tracestate", "vendor=1")
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		h.t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
}

const (
	clientTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientParent = "00f067aa0ba902b7"
)

// heard answers and keeps the trace headers.
type heard struct {
	counted
	mu            sync.Mutex
	parent, state string
}

func (u *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.parent, u.state = r.Header.Get("Traceparent"), r.Header.Get("Tracestate")
	u.mu.Unlock()
	u.counted.ServeHTTP(w, r)
}

func TestTheSpansOfARequestAreATreeUnderItsClientsSpan(t *testing.T) {
	c, up := collect(t), new(heard)
	h := traced(t, c, ", sample_ratio: 0", smallest, up)
	h.getTraced("/proxy/movies/x?secret=1", "00-"+clientTrace+"-"+clientParent+"-01")
	got := c.all(h)
	if len(c.spans) != 3 || len(got["request movies/proxy"]) != 1 || len(got["queue movies"]) != 1 || len(got["call movies"]) != 1 {
		t.Fatalf("spans %v", got)
	}
	request, queue, call := got["request movies/proxy"][0], got["queue movies"][0], got["call movies"][0]
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) != clientTrace || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("span %v", s)
		}
		if strings.Contains(s.String(), "secret") {
			t.Errorf("it tells the query: %v", s)
		}
	}
	if hex.EncodeToString(request.ParentSpanId) != clientParent || string(queue.ParentSpanId) != string(request.SpanId) || string(call.ParentSpanId) != string(request.SpanId) {
		t.Errorf("not a tree: %v", c.spans)
	}
	if call.StartTimeUnixNano < queue.StartTimeUnixNano || attribute(request, "http.response.status_code") != "200" || attribute(request, "penstock.cache") == "hit" {
		t.Errorf("request %v, call %v", request, call)
	}
	if want := "00-" + clientTrace + "-" + hex.EncodeToString(call.SpanId) + "-01"; up.parent != want || up.state != "vendor=1" {
		t.Errorf("the upstream was told %q %q, want %q", up.parent, up.state, want)
	}
}

func TestACacheHitIsOneSpan(t *testing.T) {
	c, up := collect(t), new(counted)
	h := traced(t, c, ", sample_ratio: 1", smallest, up)
	h.get("/proxy/movies/x").expect(t, 200)
	h.get("/proxy/movies/x").expect(t, 200) // ahead of net/http's server
	h.getTraced("/proxy/movies/x", "00-"+clientTrace+"-"+clientParent+"-01")
	got := c.all(h)
	hits, traces := 0, make(map[string]bool)
	for _, s := range got["request movies/proxy"] {
		traces[string(s.TraceId)] = true
		if attribute(s, "penstock.cache") == "hit" {
			hits++
		}
	}
	if hits != 2 || len(traces) != 3 || len(got["call movies"]) != 1 || len(got["queue movies"]) != 1 {
		t.Errorf("%d hits in %d traces: %v", hits, len(traces), got)
	}
}

func TestABatchLinksToItsMembers(t *testing.T) {
	c := collect(t)
	release, begun := make(chan struct{}), make(chan struct{}, 8)
	var mu sync.Mutex
	parents := make(map[string]string)
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		parents[r.URL.Path] = r.Header.Get("Traceparent")
		mu.Unlock()
		if r.URL.Path == "/movies/first" {
			begun <- struct{}{}
			<-release
		}
		if ids := r.URL.Query().Get("ids"); ids != "" {
			var items []string
			for _, id := range strings.Split(ids, ",") {
				items = append(items, `{"id":"`+id+`"}`)
			}
			fmt.Fprintf(w, "[%s]", strings.Join(items, ","))
			return
		}
		fmt.Fprint(w, `{"id":"first"}`)
	})
	h := traced(t, c, ", sample_ratio: 1", `
upstreams: {movies: {base_url: UPSTREAM, workers: {count: 1, min: 1, max: 1}}}
preload: {enabled: false}
tuning: {mode: "off"}
batching: {linger: 0s}
routes: {movie: {upstream: movies, path: "/movies/{id}", batch: {form: query, param: id, path: /movies}}}
`, up)
	var wg sync.WaitGroup
	ask := func(id string) {
		wg.Go(func() {
			h.do("POST", h.dataURL("/v1/requests"), `{"route":"movie","params":{"id":"`+id+`"}}`).expect(t, 200)
		})
	}
	ask("first")
	<-begun
	ask("1")
	ask("2")
	h.eventually("two wait", func() bool { return h.table.Load().nodes["movies"].scheduler.Stats().Queued == 2 })
	close(release)
	wg.Wait()
	got := c.all(h)
	if len(got["batch movies/movie"]) != 1 || len(got["request movies/movie"]) != 3 || len(got["queue movies"]) != 3 || len(got["call movies"]) != 2 {
		t.Fatalf("spans %v", got)
	}
	batch := got["batch movies/movie"][0]
	members := make(map[string]bool)
	for _, s := range got["request movies/movie"] {
		if len(s.Links) == 1 && string(s.Links[0].SpanId) == string(batch.SpanId) {
			members[string(s.SpanId)] = true
		}
	}
	if len(members) != 2 || len(batch.Links) != 2 || len(batch.ParentSpanId) != 0 || attribute(batch, "penstock.batch.members") != "2" {
		t.Fatalf("batch %v of %d members", batch, len(members))
	}
	for _, l := range batch.Links {
		if !members[string(l.SpanId)] {
			t.Errorf("a link to nobody: %v", l)
		}
	}
	for _, s := range got["call movies"] {
		if string(s.ParentSpanId) != string(batch.SpanId) {
			continue
		}
		if want := "00-" + hex.EncodeToString(batch.TraceId) + "-" + hex.EncodeToString(s.SpanId) + "-01"; parents["/movies"] != want || attribute(s, "penstock.items") != "2" {
			t.Errorf("the upstream was told %q, want %q: %v", parents["/movies"], want, s)
		}
		return
	}
	t.Errorf("no call under the batch: %v", got["call movies"])
}

func TestTheClientsDecisionCountsUnlessItIsNotTrusted(t *testing.T) {
	check := func(more, parent string, spans int, sameTrace bool) {
		t.Helper()
		c, up := collect(t), new(heard)
		h := traced(t, c, more, smallest, up)
		h.getTraced("/proxy/movies/x", parent)
		c.all(h)
		if len(c.spans) != spans {
			t.Errorf("%s with %q: %d spans, want %d", more, parent, len(c.spans), spans)
		}
		for _, s := range c.spans {
			if (hex.EncodeToString(s.TraceId) == clientTrace) != sameTrace {
				t.Errorf("%s with %q: trace %x", more, parent, s.TraceId)
			}
		}
		if spans == 0 && up.parent != parent {
			t.Errorf("%q was passed on as %q", parent, up.parent)
		}
	}
	good := "00-" + clientTrace + "-" + clientParent
	check(", sample_ratio: 1", good+"-00", 0, true)
	check(", sample_ratio: 1, follow_parent: false", good+"-00", 3, true)
	check(", sample_ratio: 0, follow_parent: false", good+"-01", 0, true)
	check(", sample_ratio: 1", good+"-zz", 3, false)
	check(", sample_ratio: 0", "", 0, false)
}

func TestAReloadSwitchesTracing(t *testing.T) {
	t.Setenv("COLLECTOR_TOKEN", "t0k3n")
	c, up := collect(t), new(counted)
	h := open(t, smallest, up)
	h.get("/proxy/movies/1").expect(t, 200)
	off := strings.ReplaceAll(mustRead(t, h.config), "UPSTREAM", "")
	h.write(off + "tracing: {enabled: true, sample_ratio: 1, endpoint: \"" + c.URL + "/v1/traces\", credentials: [{header: Authorization, prefix: \"Bearer \", env: COLLECTOR_TOKEN}]}\n")
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	h.get("/proxy/movies/2").expect(t, 200)
	h.write(off)
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	h.get("/proxy/movies/3").expect(t, 200)
	c.all(h)
	if len(c.spans) != 3 || c.auth != "Bearer t0k3n" {
		t.Errorf("%d spans, authorization %q: %v", len(c.spans), c.auth, c.spans)
	}
}

func TestACollectorThatHangsLosesSpansAndNothingElse(t *testing.T) {
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hung.Close()
	defer close(release)
	h := traced(t, &collector{Server: hung}, ", sample_ratio: 1, timeout: 100ms, queue_size: 16", smallest, new(counted))
	for range 40 {
		h.get("/proxy/movies/x").expect(t, 200)
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if sent, lost := h.tracer.Counts(); sent != 0 || lost != 42 {
		t.Errorf("%d spans sent, %d lost; want 0 and 42", sent, lost)
	}
}

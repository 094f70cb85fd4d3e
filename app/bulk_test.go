package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const bulkConfig = `
upstreams: {movies: {base_url: UPSTREAM, retry: {max_attempts: 1}, breaker: {enabled: false}}}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {pattern: "[a-z0-9]+"}}, cache: {mode: ttl, ttl: 1h}}
streaming: {chunk_size: 8, retries: 1}
`

type outLine struct {
	Line    int64
	Status  int
	Body    any
	Error   *struct{ Detail string }
	Summary *struct{ Lines, OK, Failed, Hits int }
}

func outLines(t *testing.T, body io.Reader) (all []outLine) {
	t.Helper()
	for in := bufio.NewScanner(body); in.Scan(); {
		var l outLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", in.Bytes(), err)
		}
		all = append(all, l)
	}
	return all
}

func TestAStreamAnswersEachLineInOrder(t *testing.T) {
	h := open(t, bulkConfig, newMovies())
	var in strings.Builder
	for i := range 100 {
		fmt.Fprintf(&in, "{\"id\":\"m%d\"}\n", i%50)
	}
	in.WriteString("{\"id\":\"gone\"}\n{\"id\":\"?\"}\nnonsense\n{\"id\":\"broken\"}")
	for _, order := range []string{"input", "ready"} {
		got := outLines(t, strings.NewReader(h.do("POST", h.dataURL("/v1/stream/movie?offset=1000&order="+order), in.String()).body))
		sum := got[len(got)-1].Summary
		if len(got) != 105 || sum == nil || sum.Lines != 104 || sum.OK != 100 || sum.Failed != 4 || sum.Hits == 0 {
			t.Fatalf("%s: %d lines, %+v", order, len(got), sum)
		}
		seen := make(map[int64]outLine)
		for i, l := range got[:104] {
			if order == "input" && l.Line != int64(1001+i) {
				t.Errorf("place %d has line %d", i, l.Line)
			}
			seen[l.Line] = l
		}
		for n, want := range map[int64]int{1001: 200, 1101: 404, 1102: 400, 1103: 400, 1104: 500} {
			if seen[n].Status != want {
				t.Errorf("%s: line %d has %+v, want %d", order, n, seen[n], want)
			}
		}
	}
	chosen := h.do("POST", h.dataURL("/v1/stream/movie?select=$.x"), `{"id":"m1"}`)
	if got := outLines(t, strings.NewReader(chosen.body)); got[0].Error == nil || !strings.Contains(got[0].Error.Detail, "no JSON") {
		t.Errorf("select on text: %s", chosen.body)
	}
}

func TestAStreamIsRefusedBeforeItBegins(t *testing.T) {
	h := open(t, bulkConfig, newMovies())
	for path, want := range map[string]int{
		"/v1/stream/film": 404, "/v1/stream/movie?order=up": 400, "/v1/stream/movie?offset=-1": 400, "/v1/stream/movie?numbered=1": 400, "/v1/stream/movie?select=$..[": 400,
	} {
		if got := h.askWith("POST", path, `{"id":"m1"}`); got.status != want || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// stream begins a stream with one line; feed takes the others.
func (h *house) stream(path string) (resp *http.Response, feed *io.PipeWriter) {
	h.t.Helper()
	in, feed := io.Pipe()
	req, err := http.NewRequest("POST", h.dataURL(path), in)
	if err != nil {
		h.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(feed, "{\"id\":\"m1\"}\n") }()
	if resp, err = h.client.Do(req); err != nil {
		h.t.Fatal(err)
	}
	return resp, feed
}

func TestAStreamIsAnsweredWhileItIsSentAndCanBeCancelled(t *testing.T) {
	h := open(t, bulkConfig, newMovies())
	resp, feed := h.stream("/v1/stream/movie")
	defer resp.Body.Close()
	out := bufio.NewReader(resp.Body)
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, `"line":1`) {
		t.Fatalf("%q, %v", line, err)
	}
	id := resp.Header.Get("X-Stream-Id")
	if list := h.askWith("GET", "/v1/streams", ""); !strings.Contains(list.body, id) || !strings.Contains(list.body, `"running"`) {
		t.Errorf("list %s", list.body)
	}
	if other := h.askWith("DELETE", "/v1/streams/"+id, "", "X-Tenant", "other"); other.status != 404 {
		t.Errorf("another tenant's: %d", other.status)
	}
	events, err := h.client.Get(h.dataURL("/v1/streams/" + id + "/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if got := h.askWith("DELETE", "/v1/streams/"+id, ""); got.status != 200 || !strings.Contains(got.body, `"cancelled"`) {
		t.Errorf("cancel: %d %s", got.status, got.body)
	}
	if rest, err := io.ReadAll(out); err == nil {
		t.Errorf("a cancelled stream ends as if it were whole: %s", rest)
	}
	_ = feed.Close()
	all, err := io.ReadAll(events.Body) // ends by itself
	if err != nil || !strings.Contains(string(all), `"state":"cancelled"`) {
		t.Errorf("%v: %s", err, all)
	}
}

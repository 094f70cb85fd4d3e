package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

const ndjson = "application/x-ndjson"

// answerLine is either kind of line of a batch's answer.
type answerLine struct {
	batchLine
	Summary *summary `json:"summary"`
}

func readLines(t *testing.T, r io.Reader) (lines []answerLine, sum *summary) {
	t.Helper()
	for dec := json.NewDecoder(r); ; {
		var l answerLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return lines, sum
		} else if err != nil {
			t.Fatalf("after %d lines: %v", len(lines), err)
		}
		if l.Summary != nil {
			sum = l.Summary
			continue
		}
		if sum != nil {
			t.Error("a line stands behind the summary")
		}
		lines = append(lines, l)
	}
}

func movieLine(id string) string {
	return `{"id":"` + id + `","route":"movie","params":{"id":"` + id + `"}}`
}

// byKind answers each film by what its id says.
func byKind(_ context.Context, r *request.Request) (*request.Response, error) {
	switch r.Params["id"] {
	case "json":
		return reply(200, "{\"a\" : [1,\n \"<&>\"]}"), nil
	case "hit":
		resp := reply(200, `1`)
		resp.Cache = request.CacheStatus{Hit: true}
		return resp, nil
	case "badjson":
		return reply(200, "{"), nil
	case "bytes":
		return reply(200, "\xff\x00", "Content-Type", "image/png"), nil
	case "gzip":
		return reply(200, `{}`, "Content-Encoding", "gzip"), nil
	case "gone":
		return reply(410, `{"gone":true}`, "Retry-After", "3"), nil
	case "busy":
		return nil, &request.Error{Problem: request.ProblemReducedCapacity, Detail: "full", RetryAfter: 1100 * time.Millisecond}
	case "panic":
		panic("boom")
	case "large":
		return reply(200, strings.Repeat("x", 5000)), nil
	}
	return reply(204, ""), nil
}

func TestABatchAnswersEachItemByItsKind(t *testing.T) {
	h := newDataHandler(t, byKind, withLimits(Limits{MaxBodyBytes: 4000}))
	ids := []string{"json", "hit", "badjson", "bytes", "gzip", "gone", "busy", "panic", "large", "empty"}
	var items []string
	for _, id := range ids {
		items = append(items, movieLine(id))
	}
	for _, body := range []string{"[" + strings.Join(items, ",") + "]", strings.Join(items, "\n\n")} {
		contentType := ndjson
		if body[0] == '[' {
			contentType = "application/json"
		}
		w := ask(h, "POST", "/v1/batch?order=input", body, "Content-Type", contentType)
		lines, sum := readLines(t, w.Body)
		if w.Code != 200 || w.Header().Get("Content-Type") != ndjson || len(lines) != len(ids) {
			t.Fatalf("%d, %d lines", w.Code, len(lines))
		}
		if sum == nil || sum.Items != 10 || sum.OK != 6 || sum.Failed != 4 || sum.Hits != 1 {
			t.Errorf("summary %+v", sum)
		}
		got := make(map[string]answerLine)
		for i, l := range lines {
			if string(l.ID) != `"`+ids[i]+`"` || l.Index != i {
				t.Errorf("line %d is of id %s, index %d", i, l.ID, l.Index)
			}
			if want := 2*i + 1; contentType == ndjson && l.Line != want {
				t.Errorf("item %d says line %d, not %d", i, l.Line, want)
			}
			got[ids[i]] = l
		}
		check := func(id string, status int, encoding, body string) {
			t.Helper()
			if l := got[id]; l.Status != status || l.Encoding != encoding || string(l.Body) != body {
				t.Errorf("%s: %d %s %s", id, l.Status, l.Encoding, l.Body)
			}
		}
		check("json", 200, "json", `{"a":[1,"<&>"]}`)
		check("badjson", 200, "text", `"{"`)
		check("bytes", 200, "base64", `"`+base64.StdEncoding.EncodeToString([]byte("\xff\x00"))+`"`)
		check("gzip", 200, "base64", `"e30="`)
		check("gone", 410, "json", `{"gone":true}`)
		check("busy", 503, "", "")
		check("panic", 500, "", "")
		check("large", 502, "", "")
		check("empty", 204, "", "")
		if l := got["busy"]; l.Error.Type != request.ProblemReducedCapacity.Type() || l.Error.RetryAfter != 2 || !strings.HasSuffix(l.Error.RequestID, ".6") {
			t.Errorf("busy: %+v", l.Error)
		}
		if l := got["gone"]; l.Headers["retry-after"] != "3" || l.Headers["content-type"] != "application/json" || l.Headers["cache-status"] != "penstock; fwd=miss" {
			t.Errorf("gone: %+v", l.Headers)
		}
	}
}

func TestABadLineGetsItsOwnErrorAndSpoilsNoOther(t *testing.T) {
	h := newDataHandler(t, replies(200, "1"), withLimits(Limits{MaxBodyBytes: 60, BufferBytes: 16}))
	body := strings.Join([]string{movieLine("a"), `{"bad`, `{"id":7,"route":"moive"}`, strings.Repeat("x", 100), "", `[]`, movieLine("b")}, "\r\n")
	lines, sum := readLines(t, ask(h, "POST", "/v1/batch?order=input", body, "Content-Type", ndjson+"; charset=utf-8").Body)
	if len(lines) != 6 || sum == nil || sum.OK != 2 || sum.Failed != 4 {
		t.Fatalf("%d lines, summary %+v", len(lines), sum)
	}
	for i, want := range []struct {
		line, status int
		id           string
	}{{1, 200, `"a"`}, {2, 400, ""}, {3, 404, "7"}, {4, 413, ""}, {6, 400, ""}, {7, 200, `"b"`}} {
		if l := lines[i]; l.Line != want.line || l.Status != want.status || string(l.ID) != want.id {
			t.Errorf("item %d: line %d, status %d, id %s; want %+v", i, l.Line, l.Status, l.ID, want)
		}
	}
}

func TestWhatIsNoBatchIsRefused(t *testing.T) {
	h := newDataHandler(t, replies(200, "1"), withLimits(Limits{MaxBodyBytes: 100}))
	for _, body := range []string{``, `{`, `{"route":"movie"}`, `null`, `"x"`, `[1,`, `[] x`} {
		wantProblem(t, ask(h, "POST", "/v1/batch", body), request.ProblemBadRequest)
	}
	wantProblem(t, ask(h, "POST", "/v1/batch?order=random", `[]`), request.ProblemBadRequest)
	wantProblem(t, ask(h, "POST", "/v1/batch", `[`+strings.Repeat(" ", 100)+`]`), request.ProblemBodyTooLarge)
	for _, contentType := range []string{"", ndjson} {
		body := `[]`
		if contentType != "" {
			body = "\n\n"
		}
		w := ask(h, "POST", "/v1/batch", body, "Content-Type", contentType)
		if lines, sum := readLines(t, w.Body); len(lines) != 0 || sum == nil || sum.Items != 0 {
			t.Errorf("an empty batch: %v, %+v", lines, sum)
		}
	}
}

func TestLinesGoOutAsTheyAreReadyOrAsAsked(t *testing.T) {
	second := make(chan struct{})
	do := func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Params["id"] == "b" {
			close(second)
		} else {
			<-second
		}
		return reply(200, "1"), nil
	}
	body := movieLine("a") + "\n" + movieLine("b")
	lines, _ := readLines(t, ask(newDataHandler(t, do), "POST", "/v1/batch?order=input", body, "Content-Type", ndjson).Body)
	if string(lines[0].ID) != `"a"` || string(lines[1].ID) != `"b"` {
		t.Errorf("out of order: %s, %s", lines[0].ID, lines[1].ID)
	}
	// Over a socket: the first item is answered only after the line of the second has arrived.
	release := make(chan struct{})
	s := serve(t, newDataHandler(t, func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Params["id"] == "a" {
			<-release
		}
		return reply(200, "1"), nil
	}))
	resp, err := s.Client().Post(s.URL+"/v1/batch", ndjson, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out := bufio.NewReader(resp.Body)
	if line, err := out.ReadString('\n'); !strings.Contains(line, `"id":"b"`) || err != nil {
		t.Fatalf("the first line is %q, %v", line, err)
	}
	close(release)
	if lines, sum := readLines(t, out); len(lines) != 1 || string(lines[0].ID) != `"a"` || sum.OK != 2 {
		t.Errorf("then came %v, %+v", lines, sum)
	}
}

// TestALongBatchRunsInBoundedMemoryInBothDirectionsAtOnce sends 10,000 lines, each only after an
// answer was read once the first few are out: that works only in full duplex, and only if no more
// than the slots are ever held.
func TestALongBatchRunsInBoundedMemoryInBothDirectionsAtOnce(t *testing.T) {
	const n, slots = 10_000, 8
	var inFlight, peak atomic.Int64
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) {
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
		}
		return reply(200, `{"ok":true}`), nil
	}, withLimits(Limits{InFlight: 6, Buffer: 2})))
	in, out := io.Pipe()
	credit := make(chan struct{}, n)
	for range slots {
		credit <- struct{}{}
	}
	go func() {
		for i := range n {
			<-credit
			_, _ = fmt.Fprintln(out, movieLine(fmt.Sprint(i)))
		}
		_ = out.Close()
	}()
	resp, err := s.Client().Post(s.URL+"/v1/batch", ndjson, in)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen := 0
	var last []byte
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); seen++ {
		last = append(last[:0], lines.Bytes()...)
		credit <- struct{}{}
	}
	var end answerLine
	if err := json.Unmarshal(last, &end); err != nil || end.Summary == nil || end.Summary.OK != n || seen != n+1 {
		t.Errorf("%d lines, the last is %s", seen, last)
	}
	if p := peak.Load(); p > slots {
		t.Errorf("%d items were in flight at once, not at most %d", p, slots)
	}
}

// blockedWriter is a client that does not read: its writes wait for free.
type blockedWriter struct {
	*httptest.ResponseRecorder
	free chan struct{}
}

func (w *blockedWriter) Write(b []byte) (int, error) {
	<-w.free
	return w.ResponseRecorder.Write(b)
}

// Flush does nothing: the recorder has no buffer.
func (w *blockedWriter) Flush() {}

func TestAClientThatDoesNotReadIsNotReadFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDataHandler(t, replies(200, "1"), withLimits(Limits{InFlight: 2, Buffer: 2, BufferBytes: 16}))
		in, out := io.Pipe()
		w := &blockedWriter{httptest.NewRecorder(), make(chan struct{})}
		var sent atomic.Int64
		go func() {
			for i := range 50 {
				if _, err := fmt.Fprintln(out, movieLine(fmt.Sprint(i))); err == nil {
					sent.Add(1)
				}
			}
			_ = out.Close()
		}()
		r := httptest.NewRequest("POST", "/v1/batch", in)
		r.Header.Set("Content-Type", ndjson)
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(w, r)
		}()
		synctest.Wait()
		if n := sent.Load(); n > 4 {
			t.Errorf("%d lines were read from a client that reads none", n)
		}
		close(w.free)
		<-done
		if lines, sum := readLines(t, w.Body); len(lines) != 50 || sum == nil {
			t.Errorf("%d lines, summary %v", len(lines), sum)
		}
	})
}

func TestTheClientsHangUpEndsABatch(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h := newDataHandler(t, func(ctx context.Context, _ *request.Request) (*request.Response, error) {
		once.Do(func() { close(started) })
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, withLimits(Limits{InFlight: 2, Buffer: 1}))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(w, r)
	}))
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/v1/batch", in)
	r.Header.Set("Content-Type", ndjson)
	go func() {
		_, _ = fmt.Fprintln(out, movieLine("a"))
		<-started
		cancel()
		<-ended // all the while the handler waits for lines; net/http's client, for the pipe
		_ = out.Close()
	}()
	if resp, err := s.Client().Do(r); err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Error("the answer ended cleanly")
		}
	}
	<-ended
}

func TestAnInputThatBreaksOffHasNoSummary(t *testing.T) {
	h := newDataHandler(t, replies(200, "1"))
	r := httptest.NewRequest("POST", "/v1/batch", io.MultiReader(strings.NewReader(movieLine("a")+"\n"), brokenReader{}))
	r.Header.Set("Content-Type", ndjson)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the connection was not broken")
			}
		}()
		h.ServeHTTP(w, r)
	}()
	lines, sum := readLines(t, bytes.NewReader(w.Body.Bytes()))
	if sum != nil || len(lines) == 0 || lines[len(lines)-1].Status != 400 {
		t.Errorf("lines %+v, summary %v", lines, sum)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestDeadlinesOfABatchCountForEachItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDataHandler(t, hang)
		body := `[{"route":"brands","deadline_ms":100},{"route":"brands"},{"route":"brands","deadline_ms":9000}]`
		begun := time.Now()
		lines, sum := readLines(t, ask(h, "POST", "/v1/batch", body, "X-Deadline-Ms", "500").Body)
		if len(lines) != 3 || lines[0].Index != 0 || sum.Failed != 3 || sum.DurationMs != 500 || time.Since(begun) != 500*time.Millisecond {
			t.Errorf("after %v: %+v, %+v", time.Since(begun), lines, sum)
		}
		for _, l := range lines {
			if l.Error.Type != request.ProblemDeadline.Type() {
				t.Errorf("%+v", l.Error)
			}
		}
	})
}

func FuzzReadLine(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), 2)
	f.Add([]byte(strings.Repeat("x", 100)+"\ny"), 20)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		if limit < 0 || limit > 1<<16 {
			return
		}
		br := bufio.NewReaderSize(bytes.NewReader(in), 16)
		for _, want := range bytes.SplitAfter(in, []byte("\n")) {
			if len(want) == 0 {
				continue
			}
			got, tooLong, err := readLine(br, int64(limit))
			if err != nil || tooLong != (len(want) > limit+1) || !tooLong && !bytes.Equal(got, want) {
				t.Fatalf("%q: got %q, %v, %v", want, got, tooLong, err)
			}
		}
		if _, _, err := readLine(br, int64(limit)); !errors.Is(err, io.EOF) {
			t.Errorf("no end: %v", err)
		}
	})
}

package resume

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/bulk"
	"penstock/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service that answers streams as Penstock does, and breaks connections.
type world struct {
	t   *testing.T
	url string
	hc  *http.Client
	// cut is after how many answers about a connection breaks, within a line; 0: never.
	cut int
	// refuse answers a stream before it begins, if it writes a status.
	refuse func(w http.ResponseWriter) bool
	// fail is the status of a line, 0 for 200.
	fail func(line int64) int
	// state is what becomes of streams that broke.
	state string

	mu      sync.Mutex // guards what follows
	asked   map[int64]int
	streams int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, asked: make(map[int64]int), state: "broken"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/stream/movie", w.stream)
	mux.HandleFunc("GET /v1/streams", func(out http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(out, `{"streams":[{"id":"s1","state":%q}]}`, w.state)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	w.url, w.hc = s.URL, s.Client()
	return w
}

func (w *world) stream(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.streams++
	w.mu.Unlock()
	if w.refuse != nil && w.refuse(out) {
		return
	}
	rc := http.NewResponseController(out)
	_ = rc.EnableFullDuplex()
	out.Header().Set("X-Stream-Id", "s1")
	out.WriteHeader(http.StatusOK)
	_ = rc.Flush()
	offset, _ := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	in := bulk.Lines(r.Body, bulk.LineOptions{First: offset + 1, Plain: r.URL.Query().Get("numbered") == "false"})
	shuffle := r.URL.Query().Get("order") == "ready"
	left := -1
	if w.cut > 0 {
		left = rand.IntN(2 * w.cut)
	}
	var held []string
	for {
		l, err := in.Next()
		if err == nil {
			held = append(held, w.answer(l))
		}
		if len(held) < 16 && err == nil {
			continue
		}
		if shuffle {
			rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		}
		for _, text := range held {
			if left == 0 {
				_, _ = io.WriteString(out, text[:rand.IntN(len(text))])
				_ = rc.Flush()
				panic(http.ErrAbortHandler)
			}
			left--
			_, _ = io.WriteString(out, text+"\n")
		}
		_ = rc.Flush()
		held = held[:0]
		if errors.Is(err, io.EOF) {
			_, _ = io.WriteString(out, `{"summary":{"id":"s1","state":"done"}}`+"\n")
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

func (w *world) answer(l *bulk.Line) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[l.Number]++
	status := 200
	if w.fail != nil && w.fail(l.Number) > 0 {
		status = w.fail(l.Number)
	}
	return fmt.Sprintf(`{"line":%d,"status":%d,"body":%s}`, l.Number, status, l.Raw)
}

// job is one input with its output.
type job struct {
	w       *world
	in, out string
	order   string
	ctx     context.Context
	// lines are the numbers that want an answer.
	lines map[int64]string
}

// newJob writes n lines, of which some are blank.
func newJob(w *world, n int64) *job {
	j := &job{w: w, in: filepath.Join(w.t.TempDir(), "in"), out: filepath.Join(w.t.TempDir(), "out"), lines: make(map[int64]string), ctx: w.t.Context()}
	var b strings.Builder
	for i := int64(1); i <= n; i++ {
		if i%17 == 0 {
			b.WriteString(" \r\n")
			continue
		}
		j.lines[i] = fmt.Sprintf(`{"id":%d}`, i)
		b.WriteString(j.lines[i])
		if i < n { // the last line has no break
			b.WriteByte('\n')
		}
	}
	write(w.t, j.in, b.String())
	return j
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is one run of the command.
func (j *job) run(oo OutputOptions, change func(o *Options)) error {
	j.w.t.Helper()
	c, err := client.New(j.w.url, client.Options{HTTPClient: j.w.hc})
	if err != nil {
		j.w.t.Fatal(err)
	}
	in, err := os.Open(j.in)
	if err != nil {
		j.w.t.Fatal(err)
	}
	defer in.Close()
	out, err := OpenOutput(j.out, oo)
	if err != nil {
		return err
	}
	o := Options{Client: c, Query: client.StreamQuery{Route: "movie", Ready: j.order == "ready"}, In: in, Out: out,
		Progress: NewProgress(1), Backoff: time.Millisecond, MaxBackoff: time.Millisecond}
	if change != nil {
		change(&o)
	}
	err = Run(j.ctx, o)
	if err == nil && !o.Query.Ready {
		err = out.Order()
	}
	if s := o.Progress.Now(); err == nil && (s.Lines != int64(len(j.lines)) || s.Total != s.Lines) {
		j.w.t.Errorf("progress %+v, want %d lines", s, len(j.lines))
	}
	return errors.Join(err, out.Close())
}

// check holds the output against the input: each line is answered once.
func (j *job) check() {
	j.w.t.Helper()
	f, err := os.Open(j.out)
	if err != nil {
		j.w.t.Fatal(err)
	}
	defer f.Close()
	seen := make(map[int64]bool)
	last := int64(0)
	for in := bufio.NewScanner(f); in.Scan(); {
		var l struct {
			Line int64
			Body json.RawMessage
		}
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			j.w.t.Fatalf("%s: %v", in.Bytes(), err)
		}
		if seen[l.Line] || string(l.Body) != j.lines[l.Line] {
			j.w.t.Fatalf("line %d: twice %v, %s", l.Line, seen[l.Line], l.Body)
		}
		if j.order != "ready" && l.Line < last {
			j.w.t.Fatalf("line %d stands behind %d", l.Line, last)
		}
		seen[l.Line], last = true, l.Line
	}
	if len(seen) != len(j.lines) {
		j.w.t.Fatalf("%d of %d lines are answered", len(seen), len(j.lines))
	}
}

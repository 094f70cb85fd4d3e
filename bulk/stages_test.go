package bulk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// world is an upstream that answers by id, and counts.
type world struct {
	mu    sync.Mutex
	calls map[string]int
	most  int
	now   int
}

// Do answers after 100 ms: flaky fails twice, broken always, gone is 404, shed is refused for a minute.
func (w *world) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	id := fmt.Sprint(r.Params["id"])
	w.mu.Lock()
	w.calls[id]++
	n := w.calls[id]
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	if err := wait(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	status := 200
	switch {
	case strings.HasPrefix(id, "flaky") && n <= 2, id == "broken":
		status = 503
	case id == "gone":
		status = 404
	case id == "shed" && n < 100:
		return nil, &request.Error{Problem: request.ProblemBreakerOpen, Detail: "open", RetryAfter: time.Second}
	}
	body := fmt.Appendf(nil, `{"id":%q,"tags":[{"n":1},{"n":2}]}`, id)
	return &request.Response{Status: status, Header: http.Header{}, Body: request.NewBody(body), ContentLength: int64(len(body))}, nil
}

func route(t *testing.T) *request.Route {
	t.Helper()
	r := &request.Route{Name: "movie", Upstream: "movies", Method: http.MethodGet, Path: "/movies/{id}",
		Params: map[string]request.Param{"id": {Required: true}}}
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return r
}

// output keeps what is written.
type output struct{ bytes.Buffer }

func (o *output) Write(c *Chunk) error {
	for _, l := range c.Lines {
		o.Buffer.Write(append(l.Raw, '\n'))
	}
	return nil
}

func write(l *Line) []byte {
	if l.Err != nil {
		return fmt.Appendf(nil, "%d error %v", l.Number, l.Err)
	}
	return fmt.Appendf(nil, "%d %d %s", l.Number, l.Status, l.Body)
}

// stream runs an input through all stages and returns the lines that came out.
func stream(t *testing.T, w *world, in string, o ScheduleOptions, path string) []string {
	t.Helper()
	r := route(t)
	chosen, err := Select(path)
	if err != nil {
		t.Fatal(err)
	}
	out := new(output)
	p := New(Options{ChunkSize: 4, Ordered: true},
		Decode(func(_ context.Context, _ int64, params map[string]any) (*request.Request, error) {
			return r.Build(params)
		}),
		Dedupe(), Schedule(w, o), chosen, Encode(write))
	if err := p.Run(t.Context(), Lines(strings.NewReader(in), LineOptions{MaxBytes: 200}), out); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

func newWorld() *world { return &world{calls: make(map[string]int)} }

func TestEachLineHasItsAnswerOrItsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := `{"id":"a"}` + "\n\n" + `{"id":` + "\n" + `[]` + "\n" + `[40,{"id":"b"}]` + "\n" + `{"id":"` + strings.Repeat("x", 300) + `"}` + "\n" +
			`{"no":1}` + "\n" + `null` + "\n" + `{"id":"gone"}` + "\r\n" + `{"id":"c"}`
		got := stream(t, newWorld(), in, ScheduleOptions{}, "$.id")
		want := []string{`1 200 "a"`, `3 error bad-request`, `4 error bad-request`, `40 200 "b"`, `6 error body-too-large`, `7 error`, `8 error bad-request`, `9 404 {`, `10 200 "c"`}
		if len(got) != len(want) {
			t.Fatalf("got %q", got)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("line %q, want %q", got[i], want[i])
			}
		}
	})
}

func TestOnlyTheFailedLinesAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		in := `{"id":"a"}` + "\n" + `{"id":"flaky"}` + "\n" + `{"id":"broken"}` + "\n" + `{"id":"shed"}`
		got := stream(t, w, in, ScheduleOptions{Retries: 4}, "$.tags[*].n")
		for i, want := range []string{"1 200 [1,2]", "2 200 [1,2]", "3 503 ", "4 200 [1,2]"} {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("line %q, want %q", got[i], want)
			}
		}
		if w.calls["a"] != 1 || w.calls["flaky"] != 3 || w.calls["broken"] != 5 || w.calls["shed"] != 100 {
			t.Errorf("calls %v", w.calls)
		}
	})
}

func TestLinesThatAskTheSameShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		got := stream(t, w, strings.Repeat(`{"id":"a"}`+"\n", 4), ScheduleOptions{}, "$.id")
		if w.calls["a"] != 1 || !slices.Equal(got, []string{`1 200 "a"`, `2 200 "a"`, `3 200 "a"`, `4 200 "a"`}) {
			t.Errorf("%d calls, %q", w.calls["a"], got)
		}
	})
}

func TestNoMoreLinesAreInFlightThanMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var in strings.Builder
		for i := range 500 {
			fmt.Fprintf(&in, "{\"id\":\"m%d\"}\n", i)
		}
		start := time.Now()
		if got := stream(t, w, in.String(), ScheduleOptions{InFlight: 20}, "$.id"); len(got) != 500 {
			t.Errorf("%d lines", len(got))
		}
		// 500 lines, 20 at once, 100 ms each: 2.5 s if no slot is ever idle.
		if took := time.Since(start); w.most != 20 || took > 2750*time.Millisecond {
			t.Errorf("%d in flight at most, %v", w.most, took)
		}
	})
}

func TestWhatIsStoredTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := route(t), newWorld()
		find := func(_ context.Context, r *request.Request) *request.Response {
			if r.Params["id"] != "stored" {
				return nil
			}
			return &request.Response{Status: 200, Body: request.NewBody([]byte("{}")), ContentLength: 2, Cache: request.CacheStatus{Hit: true}}
		}
		p := New(Options{}, Decode(func(_ context.Context, _ int64, params map[string]any) (*request.Request, error) {
			return r.Build(params)
		}),
			Lookup(find, 100), Schedule(w, ScheduleOptions{}), Encode(write))
		out := new(output)
		if err := p.Run(t.Context(), Lines(strings.NewReader(`{"id":"stored"}`), LineOptions{First: 7}), out); err != nil {
			t.Fatal(err)
		}
		if out.String() != "7 200 {}\n" || len(w.calls) != 0 {
			t.Errorf("%q, calls %v", out, w.calls)
		}
	})
}

func TestABadPathIsRefused(t *testing.T) {
	if _, err := Select("$..["); err == nil {
		t.Error("it was taken")
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n\n[3,{}]\n{"))
	f.Add([]byte("\r\n\x00[1]\n" + strings.Repeat("x", 100)))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := Lines(bytes.NewReader(in), LineOptions{MaxBytes: 50})
		last := int64(0)
		for {
			l, err := s.Next()
			if err == io.EOF {
				return
			}
			if err != nil || l.Number <= last || l.Number > int64(bytes.Count(in, []byte("\n"))+1) {
				t.Fatalf("%+v after %d, %v", l, last, err)
			}
			last = l.Number
			if l.Err != nil {
				continue
			}
			if len(l.Raw) == 0 || len(l.Raw) > 51 {
				t.Fatalf("a line of %d bytes", len(l.Raw))
			}
			if params, err := l.params(); err == nil && params == nil {
				t.Fatal("no params and no fault")
			} else if err == nil && !json.Valid(l.Raw) {
				t.Fatalf("%q was taken", l.Raw)
			}
		}
	})
}

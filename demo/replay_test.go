package demo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/demo"
)

// inProcess answers requests by a handler, with no socket, so that it works in a bubble.
type inProcess struct{ http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := make(chan *http.Response, 1)
	in := httptest.NewRequest(r.Method, r.URL.String(), nil)
	in.Header = r.Header
	if r.Body != nil {
		in.Body = r.Body
	}
	go func() {
		w := httptest.NewRecorder()
		t.ServeHTTP(w, in)
		answer <- w.Result()
	}()
	select {
	case resp := <-answer:
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// rowsEvery makes n rows of the keys in turn, one every step.
func rowsEvery(step time.Duration, n int, keys ...string) []demo.Row {
	rows := make([]demo.Row, n)
	for i := range rows {
		rows[i] = demo.Row{At: time.Duration(i) * step, Key: keys[i%len(keys)], Client: "c1", Size: 10, Line: i + 2}
	}
	return rows
}

func replay(t *testing.T, h http.Handler, o demo.ReplayOptions) *demo.Report {
	t.Helper()
	o.Transport = inProcess{h}
	if o.Target == "" {
		o.Target = "http://demo.test"
	}
	rep, err := demo.Replay(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestReplaySendsAtTheTraceTimesDividedBySpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		rep := replay(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start))
		}), demo.ReplayOptions{Rows: rowsEvery(time.Second, 5, "a", "b"), Speed: 10})
		if fmt.Sprint(at) != "[0s 100ms 200ms 300ms 400ms]" {
			t.Errorf("sent at %v", at)
		}
		if rep.Rows != 5 || rep.OK != 5 || rep.Keys != 2 || rep.Ceiling != 0.6 || rep.Elapsed != 400*time.Millisecond || rep.Throughput != 12.5 {
			t.Errorf("report %+v", rep)
		}
	})
}

func TestReplayMeasuresFromTheIntendedTimeAndNeverWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One slot of 1 s, a row every 100 ms: the tenth answer comes at 10 s, 9.1 s late.
		api := newAPI(t, demo.Options{Base: demo.Conditions{LatencyMS: 1000, Slots: 1}})
		rep := replay(t, api, demo.ReplayOptions{Rows: rowsEvery(100*time.Millisecond, 10, "a"), Speed: 1})
		if rep.OK != 10 || rep.Max != 9100*time.Millisecond || rep.P50 != 4600*time.Millisecond {
			t.Errorf("report %+v; want the queue in the latency", rep)
		}
	})
}

func TestReplayCountsFailuresByKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/items/slow":
				<-block
			case "/items/gone":
				w.WriteHeader(404)
			}
		})
		rep := replay(t, h, demo.ReplayOptions{
			Rows: rowsEvery(time.Second, 8, "ok", "gone", "slow", "slow"), Speed: 1, Timeout: 20 * time.Second, MaxInFlight: 3,
		})
		close(block)
		if rep.OK != 2 || rep.Failed["404"] != 2 || rep.Failed["timeout"] != 3 || rep.Failed["not sent"] != 1 {
			t.Errorf("ok %d, failed %v", rep.OK, rep.Failed)
		}
	})
}

func TestReplayReadsHitsFromCacheStatusAndCallsFromStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		seen := map[string]bool{}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stats" {
				fmt.Fprintf(w, `{"calls": %d}`, 1000+calls)
				return
			}
			status := `other; hit, penstock; fwd=uri-miss; stored`
			if seen[r.URL.Path] {
				status = "penstock; hit; ttl=30"
			} else {
				calls++
			}
			seen[r.URL.Path] = true
			w.Header().Set("Cache-Status", status)
		})
		rep := replay(t, h, demo.ReplayOptions{Rows: rowsEvery(time.Second, 6, "a", "b", "a"), Speed: 1, StatsURL: "http://demo.test/stats"})
		if rep.Hits != 4 || !rep.Cached || rep.UpstreamCalls == nil || *rep.UpstreamCalls != 2 {
			t.Errorf("report %+v", rep)
		}
		if rep.HitRatio() != rep.Ceiling {
			t.Errorf("hit ratio %v, ceiling %v", rep.HitRatio(), rep.Ceiling)
		}
	})
}

func TestReplayAddsUpTheCallsOfAMetricsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scrapes := 0
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/metrics" {
				fmt.Fprintf(w, "penstock_calls_total{upstream=\"a b\"} %d\npenstock_calls_total{upstream=\"c\"} 5\npenstock_calls_total_other 9\n", scrapes*7)
				scrapes++
			}
		})
		rep := replay(t, h, demo.ReplayOptions{Rows: rowsEvery(time.Second, 1, "a"), Speed: 1, StatsURL: "http://demo.test/metrics"})
		if rep.UpstreamCalls == nil || *rep.UpstreamCalls != 7 {
			t.Errorf("calls %v, notes %v", rep.UpstreamCalls, rep.Notes)
		}
	})
}

func TestReplayEscapesKeysForWhereTheyGo(t *testing.T) {
	for _, c := range []struct{ target, key, want string }{
		{"http://h", "/a b/?c&d", "/items/%2Fa%20b%2F%3Fc&d"},
		{"http://h/base/", "..", "/base/items/%2E%2E"},
		{"http://h/x/{key}/y", "k", "/x/k/y"},
		{"http://h/s?q={key}&n=1", "a&b+c", "/s?q=a%26b%2Bc&n=1"},
		{"http://h/x?n=1", "k", "/x/items/k?n=1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := ""
			replay(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI }),
				demo.ReplayOptions{Rows: []demo.Row{{Key: c.key}}, Speed: 1, Target: c.target})
			if got = strings.TrimPrefix(got, "http://h"); got != c.want {
				t.Errorf("%s with %q asks %s, want %s", c.target, c.key, got, c.want)
			}
		})
	}
}

func TestReplayAsksByRouteAndSendsHeadersOnlyIfTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body string
		var h http.Header
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			body, h = r.Method+" "+r.URL.Path+" "+string(b), r.Header
		})
		replay(t, handler, demo.ReplayOptions{Rows: rowsEvery(1, 1, "a\"b"), Speed: 1, Route: "item", Param: "id"})
		if body != `POST /v1/requests {"route":"item","params":{"id":"a\"b"}}` || h.Get("X-Client") != "" || h.Get("X-Size") != "" {
			t.Errorf("sent %s with %v", body, h)
		}
		replay(t, handler, demo.ReplayOptions{Rows: rowsEvery(1, 1, "a"), Speed: 1, ClientHeader: "X-Client", SizeHeader: true})
		if h.Get("X-Client") != "c1" || h.Get("X-Size") != "10" {
			t.Errorf("headers %v", h)
		}
	})
}

func TestReplayEndsEarlyByLimitDurationAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{})
		rows := rowsEvery(time.Second, 100, "a")
		if rep := replay(t, api, demo.ReplayOptions{Rows: rows, Speed: 1, Limit: 7}); rep.Rows != 7 {
			t.Errorf("limit 7 sent %d", rep.Rows)
		}
		if rep := replay(t, api, demo.ReplayOptions{Rows: rows, Speed: 1, Duration: 4500 * time.Millisecond}); rep.Rows != 5 {
			t.Errorf("4.5 s sent %d, want those at 0 to 4 s", rep.Rows)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		rep, err := demo.Replay(ctx, demo.ReplayOptions{Rows: rows, Speed: 1, Target: "http://demo.test", Transport: inProcess{api}})
		if err != nil || rep.Rows != 3 || rep.OK != 3 {
			t.Errorf("ended at 2.5 s: %+v, %v", rep, err)
		}
	})
}

func TestReplayRefusesWhatMakesNoSense(t *testing.T) {
	good := demo.ReplayOptions{Rows: rowsEvery(1, 1, "a"), Target: "http://h", Speed: 1}
	for name, change := range map[string]func(o *demo.ReplayOptions){
		"speed 0":         func(o *demo.ReplayOptions) { o.Speed = 0 },
		"negative speed":  func(o *demo.ReplayOptions) { o.Speed = -2 },
		"no target":       func(o *demo.ReplayOptions) { o.Target = "" },
		"relative target": func(o *demo.ReplayOptions) { o.Target = "localhost:80" },
		"negative limit":  func(o *demo.ReplayOptions) { o.Limit = -1 },
		"no trace":        func(o *demo.ReplayOptions) { o.Rows = nil },
		"missing trace":   func(o *demo.ReplayOptions) { o.Rows, o.Trace = nil, "/does/not/exist" },
	} {
		o := good
		change(&o)
		if _, err := demo.Replay(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVisitorsWalkTheSiteWithinTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Seed: 1})
		var mu sync.Mutex
		kinds := map[string]int{}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kind := "detail"
			switch {
			case strings.HasSuffix(r.URL.Path, "/related"):
				kind = "related"
			case r.URL.Path == "/movies":
				kind = "list"
			}
			mu.Lock()
			kinds[kind]++
			mu.Unlock()
			if r.Header.Get("X-Session") == "" {
				t.Error("no session")
			}
			api.ServeHTTP(w, r)
		})
		v, err := demo.NewVisitors(demo.VisitorOptions{BaseURL: "http://demo.test", Count: 20, MaxPerSecond: 10, Transport: inProcess{h}})
		if err != nil {
			t.Fatal(err)
		}
		v.Start()
		v.Start()
		<-time.After(time.Minute)
		v.Stop()
		v.Stop()
		<-time.After(time.Minute) // the API works on for those who have gone
		s := v.Stats()
		if s.Asked < 300 || s.Asked > 601 || s.Failed != 0 || s.Answered < s.Asked-20 {
			t.Errorf("stats %+v; 20 visitors at 10/s for a minute", s)
		}
		mu.Lock()
		defer mu.Unlock()
		if kinds["list"] == 0 || kinds["detail"] < kinds["list"] || kinds["related"] == 0 {
			t.Errorf("asked for %v", kinds)
		}
	})
}

func TestCompareShowsBothSides(t *testing.T) {
	dir := t.TempDir()
	path := writeTrace(t, dir, 400)
	var stopped []string
	var mu sync.Mutex
	process := func(name string, h http.Handler) *demo.Process {
		srv := httptest.NewServer(h)
		return &demo.Process{URL: srv.URL, Stop: func() error {
			srv.Close()
			mu.Lock()
			defer mu.Unlock()
			stopped = append(stopped, name)
			return nil
		}}
	}
	c, err := demo.Compare(t.Context(), demo.CompareOptions{
		Trace: path, Seconds: 0.3, Load: 8, Conditions: demo.Conditions{LatencyMS: 10, Slots: 1}, Timeout: 5 * time.Second,
		StartAPI: func(_ context.Context, cond demo.Conditions) (*demo.Process, error) {
			api, err := demo.NewAPI(demo.Options{Base: cond, Queue: 8})
			return process("api", api), err
		},
		// A stand-in for Penstock: it answers by itself.
		StartPenstock: func(context.Context, string) (*demo.Process, error) {
			return process("penstock", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/proxy/demo/items/") {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.Header().Set("Cache-Status", "penstock; hit")
			})), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Without.Rows != c.With.Rows || c.Without.Cached || c.With.Hits != c.With.OK || *c.With.UpstreamCalls != 0 || *c.Without.UpstreamCalls != int64(c.Without.Rows) {
		t.Errorf("without %+v, with %+v", c.Without.Report, c.With.Report)
	}
	if got := strings.Join(stopped, " "); got != "api penstock api" {
		t.Errorf("stopped %q", got)
	}
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"without Penstock", "throughput", "p95", "upstream calls", "hit ratio", "ceiling", "memory", "goal"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
}

func TestCompareSaysWhichSideDidNotStart(t *testing.T) {
	path := writeTrace(t, t.TempDir(), 20)
	broken := errors.New("broken")
	_, err := demo.Compare(t.Context(), demo.CompareOptions{Trace: path, StartAPI: func(context.Context, demo.Conditions) (*demo.Process, error) { return nil, broken }})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "demo API") {
		t.Errorf("error %v", err)
	}
	if _, err = demo.Compare(t.Context(), demo.CompareOptions{Trace: writeTrace(t, t.TempDir(), 1)}); err == nil {
		t.Error("a trace of one row: no error")
	}
}

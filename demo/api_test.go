package demo_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/demo"
)

// newAPI makes an API whose latency is exactly its median.
func newAPI(t *testing.T, o demo.Options) *demo.API {
	t.Helper()
	if o.Sigma == 0 {
		o.Sigma = -1
	}
	api, err := demo.NewAPI(o)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func ask(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
}

func TestLatencyIsBasePlusPerItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{PerItem: 3 * time.Millisecond})
		took := func(target string) time.Duration {
			start := time.Now()
			wantStatus(t, ask(api, "GET", target, ""), 200)
			return time.Since(start)
		}
		if d := took("/movies/7"); d != 150*time.Millisecond {
			t.Errorf("one film took %s, want 150ms", d)
		}
		if d := took("/movies?ids=1,2,3,4,5"); d != 162*time.Millisecond {
			t.Errorf("five films took %s, want 150ms + 4*3ms", d)
		}
	})
}

func TestLatencySpreadsAndIsEqualForEqualSeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		series := func(seed uint64) (out []time.Duration) {
			api := newAPI(t, demo.Options{Seed: seed, Sigma: 0.3})
			for range 20 {
				start := time.Now()
				ask(api, "GET", "/movies/7", "")
				out = append(out, time.Since(start))
			}
			return out
		}
		a, b, c := series(1), series(1), series(2)
		same, other := true, true
		for i := range a {
			same = same && a[i] == b[i]
			other = other && a[i] == c[i]
		}
		if !same || other {
			t.Errorf("equal seeds equal: %t, other seeds equal: %t", same, other)
		}
	})
}

func TestFullSlotsQueueAndFullQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Base: demo.Conditions{LatencyMS: 100, Slots: 2}, Queue: 2})
		start := time.Now()
		var mu sync.Mutex
		took := map[int]int{} // milliseconds of answered calls
		refused := 0
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				w := ask(api, "GET", "/movies/1", "")
				mu.Lock()
				defer mu.Unlock()
				if w.Code == 503 {
					if w.Header().Get("Retry-After") == "" {
						t.Error("503 without Retry-After")
					}
					refused++
					return
				}
				took[int(time.Since(start).Milliseconds())]++
			})
		}
		all.Wait()
		if refused != 2 || took[100] != 2 || took[200] != 2 {
			t.Errorf("refused %d, took %v; want 2 refused, 2 at 100 ms, 2 at 200 ms", refused, took)
		}
		if s := api.Stats(); s.Calls != 6 || s.Served != 4 || s.Refused != 2 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestQuotaRefusesWithRetryAfterThatIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Base: demo.Conditions{LatencyMS: 0.001, Slots: 9, QuotaPerSecond: 2}})
		ok := 0
		var last *httptest.ResponseRecorder
		for range 10 {
			if last = ask(api, "GET", "/movies/1", ""); last.Code == 200 {
				ok++
			}
		}
		if ok != 4 { // two seconds' worth
			t.Fatalf("%d answered at once, want the burst of 4", ok)
		}
		wantStatus(t, last, 429)
		if got := last.Header().Get("RateLimit-Policy"); got != `"default";q=4;w=2` {
			t.Errorf("RateLimit-Policy %q", got)
		}
		if got := last.Header().Get("RateLimit"); !strings.HasPrefix(got, `"default";r=0;t=`) {
			t.Errorf("RateLimit %q", got)
		}
		wait, err := strconv.Atoi(last.Header().Get("Retry-After"))
		if err != nil || wait < 1 {
			t.Fatalf("Retry-After %q", last.Header().Get("Retry-After"))
		}
		<-time.After(time.Duration(wait) * time.Second)
		wantStatus(t, ask(api, "GET", "/movies/1", ""), 200)
	})
}

func TestScenarioPlaysInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Scenario: []demo.Phase{
			{Name: "calm", Length: time.Minute},
			{Name: "slow", Length: time.Minute, LatencyFactor: 3, SlotsFactor: 0.5},
			{Name: "outage", Length: time.Minute, Outage: true},
		}})
		phase := func(want string) {
			t.Helper()
			if s := api.Stats(); s.Phase != want {
				t.Errorf("at %s: phase %q, want %q", time.Now().Format("04:05"), s.Phase, want)
			}
		}
		phase("calm")
		<-time.After(70 * time.Second)
		phase("slow")
		if c := api.Stats().Conditions; c.LatencyMS != 450 || c.Slots != 8 {
			t.Errorf("slow conditions %+v", c)
		}
		<-time.After(time.Minute)
		phase("outage")
		wantStatus(t, ask(api, "GET", "/movies/1", ""), 503)
		<-time.After(time.Minute)
		phase("calm")
	})
}

func TestControlPinsAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Scenario: demo.DefaultScenario()})
		wantStatus(t, ask(api, "POST", "/control", `{"latency_ms": 800, "slots": 3}`), 200)
		<-time.After(10 * time.Minute)
		if s := api.Stats(); s.Phase != "pinned" || s.Conditions.LatencyMS != 800 || s.Conditions.Slots != 3 {
			t.Errorf("pinned: %+v", s)
		}
		wantStatus(t, ask(api, "POST", "/control", `{"phase": "errors", "error_ratio": 1}`), 200)
		wantStatus(t, ask(api, "GET", "/movies/1", ""), 500)
		wantStatus(t, ask(api, "DELETE", "/control", ""), 200)
		if s := api.Stats(); s.Phase == "pinned" || s.Phase == "errors" {
			t.Errorf("released, but in phase %q", s.Phase)
		}
		for _, bad := range []string{`{"slots": 0}`, `{"error_ratio": 2}`, `{"latency_ms": -1}`, `{"speed": 1}`, `[]`, ``} {
			wantStatus(t, ask(api, "POST", "/control", bad), 400)
		}
		wantStatus(t, ask(api, "POST", "/control", `{"phase": "nope"}`), 404)
	})
}

func TestFilmsChangeAtTheirOwnRateAndRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Seed: 3})
		changed := 0
		for id := 1; id <= 40; id++ {
			path := "/movies/" + strconv.Itoa(id)
			first := ask(api, "GET", path, "")
			wantStatus(t, first, 200)
			etag, cc := first.Header().Get("Etag"), first.Header().Get("Cache-Control")
			if etag == "" || !strings.Contains(cc, "max-age=") || first.Header().Get("Last-Modified") == "" {
				t.Fatalf("film %d without validators: %v", id, first.Header())
			}
			<-time.After(time.Minute)
			again := ask(api, "GET", path, "", "If-None-Match", etag)
			if again.Code == http.StatusNotModified {
				continue
			}
			wantStatus(t, again, 200)
			if again.Header().Get("Etag") == etag || again.Body.String() == first.Body.String() {
				t.Fatalf("film %d: 200 for the version asked about", id)
			}
			changed++
		}
		if changed == 0 || changed == 40 {
			t.Errorf("%d of 40 films changed in a minute; some should, some not", changed)
		}
	})
}

func TestBatchFormsGiveTheSameFilms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Seed: 5, Base: demo.Conditions{LatencyMS: 0.001, Slots: 4}})
		alone := ask(api, "GET", "/movies/7", "").Body.String()
		member := func(name, body string) {
			t.Helper()
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatalf("%s: %v in %s", name, err, body)
			}
			if !strings.Contains(body, alone) {
				t.Errorf("%s: the film is not byte for byte what it is alone\n%s\n%s", name, body, alone)
			}
		}
		member("ids", ask(api, "GET", "/movies?ids=7,99999,8", "").Body.String())
		member("jsonrpc", ask(api, "POST", "/rpc", `[{"jsonrpc":"2.0","method":"movie.get","params":{"id":7},"id":1},{"jsonrpc":"2.0","method":"movie.get","params":{"id":8},"id":2}]`).Body.String())
		member("graphql", ask(api, "POST", "/graphql", `[{"query":"{movie(id: 7){title}}"},{"query":"query($i: ID){movie(id: $i){title}}","variables":{"i":8}}]`).Body.String())
		member("mget", ask(api, "POST", "/_mget", `{"docs":[{"_id":"7"},{"_id":"nope"}]}`).Body.String())
		item := ask(api, "GET", "/items/a%2F..%2Fb%2C%3F?size=40", "").Body.String()
		items := ask(api, "POST", "/items?size=40", `["x","a/../b,?"]`).Body.String()
		if !strings.Contains(items, item) || !strings.Contains(item, `"id":"a/../b,?"`) {
			t.Errorf("items: %s does not hold %s", items, item)
		}
	})
}

func TestJSONRPCKeepsToItsSpecification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Base: demo.Conditions{LatencyMS: 0.001, Slots: 4}})
		for _, c := range []struct {
			name, body, want string
			status           int
		}{
			{"not JSON", `{`, `"code":-32700`, 200},
			{"an empty batch", `[]`, `"code":-32600`, 200},
			{"no request", `[1]`, `"code":-32600`, 200},
			{"unknown method", `{"jsonrpc":"2.0","method":"x","id":"a"}`, `"code":-32601`, 200},
			{"bad params", `{"jsonrpc":"2.0","method":"movie.get","params":[1],"id":1}`, `"code":-32602`, 200},
			{"unknown film", `{"jsonrpc":"2.0","method":"movie.get","params":{"id":0},"id":1}`, `"code":-32001`, 200},
			{"a notification", `{"jsonrpc":"2.0","method":"movie.get","params":{"id":1}}`, ``, 204},
			{"a batch is answered in any order", `[{"jsonrpc":"2.0","method":"x","id":1},{"jsonrpc":"2.0","method":"x","id":2}]`, `"id":2},{`, 200},
		} {
			w := ask(api, "POST", "/rpc", c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%s: %d %s, want %d with %s", c.name, w.Code, w.Body, c.status, c.want)
			}
		}
	})
}

func TestEmbeddingsComeByIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{})
		vectors := func(body string) (out [][]float64) {
			var doc struct {
				Data []struct {
					Index     int
					Embedding []float64
				}
			}
			w := ask(api, "POST", "/v1/embeddings", body)
			wantStatus(t, w, 200)
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			for i, d := range doc.Data {
				if d.Index != i || len(d.Embedding) == 0 {
					t.Errorf("member %d: %+v", i, d)
				}
				out = append(out, d.Embedding)
			}
			return out
		}
		both, one := vectors(`{"input":["a","b"],"model":"m"}`), vectors(`{"input":"b"}`)
		if len(both) != 2 || len(one) != 1 || both[1][0] != one[0][0] || both[0][0] == both[1][0] {
			t.Errorf("vectors differ from batch to single: %v %v", both, one)
		}
		wantStatus(t, ask(api, "POST", "/v1/embeddings", `{"input":7}`), 400)
	})
}

func TestBadQuestionsGetTheirStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, demo.Options{Base: demo.Conditions{LatencyMS: 0.001, Slots: 4}})
		for target, status := range map[string]int{
			"/movies/0": 404, "/movies/1001": 404, "/movies/x": 404, "/movies/x/related": 404,
			"/movies?ids=x": 400, "/movies?ids=": 400, "/movies?page=0": 400, "/search": 400,
			"/movies?ids=" + strings.Repeat("1,", 101): 400,
			"/items/k?size=-1":                         400, "/items/k?size=999999999": 400, "/items/": 400,
			"/nothing": 404, "/movies?page=51": 200, "/movies?genre=drama": 200, "/search?q=RIVER": 200, "/movies/5/related": 200,
		} {
			if w := ask(api, "GET", target, ""); w.Code != status {
				t.Errorf("%s: %d, want %d: %s", target, w.Code, status, w.Body)
			}
		}
	})
}

func TestFaultyOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]demo.Options{
		"negative latency":     {Base: demo.Conditions{LatencyMS: -1}},
		"errors over one":      {Base: demo.Conditions{ErrorRatio: 1.5}},
		"phase without length": {Scenario: []demo.Phase{{Name: "x"}}},
	} {
		if _, err := demo.NewAPI(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

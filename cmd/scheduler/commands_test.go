package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/app"
	"penstock/configs"
	"penstock/demo"
)

// answering is a service that answers one path.
func answering(t *testing.T, path, answer string) func(c *cli) {
	t.Helper()
	return running(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if got := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(b)); got != path {
			t.Errorf("asked %s, want %s", got, path)
		}
		_, _ = io.WriteString(w, answer)
	})
}

func TestValidateSaysOkOrEveryFault(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	writeFile(t, good, "upstreams:\n  movies:\n    base_url: http://127.0.0.1:9000\n")
	writeFile(t, bad, "upstreams:\n  movies:\n    base_ulr: http://127.0.0.1:9000\n    workers: {count: none}\n")
	want(t, command(t, nil, "validate", good), exitOK, "ok: 1 upstream, 0 routes")
	want(t, command(t, nil, "validate", good, "--json"), exitOK, `"ok": true`)
	want(t, command(t, nil, "validate", bad), exitFailed, bad+":3 ", `did you mean "base_url"`, bad+":4 ")
	want(t, command(t, nil, "validate", bad, "--json"), exitFailed, `"ok": false`)
	want(t, command(t, nil, "validate", good, "--set", "workers.count=none"), exitFailed, "workers.count")
	want(t, command(t, nil, "validate", filepath.Join(dir, "none.yaml")), exitFailed, "none.yaml")
}

func TestShippedConfigurationsAreValid(t *testing.T) {
	for name, text := range map[string]string{"demo.yaml": demoConfig, "compare.yaml": compareConfig} {
		path := filepath.Join(t.TempDir(), name)
		writeFile(t, path, strings.ReplaceAll(text, "{{api}}", "http://127.0.0.1:9000"))
		want(t, command(t, nil, "validate", path), exitOK, "ok: 1 upstream")
	}
	for _, preset := range []string{"aggressive", "balanced", "conservative"} {
		got := command(t, nil, "config", "init", "--preset", preset)
		want(t, got, exitOK, preset)
		path := filepath.Join(t.TempDir(), "init.yaml")
		writeFile(t, path, got.out)
		want(t, command(t, nil, "validate", path), exitOK, "ok:")
	}
}

func TestConfigDocumentsComeFromTheCode(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(command(t, nil, "config", "schema").out), &schema); err != nil {
		t.Error(err)
	}
	want(t, command(t, nil, "config", "reference"), exitOK, "server")
}

func TestConfigEffectiveShowsChoicesAndTheirSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	writeFile(t, path, "upstreams:\n  movies:\n    base_url: http://127.0.0.1:9000\n")
	got := command(t, nil, "config", "effective", "--config", path)
	want(t, got, exitOK, "upstreams.movies.base_url", path+":3")
	if strings.Contains(got.out, "default") {
		t.Errorf("it shows a default:\n%s", got.out)
	}
	want(t, command(t, nil, "config", "effective", "--config", path, "--all"), exitOK, "server.drain_timeout", "default")

	answer := `{"entries":[{"key":"a.b","value":1,"source":"file","file":"f.yaml","line":3},{"key":"c","value":2,"source":"default"}],"last_reload":{"at":"2026-01-02T03:04:05Z","ok":false,"error":"f.yaml:3 bad"}}`
	got = command(t, answering(t, "GET /admin/v1/config", answer), "config", "effective")
	want(t, got, exitOK, "a.b", "f.yaml:3", "refused", "f.yaml:3 bad")
	if strings.Contains(got.out, "default") {
		t.Errorf("it shows a default:\n%s", got.out)
	}
}

func TestReloadPrintsTheDifference(t *testing.T) {
	answer := `{"changes":[{"key":"workers.count","from":"8","to":"9","restart_needed":false},{"key":"server.listen","from":"","to":":1","restart_needed":true}],"restart_needed":["server.listen"]}`
	want(t, command(t, answering(t, "POST /admin/v1/config/reload", answer), "reload"), exitOK, "workers.count", "needs a restart")
	want(t, command(t, answering(t, "POST /admin/v1/config/reload", `{"changes":[],"restart_needed":[]}`), "reload"), exitOK, "nothing differs")
	refuse := running(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(422)
		_, _ = io.WriteString(w, `{"type":"urn:penstock:problem:unprocessable","detail":"the file is faulty","errors":[{"detail":"p.yaml:3 x: bad"}]}`)
	})
	want(t, command(t, refuse, "reload"), exitFailed, "the file is faulty", "p.yaml:3 x: bad")
}

const oneKnob = `{"name":"workers.movies","kind":"int","unit":"permits","min":1,"max":null,"value":12,"text":"12","source":"pin","pin":{"text":"12","note":"test","author":"api"}}`

func TestKnobsListPinUnpin(t *testing.T) {
	list := `{"knobs":[` + oneKnob + `,{"name":"cache.ttl.x","kind":"duration","min":0,"max":60,"text":"5s","source":"default"}]}`
	got := command(t, answering(t, "GET /admin/v1/knobs", list), "knobs", "list", "workers")
	want(t, got, exitOK, "workers.movies", "1 to any", "by api, test")
	if strings.Contains(got.out, "cache.ttl.x") {
		t.Errorf("the prefix does not count:\n%s", got.out)
	}
	want(t, command(t, answering(t, "GET /admin/v1/knobs", list), "knobs", "list"), exitOK, "0s to 1m0s")
	want(t, command(t, answering(t, "GET /admin/v1/knobs", list), "knobs", "list", "--json"), exitOK, `"name": "cache.ttl.x"`)
	pin := answering(t, `PUT /admin/v1/knobs/workers.movies/pin {"value":"12","for":"10m0s","note":"test"}`, oneKnob)
	want(t, command(t, pin, "knobs", "pin", "workers.movies", "12", "--for", "10m", "--note", "test"), exitOK, "workers.movies")
	want(t, command(t, answering(t, "DELETE /admin/v1/knobs/workers.movies/pin", oneKnob), "knobs", "unpin", "workers.movies"), exitOK)
}

func TestAdminTokenComesFromAFileOrTheEnvironment(t *testing.T) {
	token := ""
	service := running(t, func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"knobs":[]}`)
	})
	want(t, command(t, service, "knobs", "list"), exitOK)
	if token != "Bearer secret" {
		t.Errorf("token %q", token)
	}
	path := filepath.Join(t.TempDir(), "token")
	writeFile(t, path, "other\n")
	want(t, command(t, service, "knobs", "list", "--token-file", path), exitOK)
	if token != "Bearer other" {
		t.Errorf("token %q", token)
	}
	want(t, command(t, service, "knobs", "list", "--token-file", path+"x"), exitFailed, "--token-file")
}

func TestPurgeAndDecisions(t *testing.T) {
	want(t, command(t, answering(t, `POST /admin/v1/cache/purge {"key":"movie?id=1"}`, `{"purged":1}`), "purge", "--key", "movie?id=1"), exitOK, "purged 1 answer\n")
	want(t, command(t, answering(t, `POST /admin/v1/cache/purge {"all":true}`, `{"purged":7}`), "purge", "--all", "--json"), exitOK, `"purged": 7`)
	answer := `{"decisions":[{"id":"1","time":"2026-01-02T03:04:05Z","knob":"workers.m","from":8,"to":9,"rule":"grow","reason":"goodput rose","verdict":"worse","rolled_back":true}]}`
	want(t, command(t, answering(t, "GET /admin/v1/decisions?knob=workers.m&limit=20", answer), "decisions", "list", "--knob", "workers.m"), exitOK, "goodput rose", "worse, rolled back")
	want(t, command(t, answering(t, "GET /admin/v1/decisions?limit=20", `{"decisions":[]}`), "decisions", "list"), exitOK, "no decisions yet")
	want(t, command(t, answering(t, "GET /admin/v1/decisions?limit=20", `{}`), "decisions", "list", "--json"), exitOK, "[]")
	asked := "GET /admin/v1/decisions?limit=20&since=2026-01-02T03%3A04%3A05Z&verdict=worse"
	want(t, command(t, answering(t, asked, answer), "decisions", "list", "--since", "2026-01-02T03:04:05Z", "--verdict", "worse"), exitOK, "goodput rose")
	want(t, command(t, nil, "decisions", "list", "--since", "yesterday"), exitUsage, "--since", "1h30m")
	want(t, command(t, nil, "decisions", "tail", "--verdict", "bad"), exitUsage, "better, neutral, worse")
}

func TestADecisionIsExplained(t *testing.T) {
	answer := `{"id":"a-1","time":"2026-01-02T03:04:05Z","knob":"workers.m","upstream":"m","from":8,"to":9.5,"rule":"grow","reason":"goodput rose",
		"expected":"more","signals":{"p95_seconds":0.25,"calls":120},"mode":"active","verdict":"worse","measured":"it fell","judged_at":"2026-01-02T03:04:35Z","rolled_back":true}`
	want(t, command(t, answering(t, "GET /admin/v1/decisions/a-1", answer), "decisions", "explain", "a-1"), exitOK,
		"change    8 -> 9.5\n", "reason    goodput rose\n", "signals   calls = 120\n", "p95_seconds = 0.25\n", "verdict   worse, rolled back\n", "judged    30s after it\n")
	want(t, command(t, answering(t, "GET /admin/v1/decisions/a-1", answer), "decisions", "explain", "a-1", "--json"), exitOK, `"measured": "it fell"`)
	want(t, command(t, nil, "decisions", "explain"), exitUsage)
}

func TestTailPrintsEachChangeUntilItIsRefused(t *testing.T) {
	calls := 0
	service := running(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls > 1 {
			if last := r.Header.Get("Last-Event-ID"); last != "8" {
				t.Errorf("the second time it asks for %q", last)
			}
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `id: 7
event: decision
data: {"id":"a-1","knob":"workers.m","from":8,"to":9,"rule":"grow","reason":"goodput rose"}

id: 8
event: decision
data: {"id":"a-1","knob":"workers.m","from":8,"to":9,"rule":"grow","reason":"goodput rose","verdict":"better","measured":"10 % more"}

`)
	})
	want(t, command(t, service, "decisions", "tail"), exitFailed, "workers.m 8 -> 9  grow: goodput rose\n", "better: 10 % more\n", "trying again")
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestSendPrintsTheAnswer(t *testing.T) {
	item := `POST /v1/requests {"route":"movie","params":{"id":"42","n":12345678901234567890},"urgency":0,"deadline_ms":800,"cache":"no-cache"}`
	args := []string{"send", "movie", "id=42", "n:=12345678901234567890", "-u", "0", "--deadline", "800ms", "--cache", "no-cache"}
	got := command(t, answering(t, item, `{"a":1}`), args...)
	want(t, got, exitOK)
	if got.out != "{\"a\":1}\n" {
		t.Errorf("printed %q", got.out)
	}
	want(t, command(t, answering(t, item, `{"a":1}`), append(args, "--include")...), exitOK, "200 OK\n", "Content-Length: 7\n", `{"a":1}`)
	want(t, command(t, answering(t, item, `{"a":1}`), append(args, "--json")...), exitOK, `"status": 200`, `"a": 1`)
}

func TestSendFailsOnFailures(t *testing.T) {
	missing := running(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = io.WriteString(w, "no film")
	})
	want(t, command(t, missing, "send", "movie", "id=1"), exitFailed, "no film\n", "the upstream answered 404")
	refused := running(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"type":"urn:penstock:problem:unknown-route","detail":"no route is named x"}`)
	})
	want(t, command(t, refused, "send", "x"), exitFailed, "no route is named x")
}

func TestHealthcheck(t *testing.T) {
	path := ""
	service := running(t, func(w http.ResponseWriter, r *http.Request) {
		if path = r.URL.Path; path == "/readyz" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"type":"urn:penstock:problem:shutting-down","detail":"draining"}`)
			return
		}
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	})
	if got := command(t, service, "healthcheck"); got != (outcome{}) || path != "/healthz" {
		t.Errorf("%+v after %s; silence means all is well", got, path)
	}
	want(t, command(t, service, "healthcheck", "--ready"), exitFailed, "draining")
	want(t, command(t, nil, "healthcheck", "--url", "http://127.0.0.1:1"), exitFailed, "does it run")
}

func TestCompletionAsksTheRunningService(t *testing.T) {
	service := running(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/routes" {
			_, _ = io.WriteString(w, `{"routes":[{"name":"movie","method":"GET","path":"/m/{id}","params":{"id":{"doc":"a number"}}}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"knobs":[`+oneKnob+`]}`)
	})
	want(t, command(t, service, "__complete", "knobs", "pin", ""), exitOK, "workers.movies\t12 permits")
	want(t, command(t, service, "__complete", "send", ""), exitOK, "movie\tGET /m/{id}")
	want(t, command(t, service, "__complete", "send", "movie", ""), exitOK, "id=\ta number")
	want(t, command(t, service, "__complete", "purge", "--route", ""), exitOK, "movie")
	gone := func(c *cli) {
		c.env = []string{"PENSTOCK_URL=http://127.0.0.1:1", "PENSTOCK_ADMIN_URL=http://127.0.0.1:1"}
	}
	want(t, command(t, gone, "__complete", "knobs", "unpin", ""), exitOK, ":4")
}

func TestReplayReportsATrace(t *testing.T) {
	api, err := demo.NewAPI(demo.Options{Base: demo.Conditions{LatencyMS: 1, Slots: 50}})
	if err != nil {
		t.Fatal(err)
	}
	var target string
	service := running(t, api.ServeHTTP)
	get := func(c *cli) {
		service(c)
		target = c.getenv("PENSTOCK_URL")
	}
	path := filepath.Join(t.TempDir(), "trace.csv")
	writeFile(t, path, "timestamp_ms,client,key,size\n0,-,a,0\noops,-,a,0\n10,-,/b?c,0\n20,-,a,0\n")
	command(t, get, "version")
	got := command(t, nil, "replay", "--trace", path, "--target", target, "--stats-url", target+"/stats")
	want(t, got, exitOK, "3 in", "100.0 %", "upstream calls   3", "33.3 %", "1 malformed rows", "line 3")
	got = command(t, nil, "replay", "--trace", path, "--target", target, "--json", "--quiet")
	var rep demo.Report
	if err := json.Unmarshal([]byte(got.out), &rep); err != nil || rep.Rows != 3 || rep.OK != 3 || rep.Keys != 2 || rep.UpstreamCalls != nil {
		t.Errorf("%v: %s", err, got.out)
	}
	want(t, command(t, nil, "replay", "--trace", path, "--target", "http://127.0.0.1:1"), exitFailed, "connection", "is the target right?")
	want(t, command(t, nil, "replay", "--trace", path+"x"), exitFailed, "trace.csvx")
	want(t, command(t, nil, "replay", "--compare", "--trace", "none.csv"), exitFailed, "PENSTOCK_TRACES")
}

func TestCompareRunsEachSideInAProcessOfItsOwn(t *testing.T) {
	var b strings.Builder
	b.WriteString("timestamp_ms,client,key,size\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "%d,-,k%d,0\n", i, i%20)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "trace.csv"), b.String())
	got := command(t, func(c *cli) {
		c.env = append(os.Environ(), asProgram, "PENSTOCK_TRACES="+dir)
	}, "replay", "--compare", "--trace", "trace.csv", "--seconds", "0.5", "--load", "2", "--json")
	want(t, got, exitOK)
	var result demo.Comparison
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	with := result.With
	if result.Without.Rows == 0 || with.OK != with.Rows || !with.Cached || with.Hits+with.Collapsed == 0 || *with.UpstreamCalls >= *result.Without.UpstreamCalls {
		t.Errorf("without %+v, with %+v", result.Without.Report, with.Report)
	}
	if _, err := os.Stat("/proc/self/status"); err == nil && with.PenstockRSS == 0 {
		t.Error("Penstock's memory is not known")
	}
}

func TestDemoServesAndStops(t *testing.T) {
	s := &fakeService{failed: make(chan error)}
	got := command(t, func(c *cli) {
		c.newService = s.open(t)
	}, "demo", "--visitors", "0", "--duration", "1ms", "--listen", ":0")
	want(t, got, exitOK, "movie API:   http://127.0.0.1:", "curl -i http://127.0.0.1:1234/proxy/movies/movies/42", "http://127.0.0.1:5678/")
	if strings.Join(s.events, " ") != "start stop" {
		t.Errorf("events %v", s.events)
	}
	if !s.options.Ephemeral {
		t.Error("without a folder the demo has no jobs in memory")
	}
	command(t, func(c *cli) { c.newService = s.open(t) }, "demo", "--visitors", "0", "--duration", "1ms", "--listen", ":0", "--set", "data_dir=kept")
	if s.options.Ephemeral {
		t.Error("ephemeral with a folder")
	}
	if o := s.options.Config; o.Flags["server.listen"] != ":0" || o.Flags["log.level"] != "warn" {
		t.Errorf("flags %v", o.Flags)
	}
	if _, err := os.Stat(s.options.Config.Path); !os.IsNotExist(err) {
		t.Errorf("the demo's configuration was left behind: %v", err)
	}
}

// open takes the place of app.New, and checks that what it is given can be loaded.
func (s *fakeService) open(t *testing.T) func(o app.Options) (service, error) {
	return func(o app.Options) (service, error) {
		if _, err := configs.Load(o.Config); err != nil {
			t.Error(err)
		}
		s.options = o
		return s, nil
	}
}

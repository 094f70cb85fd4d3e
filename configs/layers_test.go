package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/knob"
)

// write puts a file into a fresh folder and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, o LoadOptions) *Loaded {
	t.Helper()
	l, err := Load(o)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return l
}

func mustParse(t *testing.T, text string) *Loaded {
	t.Helper()
	l, err := Parse("penstock.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return l
}

func TestEachSourceBeatsTheOneBefore(t *testing.T) {
	file := func(text string) string { return write(t, "penstock.yaml", text) }
	env := []string{"PENSTOCK_WORKERS__COUNT=20"}
	flags := map[string]string{"workers.count": "21"}
	for _, step := range []struct {
		name   string
		o      LoadOptions
		want   int
		source knob.Source
		place  string
		line   int
	}{
		{"default", LoadOptions{}, 16, knob.SourceDefault, "", 0},
		{"preset", LoadOptions{Path: file("preset: conservative\n")}, 4, SourcePreset, "", 0},
		{"file", LoadOptions{Path: file("preset: conservative\nworkers:\n  count: 19\n")}, 19, knob.SourceFile, "penstock.yaml", 3},
		{"environment", LoadOptions{Path: file("workers: {count: 19}"), Env: env}, 20, knob.SourceEnv, "env PENSTOCK_WORKERS__COUNT", 0},
		{"flag", LoadOptions{Path: file("workers: {count: 19}"), Env: env, Flags: flags}, 21, knob.SourceFlag, "flag --workers.count", 0},
		{"preset by flag", LoadOptions{Path: file("preset: balanced"), Flags: map[string]string{"preset": "aggressive"}}, 64, SourcePreset, "", 0},
	} {
		t.Run(step.name, func(t *testing.T) {
			l := mustLoad(t, step.o)
			if l.Config.Workers.Count != step.want {
				t.Errorf("count is %d, want %d", l.Config.Workers.Count, step.want)
			}
			o := l.Sources["workers.count"]
			if o.Source != step.source || !strings.HasSuffix(o.File, step.place) || o.Line != step.line {
				t.Errorf("the origin is %+v", o)
			}
		})
	}
}

func TestTheSmallestConfigurationIsComplete(t *testing.T) {
	l := mustParse(t, "upstreams:\n  movies:\n    base_url: http://127.0.0.1:9000\n")
	c := l.Config
	want := inheritedUpstream()
	want.BaseURL = "http://127.0.0.1:9000"
	if diff := cmp.Diff(want, c.Upstreams["movies"]); diff != "" {
		t.Errorf("the upstream (-want +got):\n%s", diff)
	}
	bare := *Defaults()
	bare.Upstreams = c.Upstreams
	if diff := cmp.Diff(bare, *c); diff != "" {
		t.Errorf("the sections (-want +got):\n%s", diff)
	}
	if c.Tuning.Mode != "active" || c.Upstreams["movies"].Cache.Mode != "http" || len(c.Rates) != 0 {
		t.Errorf("tuner %q, cache %q, rates %v", c.Tuning.Mode, c.Upstreams["movies"].Cache.Mode, c.Rates)
	}
}

func TestUpstreamsAndRoutesInheritWhatTheyDoNotSet(t *testing.T) {
	l := mustParse(t, `
cache: {default_ttl: 7m, negative_ttl: 3s, stale_if_error: 2h}
workers: {count: 8, queue_length: 5}
rates: [{limit: 10}]
pool: {http2: false}
batching: {max_items: 7}
upstreams:
  a:
    base_url: http://a
    workers: {queue_length: 9}
    cache: {mode: ttl, negative_ttl: 4s}
    on_abandon: cancel
  b:
    base_url: http://b
    rates: []
routes:
  on-a: {upstream: a, path: /x}
  on-b: {upstream: b, path: /x, on_abandon: finish, cache: {ttl: 1s}}
  off: {upstream: a, path: /x, cache: {mode: "off", ttl: 5s}}
`)
	c := l.Config
	a, b := c.Upstreams["a"], c.Upstreams["b"]
	onA, onB := c.Routes["on-a"], c.Routes["on-b"]
	for what, ok := range map[string]bool{
		"a's workers":        a.Workers.Count == 8 && a.Workers.QueueLength == 9,
		"a's rates":          len(a.Rates) == 1 && a.Rates[0] == Rate{Limit: 10, Per: time.Second},
		"b's own empty":      len(b.Rates) == 0,
		"a's pool":           !a.Pool.HTTP2 && a.Pool.MaxIdle == Defaults().Pool.MaxIdle,
		"a's ttl":            a.Cache.TTL == 7*time.Minute && a.Cache.NegativeTTL == 4*time.Second,
		"route on a":         onA.Cache == a.Cache && onA.OnAbandon == "cancel",
		"ttl means mode ttl": onB.Cache.Mode == "ttl" && onB.Cache.TTL == time.Second && onB.Cache.StaleIfError == 2*time.Hour,
		"own abandon":        onB.OnAbandon == "finish",
		"explicit mode":      c.Routes["off"].Cache.Mode == "off",
		"batch":              onA.Batch.MaxItems == 7 && onA.Batch.Form == "",
		"route defaults":     onA.Method == "GET" && onA.Urgency == 3,
	} {
		if !ok {
			t.Errorf("%s: a %+v\nb %+v\non-a %+v\non-b %+v", what, a, b, onA, onB)
		}
	}
	for key, want := range map[string]Origin{
		"upstreams.a.workers.count":        {Source: knob.SourceFile, File: "penstock.yaml", Line: 3, Inherits: "workers.count"},
		"upstreams.a.workers.queue_length": {Source: knob.SourceFile, File: "penstock.yaml", Line: 10},
		"upstreams.a.rates[0].limit":       {Source: knob.SourceFile, File: "penstock.yaml", Line: 4, Inherits: "rates[0].limit"},
		"routes.on-a.on_abandon":           {Source: knob.SourceFile, File: "penstock.yaml", Line: 12, Inherits: "upstreams.a.on_abandon"},
		"routes.on-a.cache.ttl":            {Source: knob.SourceFile, File: "penstock.yaml", Line: 2, Inherits: "cache.default_ttl"},
		"routes.on-b.cache.mode":           {Source: knob.SourceFile, File: "penstock.yaml", Line: 18, Inherits: "routes.on-b.cache.ttl"},
		"routes.on-b.path":                 {Source: knob.SourceFile, File: "penstock.yaml", Line: 18},
	} {
		if got := l.Sources[key]; got != want {
			t.Errorf("the origin of %s is %+v, want %+v", key, got, want)
		}
	}
}

func TestAnExplicitWorkerCountWidensTheDefaultRange(t *testing.T) {
	c := mustParse(t, `
workers: {count: 500}
upstreams:
  a: {base_url: http://a}
  b: {base_url: http://b, workers: {count: 900}}
`).Config
	if c.Workers.Max != 500 || c.Upstreams["a"].Workers.Max != 500 || c.Upstreams["b"].Workers.Max != 900 {
		t.Errorf("max: %d, %d, %d", c.Workers.Max, c.Upstreams["a"].Workers.Max, c.Upstreams["b"].Workers.Max)
	}
	if _, err := Parse("x.yaml", []byte("workers: {count: 500, max: 400}")); err == nil {
		t.Error("a count over an explicit max was taken")
	}
}

func TestTheOnlyUpstreamNeedNotBeNamedByItsRoutes(t *testing.T) {
	c := mustParse(t, "upstreams: {a: {base_url: http://a}}\nroutes: {r: {path: /x}}").Config
	if c.Routes["r"].Upstream != "a" {
		t.Errorf("the route's upstream is %q", c.Routes["r"].Upstream)
	}
	if _, err := Parse("x.yaml", []byte("upstreams: {a: {base_url: http://a}, b: {base_url: http://b}}\nroutes: {r: {path: /x}}")); err == nil {
		t.Error("a route without upstream was taken though there are two")
	}
}

func TestVariablesMapToKeys(t *testing.T) {
	file := write(t, "penstock.yaml", `
upstreams:
  tv-shows:
    base_url: http://a
    headers: {x-trace: "1"}
    credentials: [{header: Authorization, env: PENSTOCK_TV_KEY}]
routes:
  show: {upstream: tv-shows, path: "/{id}"}
`)
	c := mustLoad(t, LoadOptions{Path: file, Env: []string{
		"PENSTOCK_SERVER__LISTEN=:1234",
		"PENSTOCK_DATA_DIR=/tmp/x",
		"PENSTOCK_CACHE__MAX_BYTES=64MiB",
		"PENSTOCK_TUNING__MODE=off",
		"PENSTOCK_PRIORITIES__ENABLED=false",
		"PENSTOCK_UPSTREAMS__TV_SHOWS__BASE_URL=http://b",
		"PENSTOCK_UPSTREAMS__TV_SHOWS__HEADERS__X_TRACE=2",
		"PENSTOCK_UPSTREAMS__TV_SHOWS__HEADERS__ACCEPT_LANGUAGE=de",
		"PENSTOCK_UPSTREAMS__TV_SHOWS__RETRY__ON_STATUS=502, 503",
		"PENSTOCK_UPSTREAMS__MOVIES__BASE_URL=http://c",
		`PENSTOCK_RATES=[{limit: 5, per: 1m}]`,
		`PENSTOCK_ROUTES__SHOW__BODY={"q": ["{id}", 1.50, true, null]}`,
		"PENSTOCK_KNOBS__WORKERS__MOVIES=12",
		// Not settings:
		"PENSTOCK_TV_KEY=secret", "PENSTOCK_CONFIG=x", "PENSTOCK_TRACES=y", "PENSTOCK_ADMIN_TOKEN=z",
		"PENSTOCK_SERVICE_HOST=10.0.0.1", "PENSTOCK_PORT=tcp://10.0.0.1:80", "PENSTOCK_PORT_8080_TCP_ADDR=1", "PENSTOCK_SERVICE_PORT_HTTP=80",
		"PENSTOCK_LOG__LEVEL=", "OTHER=1", "noequals",
	}}).Config
	tv := c.Upstreams["tv-shows"]
	for what, ok := range map[string]bool{
		"listen":    c.Server.Listen == ":1234",
		"data_dir":  c.DataDir == "/tmp/x",
		"size":      c.Cache.MaxBytes == 64<<20,
		"mode":      c.Tuning.Mode == "off",
		"bool":      !c.Priorities.Enabled,
		"dash":      tv.BaseURL == "http://b" && len(c.Upstreams) == 2,
		"header":    tv.Headers["x-trace"] == "2" && tv.Headers["Accept-Language"] == "de" && len(tv.Headers) == 2,
		"ints":      cmp.Equal(tv.Retry.OnStatus, []int{502, 503}),
		"made":      c.Upstreams["movies"].BaseURL == "http://c" && c.Upstreams["movies"].Workers.Count == 16,
		"list":      cmp.Equal(c.Rates, []Rate{{Limit: 5, Per: time.Minute}}) && cmp.Equal(tv.Rates, c.Rates),
		"knob":      c.Knobs["workers.movies"] == "12",
		"empty":     c.Log.Level == "info",
		"body":      exactJSON(t, c.Routes["show"].Body) == `{"q":["{id}",1.50,true,null]}`,
		"credental": len(tv.Credentials) == 1,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

func TestWrongVariablesAndFlagsAreFaultsWithASuggestion(t *testing.T) {
	_, err := Load(LoadOptions{
		Path: write(t, "penstock.yaml", "upstreams: {movies: {base_url: http://a}}"),
		Env: []string{
			"PENSTOCK_SERVR__LISTEN=:1", "PENSTOCK_SERVER_LISTEN=:1", "PENSTOCK_UPSTREAMS__MOVIES__BASE_ULR=x",
			"PENSTOCK_UPSTREAMS__OTHER__BASEURL=x", "PENSTOCK_WHAT=1", "PENSTOCK_SERVER=1", "PENSTOCK_WORKERS__COUNT=many",
			"PENSTOCK_WORKERS__COUNT__X=1", "PENSTOCK_CACHE__DEFAULT_TTL=60", "PENSTOCK_PRELOAD__ENABLED=on", "PENSTOCK_RATES=[{limit: x}]",
			"PENSTOCK_UPSTREAMS__MOVIES__MAX_RESPONSE_BYTES=1",
		},
		Flags: map[string]string{"server.listn": ":1", "server": "x", "listen.x": "1", "log.level": "loud", "upstreams.movies.base_url.x": "1"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	golden(t, "variables.golden", err.Error()+"\n")
}

func TestYAMLAnchorsAndMergeKeysWork(t *testing.T) {
	c := mustParse(t, `
x-common: &common
  timeouts: {connect: 1s}
  workers: {count: 3}
upstreams:
  a:
    <<: *common
    base_url: http://a
  b:
    <<: [*common]
    base_url: http://b
    workers: {count: 5}
`).Config
	if a, b := c.Upstreams["a"], c.Upstreams["b"]; a.Timeouts.Connect != time.Second || a.Workers.Count != 3 || b.Workers.Count != 5 || b.Timeouts.Connect != time.Second {
		t.Errorf("a %+v\nb %+v", a, b)
	}
}

func TestAllFormatsGiveTheSameConfiguration(t *testing.T) {
	parse := func(name, text string) *Config {
		l, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return l.Config
	}
	yaml := parse("a.yaml", `
upstreams:
  m: {base_url: "http://m", rates: [{limit: 2.5, per: 2s}, {limit: 100, per: 1h, burst: 3}]}
routes:
  r: {path: "/{id}", method: POST, body: {ids: ["{id}"], n: 1, f: 0.5, deep: {x: true}}, params: {id: {default: 7}}, key: [id]}
cache: {max_bytes: 1048576, default_ttl: 90s}
knobs: {workers.m: 3}
`)
	toml := parse("a.toml", `
[upstreams.m]
base_url = "http://m"
[[upstreams.m.rates]]
limit = 2.5
per = "2s"
[[upstreams.m.rates]]
limit = 1_00
per = "1h"
burst = 0x3
[routes.r]
path = "/{id}"
method = "POST"
body = { ids = ["{id}"], n = 1, f = 0.5, deep.x = true }
params.id.default = 7
key = [
  "id", # a comment
]
[cache]
max_bytes = 1048576
default_ttl = "1m30s"
[knobs]
"workers.m" = 3
`)
	json := parse("a.json", `{"$schema": "x", "upstreams": {"m": {"base_url": "http://m", "rates": [{"limit": 2.5, "per": "2s"}, {"limit": 100, "per": "1h", "burst": 3}]}},
"routes": {"r": {"path": "/{id}", "method": "POST", "body": {"ids": ["{id}"], "n": 1, "f": 0.5, "deep": {"x": true}}, "params": {"id": {"default": 7}}, "key": ["id"]}},
"cache": {"max_bytes": "1MiB", "default_ttl": "1.5m"}, "knobs": {"workers.m": "3"}}`)
	if diff := cmp.Diff(yaml, toml); diff != "" {
		t.Errorf("TOML differs from YAML:\n%s", diff)
	}
	if diff := cmp.Diff(yaml, json); diff != "" {
		t.Errorf("JSON differs from YAML:\n%s", diff)
	}
}

func TestAByteOrderMarkAndCommentsOnlyAreFine(t *testing.T) {
	for _, text := range []string{"\xef\xbb\xbfpreset: aggressive\n", "# nothing\n", "---\n", "cache:\nupstreams:\n"} {
		if _, err := Parse("a.yaml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAFileThatCanNotBeReadIsFatal(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "there is no such file",
		dir:                             "can't be read",
		write(t, "a.ini", "x"):          `the extension ".ini" says no format`,
		write(t, "big.yaml", strings.Repeat("# filler\n", maxFileBytes/9+1)): "the file is over 4MiB",
	} {
		if _, err := Load(LoadOptions{Path: path}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestChecksOfTheCallerGetPlaces(t *testing.T) {
	path := write(t, "penstock.yaml", "knobs:\n  wokers.m: 3\nworkers: {count: 0}\n")
	_, err := Load(LoadOptions{Path: path, Checks: []func(*Config) []Fault{func(c *Config) []Fault {
		if c.Knobs["wokers.m"] != "3" {
			t.Errorf("the check sees %v", c.Knobs)
		}
		return []Fault{{Key: "knobs.wokers.m", Problem: "there is no such knob", Suggestion: "workers.m"}}
	}}})
	want := path + ":2 knobs.wokers.m: there is no such knob (did you mean \"workers.m\"?)\n" + path + ":3 workers.count: must be at least 1, not 0"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestAListOfAStrongerSourceReplacesTheWeakerOneWhole(t *testing.T) {
	l := mustLoad(t, LoadOptions{
		Path: write(t, "penstock.yaml", "rates: [{limit: 1}, {limit: 2}]"),
		Env:  []string{"PENSTOCK_RATES=[{limit: 3, per: 1m}]"},
	})
	if want := []Rate{{Limit: 3, Per: time.Minute}}; !cmp.Equal(l.Config.Rates, want) {
		t.Errorf("got %+v, want %+v", l.Config.Rates, want)
	}
	if o, ok := l.Sources["rates[1].limit"]; ok {
		t.Errorf("the replaced element still has the origin %+v", o)
	}
}

func TestAFloodOfFaultsIsBounded(t *testing.T) {
	_, err := Parse("a.yaml", []byte(strings.Repeat("a: 1\n", 5000)))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxFaults+1 || !strings.HasPrefix(lines[maxFaults], "a.yaml: there are ") {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

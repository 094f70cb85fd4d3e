package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func pathOf(t tab) string { return "/" + strings.TrimPrefix(t.Path, ".") }

// pages gives each page, of a source that has something of everything and of one that has nothing.
func pages(t *testing.T, visit func(t *testing.T, name, html string)) {
	t.Helper()
	empty := &fake{now: Now{At: noon, Status: "draining", ReadOnly: true}}
	for name, s := range map[string]*fake{"full": newFake(), "empty": empty} {
		h := NewHandler(s)
		for _, tab := range tabs {
			for _, query := range []string{"", "?range=24h&knob=workers.movies&decision=d1", "?from=1&to=2&knob=nothing&decision=nothing"} {
				w := get(t, h, pathOf(tab)+query)
				if w.Code != http.StatusOK {
					t.Fatalf("%s %s%s: status %d: %s", name, pathOf(tab), query, w.Code, w.Body)
				}
				visit(t, name+" "+pathOf(tab)+query, w.Body.String())
			}
		}
	}
}

func TestEachPageShowsWhatThereIs(t *testing.T) {
	h := NewHandler(newFake())
	for path, want := range map[string][]string{
		"/":            {"12.3/s", "87.5 %", "123 ms", "5.0 MiB", "12,345", "worth 12.50", "workers", "one more slot", "many fail"},
		"/tuning":      {"Freeze all", "Unpin", "for the sale", "1 to 64", "chosen 12", "between 10 and 18", "Calls to movies", "pin until"},
		"/queue":       {"acme", "newest first for u7", "queue full", "default"},
		"/cache":       {"movies movie id=", "12.50", "Purge", "1.0 GiB"},
		"/preload":     {"sequence", "78.0 %", "a key of movie"},
		"/upstreams":   {"open", "tries again in 4.00 s", "75.0 %", "refused (429)", "100 in 60 s", "headers"},
		"/jobs?job=j1": {"Dead letters", "no connection", "1,234,567", "Send again", "25.0 %", "500/s", "30 s", "broke off", "Why the last attempt failed", "Older", "u5"},
		"/config":      {"cache.max_bytes", "2GiB", "at the next start", "penstock.yaml:4", "unknown key"},
		"/alerts":      {"ErrorRatio", "critical", "pager.example/***", "BreakerOpen"},
		"/tuning?knob=workers.movies&decision=d1": {"Pin here (12)", "Roll back to 8", "Before and after", "throughput rose", "250 ms"},
		"/tuning?knob=cache.ttl.movie":            {"every 1000 s", "0.80 % of hits"},
		"/tuning?knob=cache.ttl.movie&range=5m":   {"last 5 min"},
		"/tuning?from=1772625500&to=1772625600.5": {"4 Mar"},
	} {
		body := strings.ReplaceAll(get(t, h, path).Body.String(), "16 min 40 s", "1000 s")
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s lacks %q", path, s)
			}
		}
	}
}

func TestWhatComesFromOutsideIsEscaped(t *testing.T) {
	pages(t, func(t *testing.T, name, html string) {
		if strings.Contains(html, hostile) {
			t.Errorf("%s holds a script of somebody else", name)
		}
	})
}

func TestNothingInlineAndNothingFromOutside(t *testing.T) {
	bad := regexp.MustCompile(`(?i)(src|href|action)="(https?:|//|/)|\sstyle="|\son[a-z]+="|<script>|<style|javascript:`)
	pages(t, func(t *testing.T, name, html string) {
		if found := bad.FindString(html); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	})
	h := NewHandler(newFake())
	for _, path := range []string{"/", "/alerts", "/assets/page.css", "/nothing"} {
		csp := get(t, h, path).Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	if w := get(t, h, "/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("status %d for a path that is not there", w.Code)
	}
}

func TestAReadOnlyPageHasNoWayToChangeAnything(t *testing.T) {
	s := newFake()
	s.now.ReadOnly = true
	h := NewHandler(s)
	for _, tab := range tabs {
		if body := get(t, h, pathOf(tab)+"?decision=d1").Body.String(); strings.Contains(body, "data-method=") || !strings.Contains(body, "read-only") {
			t.Errorf("%s offers a change, or does not say read-only", tab.Title)
		}
	}
}

// weightLimit is what a page may weigh with all that it loads, uncompressed.
const weightLimit = 150_000

func TestEachPageWeighsLittle(t *testing.T) {
	h := NewHandler(newFake())
	weight := 0
	for _, name := range []string{"page.css", "uplot.css", "uplot.js", "theme.js", "main.js", "morph.js", "charts.js", "actions.js", "keys.js", "units.js", "icon.svg"} {
		w := get(t, h, "/assets/"+name)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d", name, w.Code)
		}
		weight += w.Body.Len()
	}
	pages(t, func(t *testing.T, name, html string) {
		if n := weight + len(html); n > weightLimit {
			t.Errorf("%s weighs %d bytes", name, n)
		}
	})
	t.Logf("all scripts and styles weigh %d bytes", weight)
}

func TestTheVendoredChartLibraryIsTheOneOfTheRegistry(t *testing.T) {
	// uPlot 1.6.32, MIT, from the npm package's dist folder: uPlot.iife.min.js, uPlot.min.css, LICENSE.
	for name, want := range map[string]string{
		"uplot.js":      "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uplot.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"uplot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		b, err := files.ReadFile("assets/" + name)
		sum := sha256.Sum256(b)
		if err != nil || hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is %x, error %v", name, sum, err)
		}
	}
}

func TestPagesAndAssetsAreCompressedAndAssetsAskedForByTheirTag(t *testing.T) {
	h := NewHandler(newFake())
	page := get(t, h, "/tuning", "Accept-Encoding", "gzip")
	if z, err := gzip.NewReader(page.Body); err != nil || page.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("a page is not compressed: %v %v", page.Header(), err)
	} else if b, err := io.ReadAll(z); err != nil || string(b) != get(t, h, "/tuning").Body.String() {
		t.Errorf("the compressed page is another: %v", err)
	}
	w := get(t, h, "/assets/uplot.js", "Accept-Encoding", "gzip, br")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > 30_000 {
		t.Errorf("encoding %q, %d bytes", w.Header().Get("Content-Encoding"), w.Body.Len())
	}
	if ct := w.Header().Get("Content-Type"); ct != "text/javascript; charset=utf-8" {
		t.Errorf("type %q", ct)
	}
	if w = get(t, h, "/assets/uplot.js", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestAPageIsRenderedOncePerSample(t *testing.T) {
	s := newFake()
	h := NewHandler(s)
	first := get(t, h, "/").Body.String()
	s.now.Version = "v2"
	if get(t, h, "/").Body.String() != first {
		t.Error("the same sample was rendered twice")
	}
	h.Changed()
	if get(t, h, "/").Body.String() == first {
		t.Error("a change of the operator is not shown")
	}
	second := get(t, h, "/").Body.String()
	s.now.At, s.now.Version = noon.Add(time.Second), "v3"
	if get(t, h, "/").Body.String() == second {
		t.Error("the next sample is not shown")
	}
	for i := range maxRendered + 8 {
		get(t, h, "/?x="+strings.Repeat("y", i))
	}
	if n := len(h.cached.pages); n > maxRendered {
		t.Errorf("%d pages are kept", n)
	}
}

func TestAScriptGetsNoDrawnCharts(t *testing.T) {
	h := NewHandler(newFake())
	if body := get(t, h, "/upstreams").Body.String(); !strings.Contains(body, `<path class="s0"`) || !strings.Contains(body, `<tbody><tr><th scope="row">`) {
		t.Error("without scripts there is no chart or no table")
	}
	if body := get(t, h, "/upstreams", "X-Live", "1").Body.String(); strings.Contains(body, `<path class="s0"`) {
		t.Error("a script gets a chart that it will not show")
	}
}

func TestLinksKeepTheStateOfThePage(t *testing.T) {
	v := &view{Tab: tabs[1], Query: url.Values{"knob": {"a b"}, "range": {"1h"}}}
	if got := link(v, "decision", "d&1", "range", ""); got != "tuning?decision=d%261&knob=a+b" {
		t.Errorf("link %s", got)
	}
	v = &view{Tab: tabs[0]}
	if got := link(v); got != "./" {
		t.Errorf("link %s", got)
	}
}

func TestAReportIsOneFileThatNeedsNothing(t *testing.T) {
	var b bytes.Buffer
	if err := NewHandler(newFake()).Report(&b, noon.Add(-time.Hour), noon); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, want := range []string{"<!doctype html>", "one more slot", `"values":{`, "new uPlot", "Latency of movies", "data-chart="} {
		if !strings.Contains(html, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(html, hostile) {
		t.Error("the report holds a script of somebody else")
	}
	if found := regexp.MustCompile(`(?i)(src|href)="`).FindString(html); found != "" {
		t.Errorf("the report refers to something: %s", found)
	}
	// Each script and style in it is allowed by its hash, and nothing else is.
	policy := regexp.MustCompile(`content="(default-src[^"]*)"`).FindStringSubmatch(html)
	for _, x := range regexp.MustCompile(`(?s)<(?:script|style)>(.*?)</(?:script|style)>`).FindAllStringSubmatch(html, -1) {
		if !strings.Contains(policy[1], hashOf([]byte(x[1]))) {
			t.Errorf("the policy does not allow %.60q", x[1])
		}
	}
}

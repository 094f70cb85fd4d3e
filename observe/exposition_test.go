package observe

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parsed is an exposition that passed the strict parser.
type parsed struct {
	types   map[string]string
	help    map[string]string
	samples map[string]float64 // by name and labels as written
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)`)
)

// parseStrictly reads the text format 0.0.4 and refuses what Prometheus or promtool would: a sample
// before its TYPE, a family in two places, a repeated TYPE, HELP or sample, bad names or values, a
// histogram that does not add up.
func parseStrictly(text string) (*parsed, error) {
	p := &parsed{types: map[string]string{}, help: map[string]string{}, samples: map[string]float64{}}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("no newline at the end")
	}
	current, closed := "", map[string]bool{}
	enter := func(family string) error {
		if family == current {
			return nil
		}
		if closed[family] {
			return fmt.Errorf("family %s is in two places", family)
		}
		closed[current], current = true, family
		return nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, doc, _ := strings.Cut(rest, " ")
			if _, twice := p.help[name]; twice || doc == "" {
				return nil, fmt.Errorf("HELP of %s twice or empty", name)
			}
			if err := enter(name); err != nil {
				return nil, err
			}
			p.help[name] = doc
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if _, twice := p.types[name]; twice {
				return nil, fmt.Errorf("TYPE of %s twice", name)
			}
			if kind != "counter" && kind != "gauge" && kind != "histogram" && kind != "untyped" {
				return nil, fmt.Errorf("TYPE of %s is %q", name, kind)
			}
			if err := enter(name); err != nil {
				return nil, err
			}
			p.types[name] = kind
			continue
		}
		if err := p.sample(line, current); err != nil {
			return nil, err
		}
	}
	return p, p.checkHistograms()
}

func (p *parsed) sample(line, current string) error {
	m := sampleLine.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("bad line %q", line)
	}
	name, family := m[1], m[1]
	if p.types[current] == "histogram" {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			family = strings.TrimSuffix(family, suffix)
		}
	}
	if family != current || p.types[family] == "" {
		return fmt.Errorf("sample %s stands under %q, or before its TYPE", name, current)
	}
	if m[2] == "{}" {
		return fmt.Errorf("empty braces in %q", line)
	}
	seen := map[string]bool{}
	for labels := m[3]; labels != ""; {
		pair := labelPair.FindStringSubmatch(labels)
		if pair == nil || seen[pair[1]] {
			return fmt.Errorf("bad or repeated label in %q", line)
		}
		seen[pair[1]] = true
		labels = labels[len(pair[0]):]
	}
	v, err := strconv.ParseFloat(m[4], 64)
	if err != nil {
		return fmt.Errorf("bad value in %q", line)
	}
	if _, twice := p.samples[name+m[2]]; twice {
		return fmt.Errorf("sample %s%s twice", name, m[2])
	}
	p.samples[name+m[2]] = v
	return nil
}

func (p *parsed) checkHistograms() error {
	for name, v := range p.samples {
		i := strings.Index(name, `,le="+Inf"`)
		if i < 0 {
			continue
		}
		base := name[:i] + name[i+len(`,le="+Inf"`):]
		if count := p.samples[strings.Replace(base, "_bucket", "_count", 1)]; count != v {
			return fmt.Errorf("%s: +Inf is %v and count %v", name, v, count)
		}
	}
	return nil
}

func expose(t *testing.T, r *Registry) *parsed {
	t.Helper()
	var text bytes.Buffer
	r.WritePrometheus(&text)
	p, err := parseStrictly(text.String())
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text.String())
	}
	return p
}

func TestTheStrictParserRefusesWhatPrometheusWould(t *testing.T) {
	for name, text := range map[string]string{
		"sample before TYPE":  "a 1\n# TYPE a counter\n",
		"TYPE twice":          "# TYPE a counter\na 1\n# TYPE a counter\n",
		"family in two parts": "# TYPE a counter\na{x=\"1\"} 1\n# TYPE b counter\nb 1\na{x=\"2\"} 1\n",
		"sample twice":        "# TYPE a counter\na 1\na 2\n",
		"open label":          "# TYPE a counter\na{x=\"1} 1\n",
		"histogram mismatch":  "# TYPE a histogram\na_bucket{x=\"1\",le=\"+Inf\"} 2\na_sum{x=\"1\"} 1\na_count{x=\"1\"} 1\n",
	} {
		if _, err := parseStrictly(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOneFamilyOverSeveralUpstreamsIsOneGroup(t *testing.T) {
	r := NewRegistry()
	for i, name := range []string{"movies", "brands", "a\"b\\c\nd"} {
		s := r.Upstream(name).With("route", "x{y}")
		s.Counter("penstock_calls_total").Add(i + 1)
		s.Histogram("penstock_call_duration_seconds").Update(.2)
		s.Histogram("penstock_call_duration_seconds").Update(1e6)
		s.Gauge("penstock_queued", func() float64 { return 1.5 })
		s.Help("penstock_calls_total", "Calls\nto the upstream.")
		// A name that only looks like a part of the histogram above.
		s.Counter("penstock_call_duration_seconds_total_count").Inc()
	}
	RegisterProcess(r.Process(), time.Now())
	p := expose(t, r)
	if p.types["penstock_calls_total"] != "counter" || p.types["penstock_queued"] != "gauge" || p.types["penstock_call_duration_seconds"] != "histogram" {
		t.Errorf("types are %v", p.types)
	}
	if p.help["penstock_calls_total"] != `Calls\nto the upstream.` {
		t.Errorf("help is %q", p.help["penstock_calls_total"])
	}
	if v := p.samples[`penstock_calls_total{upstream="brands",route="x{y}"}`]; v != 2 {
		t.Errorf("brands has %v calls, want 2", v)
	}
	if v := p.samples[`penstock_call_duration_seconds_count{upstream="movies",route="x{y}"}`]; v != 2 {
		t.Errorf("movies has %v durations, want 2; have %v", v, p.samples)
	}
}

func TestProcessMetricsHaveTheStandardNames(t *testing.T) {
	r := NewRegistry()
	RegisterProcess(r.Process(), time.Unix(1000, 0))
	p := expose(t, r)
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "go_goroutines", "process_open_fds", "go_memstats_heap_alloc_bytes"} {
		if v, ok := p.samples[name]; !ok || v <= 0 {
			t.Errorf("%s is %v, %v", name, v, ok)
		}
	}
	if p.types["process_cpu_seconds_total"] != "counter" || p.samples["process_start_time_seconds"] != 1000 {
		t.Errorf("cpu is a %s, start %v", p.types["process_cpu_seconds_total"], p.samples["process_start_time_seconds"])
	}
}

func TestALaterGaugeReplacesTheFirst(t *testing.T) {
	r := NewRegistry()
	r.Upstream("m").Gauge("penstock_permits", func() float64 { return 1 })
	r.Upstream("m").Gauge("penstock_permits", func() float64 { return 2 })
	if v := expose(t, r).samples[`penstock_permits{upstream="m"}`]; v != 2 {
		t.Errorf("the gauge says %v, want that of the later callback", v)
	}
}

func TestADroppedUpstreamLeavesTheExposition(t *testing.T) {
	r := NewRegistry()
	r.Upstream("old").Counter("penstock_calls_total").Inc()
	r.Upstream("new").Counter("penstock_calls_total").Inc()
	r.DropUpstream("old")
	p := expose(t, r)
	if _, ok := p.samples[`penstock_calls_total{upstream="old"}`]; ok || len(p.samples) != 1 {
		t.Errorf("samples are %v", p.samples)
	}
	r.Upstream("old").Counter("penstock_calls_total").Add(5)
	if v := expose(t, r).samples[`penstock_calls_total{upstream="old"}`]; v != 5 {
		t.Errorf("the upstream that came back has %v, want a fresh 5", v)
	}
}

func TestOneNameCannotBeTwoKinds(t *testing.T) {
	r := NewRegistry()
	r.Process().Counter("penstock_x_total")
	defer func() {
		if recover() == nil {
			t.Error("a counter and a gauge of one name were accepted")
		}
	}()
	r.Upstream("m").Gauge("penstock_x_total", func() float64 { return 0 })
}

func FuzzAnyLabelGivesALegalExposition(f *testing.F) {
	f.Add("movies", "GET /a?b")
	f.Add("\xff\x00", "}\n\"\\")
	f.Fuzz(func(t *testing.T, upstream, route string) {
		r := NewRegistry()
		s := r.Upstream(upstream).With("route", route)
		s.Counter("penstock_calls_total").Inc()
		s.Histogram("penstock_call_duration_seconds").Update(1)
		expose(t, r)
	})
}

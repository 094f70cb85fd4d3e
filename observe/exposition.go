package observe

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

type metricKind string

const (
	kindCounter   metricKind = "counter"
	kindGauge     metricKind = "gauge"
	kindHistogram metricKind = "histogram"
	kindUntyped   metricKind = "untyped"
)

type family struct {
	kind metricKind
	help string
}

// families knows the kind and the HELP text of each metric family of a registry.
type families struct {
	mu     sync.Mutex // guards byName
	byName map[string]family
}

func newFamilies() *families { return &families{byName: make(map[string]family)} }

func (f *families) register(name string, k metricKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.byName[name]
	if known.kind != "" && known.kind != k {
		panic(fmt.Sprintf("metric %s is a %s and can't be a %s too", name, known.kind, k))
	}
	known.kind = k
	f.byName[name] = known
}

func (f *families) help(name, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.byName[name]
	known.help = text
	f.byName[name] = known
}

func (f *families) snapshot() map[string]family {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.byName)
}

// WritePrometheus writes all metrics in the Prometheus text format. Prometheus wants all lines of
// a family in one group under one TYPE line, but a family such as penstock_requests_total has
// samples in the set of every upstream; so the sets' texts are taken apart and grouped anew.
func (r *Registry) WritePrometheus(w io.Writer) {
	r.mu.Lock()
	sets := make([]*metricSet, 0, 1+len(r.upstreams))
	sets = append(sets, r.process)
	for _, name := range slices.Sorted(maps.Keys(r.upstreams)) {
		sets = append(sets, r.upstreams[name])
	}
	r.mu.Unlock()

	// Callbacks of gauges run here, with no lock of ours held.
	var text bytes.Buffer
	for _, s := range sets {
		s.metrics.WritePrometheus(&text)
	}
	_, _ = w.Write(groupFamilies(text.Bytes(), r.families.snapshot()))
}

type familyGroup struct {
	name    string
	family  family
	samples bytes.Buffer
}

// groupFamilies sorts the samples of text by family and puts HELP and TYPE above each family.
func groupFamilies(text []byte, known map[string]family) []byte {
	groups := make(map[string]*familyGroup)
	for line := range bytes.Lines(text) {
		if line[0] == '#' || line[0] == '\n' {
			continue
		}
		name, f := familyOf(line, known)
		g, ok := groups[name]
		if !ok {
			g = &familyGroup{name: name, family: f}
			groups[name] = g
		}
		g.samples.Write(line)
	}
	sorted := slices.SortedFunc(maps.Values(groups), func(a, b *familyGroup) int { return cmp.Compare(a.name, b.name) })
	var out bytes.Buffer
	out.Grow(len(text) + 100*len(sorted))
	for _, g := range sorted {
		if g.family.help != "" {
			fmt.Fprintf(&out, "# HELP %s %s\n", g.name, helpEscaper.Replace(g.family.help))
		}
		fmt.Fprintf(&out, "# TYPE %s %s\n", g.name, g.family.kind)
		out.Write(g.samples.Bytes())
	}
	return out.Bytes()
}

var helpEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// familyOf finds the family of a sample's line: its name, or for a histogram its name without
// the suffix.
func familyOf(line []byte, known map[string]family) (string, family) {
	end := bytes.IndexAny(line, "{ ")
	if end < 0 {
		end = len(bytes.TrimSuffix(line, []byte("\n")))
	}
	name := string(line[:end])
	if f, ok := known[name]; ok && f.kind != "" {
		return name, f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && known[base].kind == kindHistogram {
			return base, known[base]
		}
	}
	return name, family{kind: kindUntyped, help: known[name].help}
}

package observe

import (
	"io"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"
)

// Registry holds the metrics of a process: one metrics.Set for the process, and one for each
// upstream, so that an upstream's metrics go when a reload removes it.
type Registry struct {
	process *metrics.Set

	mu        sync.Mutex // guards upstreams
	upstreams map[string]*metrics.Set
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{process: metrics.NewSet(), upstreams: make(map[string]*metrics.Set)}
}

// Process returns the scope of metrics that belong to no upstream.
func (r *Registry) Process() *Scope { return &Scope{set: r.process} }

// Upstream returns the scope of one upstream; its metrics carry the label upstream.
func (r *Registry) Upstream(name string) *Scope {
	r.mu.Lock()
	defer r.mu.Unlock()
	set, ok := r.upstreams[name]
	if !ok {
		set = metrics.NewSet()
		r.upstreams[name] = set
	}
	return (&Scope{set: set}).With("upstream", name)
}

// DropUpstream forgets the metrics of an upstream.
func (r *Registry) DropUpstream(name string) {
	r.mu.Lock()
	set := r.upstreams[name]
	delete(r.upstreams, name)
	r.mu.Unlock()
	if set != nil {
		set.UnregisterAllMetrics()
	}
}

// WritePrometheus writes all metrics in the Prometheus text format.
func (r *Registry) WritePrometheus(w io.Writer) {
	r.mu.Lock()
	sets := make([]*metrics.Set, 0, 1+len(r.upstreams))
	sets = append(sets, r.process)
	for _, s := range r.upstreams {
		sets = append(sets, s)
	}
	r.mu.Unlock()
	for _, s := range sets {
		s.WritePrometheus(w)
	}
}

// Scope makes metrics that share labels. Ask for a metric once and keep the pointer: a look-up
// costs ten times an increment. Asking again gives the same metric.
type Scope struct {
	set    *metrics.Set
	labels string // a="b",c="d"
}

// Discard is a scope whose metrics nobody sees, for tests and embedding.
func Discard() *Scope { return &Scope{set: metrics.NewSet()} }

// With returns a scope with more labels: name, value, name, value ...
func (s *Scope) With(labels ...string) *Scope {
	var b strings.Builder
	b.WriteString(s.labels)
	for i := 0; i+1 < len(labels); i += 2 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(labels[i])
		b.WriteString(`="`)
		b.WriteString(labelEscaper.Replace(labels[i+1]))
		b.WriteByte('"')
	}
	return &Scope{set: s.set, labels: b.String()}
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (s *Scope) name(n string) string {
	if s.labels == "" {
		return n
	}
	return n + "{" + s.labels + "}"
}

// Counter returns the counter called name.
func (s *Scope) Counter(name string) *metrics.Counter { return s.set.GetOrCreateCounter(s.name(name)) }

// Gauge has f asked for the value at each scrape. The first f of a name stays.
func (s *Scope) Gauge(name string, f func() float64) { s.set.GetOrCreateGauge(s.name(name), f) }

// Histogram returns the histogram called name, in seconds, with buckets from 100 microseconds to
// 100 s.
func (s *Scope) Histogram(name string) *metrics.PrometheusHistogram {
	return s.set.GetOrCreatePrometheusHistogramExt(s.name(name), secondsBuckets)
}

var secondsBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100,
}

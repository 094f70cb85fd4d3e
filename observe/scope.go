package observe

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// Registry holds the metrics of a process: one set for the process, and one for each upstream, so
// that an upstream's metrics go when a reload removes it.
type Registry struct {
	families   *families
	process    *metricSet
	generation atomic.Uint64 // counts drops, so that who keeps pointers learns of them

	mu        sync.Mutex // guards upstreams
	upstreams map[string]*metricSet
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	f := newFamilies()
	return &Registry{families: f, process: newMetricSet(f), upstreams: make(map[string]*metricSet)}
}

// Process returns the scope of metrics that belong to no upstream.
func (r *Registry) Process() *Scope { return &Scope{set: r.process} }

// Upstream returns the scope of one upstream; its metrics carry the label upstream.
func (r *Registry) Upstream(name string) *Scope {
	r.mu.Lock()
	defer r.mu.Unlock()
	set, ok := r.upstreams[name]
	if !ok {
		set = newMetricSet(r.families)
		r.upstreams[name] = set
	}
	return (&Scope{set: set}).With("upstream", name)
}

// DropUpstream forgets the metrics of an upstream. Scopes of it that are still held count into
// the void; ask [Registry.Upstream] again for live ones.
func (r *Registry) DropUpstream(name string) {
	r.mu.Lock()
	set := r.upstreams[name]
	delete(r.upstreams, name)
	r.mu.Unlock()
	if set != nil {
		set.metrics.UnregisterAllMetrics()
		r.generation.Add(1)
	}
}

// metricSet is a metrics.Set together with what the library can't do: a gauge whose callback can be
// replaced, and one type for a family over all sets.
type metricSet struct {
	metrics  *metrics.Set
	families *families

	mu        sync.Mutex // guards callbacks and levels
	callbacks map[string]*callback
	levels    map[string]*Level
}

func newMetricSet(f *families) *metricSet {
	return &metricSet{
		metrics: metrics.NewSet(), families: f,
		callbacks: make(map[string]*callback), levels: make(map[string]*Level),
	}
}

// callback stands between the library, which keeps the first function of a name for ever, and a
// stage that a reload replaced.
type callback struct {
	f atomic.Pointer[func() float64]
}

func (c *callback) value() float64 { return (*c.f.Load())() }

func (s *metricSet) setCallback(name string, f func() float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.callbacks[name]
	if !ok {
		c = new(callback)
	}
	c.f.Store(&f)
	if !ok {
		s.callbacks[name] = c
		s.metrics.GetOrCreateGauge(name, c.value)
	}
}

// Level is a gauge that goes up and down by whole numbers, such as a count of requests in flight.
// Safe for concurrent use.
type Level struct{ v atomic.Int64 }

// Add changes the level by n.
func (l *Level) Add(n int64) { l.v.Add(n) }

// Set makes the level n.
func (l *Level) Set(n int64) { l.v.Store(n) }

// Get returns the level.
func (l *Level) Get() int64 { return l.v.Load() }

func (s *metricSet) level(name string) *Level {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.levels[name]
	if !ok {
		l = new(Level)
		s.levels[name] = l
		s.metrics.GetOrCreateGauge(name, func() float64 { return float64(l.Get()) })
	}
	return l
}

// Scope makes metrics that share labels. Ask for a metric once and keep the pointer: a look-up
// costs ten times an increment. Asking again gives the same metric. A name that is not a legal
// metric name, or that is in use for another kind of metric, is a bug and panics.
type Scope struct {
	set    *metricSet
	labels string // a="b",c="d"
}

// Discard is a scope whose metrics nobody sees, for tests and embedding.
func Discard() *Scope { return &Scope{set: newMetricSet(newFamilies())} }

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
		b.WriteString(labelEscaper.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")))
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
func (s *Scope) Counter(name string) *metrics.Counter {
	s.set.families.register(name, kindCounter)
	return s.set.metrics.GetOrCreateCounter(s.name(name))
}

// CounterFunc has f asked for a counter's value at each scrape; f must never go down. A later f of
// the same name replaces it.
func (s *Scope) CounterFunc(name string, f func() float64) {
	s.set.families.register(name, kindCounter)
	s.set.setCallback(s.name(name), f)
}

// Gauge has f asked for the value at each scrape. A later f of the same name replaces it, so that
// a stage made anew by a reload takes over from the one before.
func (s *Scope) Gauge(name string, f func() float64) {
	s.set.families.register(name, kindGauge)
	s.set.setCallback(s.name(name), f)
}

// Level returns the gauge called name that is moved by its holders.
func (s *Scope) Level(name string) *Level {
	s.set.families.register(name, kindGauge)
	return s.set.level(s.name(name))
}

// Histogram returns the histogram called name, in seconds, with buckets from 100 microseconds to
// 100 s.
func (s *Scope) Histogram(name string) *metrics.PrometheusHistogram {
	return s.HistogramOf(name, secondsBuckets)
}

// HistogramOf returns the histogram called name with the given upper bounds, which rise strictly.
// The bounds of the first call stay.
func (s *Scope) HistogramOf(name string, bounds []float64) *metrics.PrometheusHistogram {
	s.set.families.register(name, kindHistogram)
	return s.set.metrics.GetOrCreatePrometheusHistogramExt(s.name(name), slices.Clone(bounds))
}

// Help sets the HELP text of the metric called name, for all scopes of the registry.
func (s *Scope) Help(name, text string) { s.set.families.help(name, text) }

var secondsBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100,
}

package observe

import (
	"sync"
	"time"
)

// Bounds of the sampler's settings.
const (
	// MinSamplingInterval and DefaultSamplingInterval bound and preset the time between samples.
	MinSamplingInterval     = 100 * time.Millisecond
	DefaultSamplingInterval = time.Second
	// DefaultRetention is how long samples are kept.
	DefaultRetention = 15 * time.Minute
	// MaxSamples is how many samples are kept at most, whatever the retention says.
	MaxSamples = 10_000
)

// Fact is one number that a stage knows and that no window measures, such as a breaker's state.
type Fact struct {
	// Signal names it: "breaker_open", "queued", "reload_failed".
	Signal string
	// Upstream is what it belongs to; empty: the process.
	Upstream string
	Value    float64
}

// Sample is the state of things at one moment.
type Sample struct {
	At      time.Time `json:"at"`
	Process Process   `json:"process"`
	// Total and Upstreams are the signals of the window (10 s unless set otherwise) before At.
	Total     Signals            `json:"total"`
	Upstreams map[string]Signals `json:"upstreams"`
	// Facts are what the stages told, by signal; those of an upstream by "signal/upstream".
	Facts map[string]float64 `json:"facts,omitempty"`
}

// SamplerOptions sets up a Sampler.
type SamplerOptions struct {
	// Window is where the signals come from; never nil.
	Window *Window
	// Interval is the time between samples: default 1 s, at least 100 ms. A shorter one shows more
	// and costs more memory and time.
	Interval time.Duration
	// Retention is how long samples are kept: default 15 min, at most MaxSamples intervals.
	Retention time.Duration
	// Span is the window over which each sample's signals are taken, default 10 s.
	Span time.Duration
	// Facts, if set, is asked at each sample. It must be quick.
	Facts func() []Fact
	// OnSample, if set, is called after each sample with no lock held. It must be quick and must not
	// change the sample.
	OnSample func(Sample)
}

// Sampler takes a Sample at each interval and keeps those of the retention.
type Sampler struct {
	o       SamplerOptions
	changed chan struct{} // one token when the interval changed

	mu                  sync.Mutex // guards what follows
	interval, retention time.Duration
	samples             []Sample // a ring: the oldest is at first
	first, n            int
	stop                chan struct{}
	stopped             chan struct{}
}

// NewSampler returns a Sampler that does nothing until Start.
func NewSampler(o SamplerOptions) *Sampler {
	if o.Span <= 0 {
		o.Span = 10 * time.Second
	}
	s := &Sampler{o: o, changed: make(chan struct{}, 1)}
	s.Apply(o.Interval, o.Retention)
	return s
}

// Apply changes the interval and the retention while the sampler runs; 0 is the default. Samples that
// the new retention does not cover are dropped.
func (s *Sampler) Apply(interval, retention time.Duration) {
	if interval == 0 {
		interval = DefaultSamplingInterval
	}
	if retention == 0 {
		retention = DefaultRetention
	}
	interval = max(interval, MinSamplingInterval)
	size := int(min(max(int64(retention/interval), 1), MaxSamples))

	s.mu.Lock()
	kept := s.last(size)
	s.interval, s.retention = interval, retention
	s.samples = make([]Sample, size)
	s.first, s.n = 0, copy(s.samples, kept)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// last returns the newest samples, at most n, oldest first. The caller holds mu.
func (s *Sampler) last(n int) []Sample {
	n = min(n, s.n)
	out := make([]Sample, 0, n)
	for i := s.n - n; i < s.n; i++ {
		out = append(out, s.samples[(s.first+i)%len(s.samples)])
	}
	return out
}

// Start begins sampling. A second Start does nothing.
func (s *Sampler) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	s.stop, s.stopped = make(chan struct{}), make(chan struct{})
	go s.run(s.stop, s.stopped)
}

// Stop ends sampling and waits for a sample under way. The samples stay. Stop is idempotent, and
// Start may follow it.
func (s *Sampler) Stop() {
	s.mu.Lock()
	stop, stopped := s.stop, s.stopped
	s.stop = nil
	s.mu.Unlock()
	if stop != nil {
		close(stop)
		<-stopped
	}
}

func (s *Sampler) run(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(s.currentInterval())
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-s.changed:
			ticker.Reset(s.currentInterval())
		case <-ticker.C:
			s.Take()
		}
	}
}

func (s *Sampler) currentInterval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.interval
}

// Take takes a sample now and returns it.
func (s *Sampler) Take() Sample {
	snap := s.o.Window.Signals(s.o.Span)
	sample := Sample{At: snap.At, Process: ReadProcess(), Total: snap.Total, Upstreams: snap.Upstreams}
	if s.o.Facts != nil {
		sample.Facts = make(map[string]float64)
		for _, f := range s.o.Facts() {
			sample.Facts[factName(f.Signal, f.Upstream)] = f.Value
		}
	}
	s.keep(&sample)
	if s.o.OnSample != nil {
		s.o.OnSample(sample)
	}
	return sample
}

func factName(signal, upstream string) string {
	if upstream == "" {
		return signal
	}
	return signal + "/" + upstream
}

func (s *Sampler) keep(sample *Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		before := &s.samples[(s.first+s.n-1)%len(s.samples)]
		if d := sample.At.Sub(before.At).Seconds(); d > 0 {
			sample.Process.CPURatio = max((sample.Process.CPUSeconds-before.Process.CPUSeconds)/d, 0)
		}
	}
	for s.n > 0 && sample.At.Sub(s.samples[s.first].At) > s.retention {
		s.samples[s.first] = Sample{}
		s.first = (s.first + 1) % len(s.samples)
		s.n--
	}
	if s.n == len(s.samples) {
		s.samples[s.first] = *sample
		s.first = (s.first + 1) % len(s.samples)
		return
	}
	s.samples[(s.first+s.n)%len(s.samples)] = *sample
	s.n++
}

// Samples returns the samples taken after since, oldest first; a zero since gives all. The maps in
// them are shared: read only.
func (s *Sampler) Samples(since time.Time) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.n
	for n > 0 && !s.samples[(s.first+s.n-n)%len(s.samples)].At.After(since) {
		n--
	}
	return s.last(n)
}

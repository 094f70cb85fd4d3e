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
	// DefaultRetention is how long the samples' values are kept in full.
	DefaultRetention = 15 * time.Minute
	// MaxSamples is how many values of a signal are kept at most per tier, whatever the retention says.
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
	Total     Signals               `json:"total"`
	Upstreams map[string]Signals    `json:"upstreams"`
	Routes    map[RouteName]Signals `json:"-"`
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
	// Span is the window over which each sample's signals are taken, default 10 s.
	Span time.Duration
	// Facts, if set, is asked at each sample. It must be quick.
	Facts func() []Fact
	// OnSample, if set, is called after each sample with no lock held. It must be quick and must not
	// change the sample.
	OnSample func(Sample)
}

// Sampler takes a Sample at each interval and hands it on. It keeps the last one; a [History] keeps more.
type Sampler struct {
	o       SamplerOptions
	changed chan struct{} // one token when the interval changed

	mu       sync.Mutex // guards what follows
	interval time.Duration
	last     Sample
	stop     chan struct{}
	stopped  chan struct{}
}

// NewSampler returns a Sampler that does nothing until Start.
func NewSampler(o SamplerOptions) *Sampler {
	if o.Span <= 0 {
		o.Span = 10 * time.Second
	}
	s := &Sampler{o: o, changed: make(chan struct{}, 1)}
	s.Apply(o.Interval)
	return s
}

// Apply changes the interval while the sampler runs; 0 is the default.
func (s *Sampler) Apply(interval time.Duration) {
	if interval == 0 {
		interval = DefaultSamplingInterval
	}
	s.mu.Lock()
	s.interval = max(interval, MinSamplingInterval)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
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

// Stop ends sampling and waits for a sample under way. Stop is idempotent, and Start may follow it.
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
	sample := Sample{At: snap.At, Process: ReadProcess(), Total: snap.Total, Upstreams: snap.Upstreams, Routes: snap.Routes}
	if s.o.Facts != nil {
		sample.Facts = make(map[string]float64)
		for _, f := range s.o.Facts() {
			sample.Facts[factName(f.Signal, f.Upstream)] = f.Value
		}
	}
	s.remember(&sample)
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

// remember keeps the sample, and measures the processor time since the one before.
func (s *Sampler) remember(sample *Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := sample.At.Sub(s.last.At).Seconds(); d > 0 && !s.last.At.IsZero() {
		sample.Process.CPURatio = max((sample.Process.CPUSeconds-s.last.Process.CPUSeconds)/d, 0)
	}
	s.last = *sample
}

// Last returns the newest sample; its time is zero before the first. The maps in it are shared: read only.
func (s *Sampler) Last() Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

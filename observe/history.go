package observe

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Bounds and presets of the history.
const (
	// DefaultHistoryStep and DefaultHistoryRetention preset the coarse tier: a day at 15 s.
	DefaultHistoryStep      = 15 * time.Second
	DefaultHistoryRetention = 24 * time.Hour
	// MaxHistoryBytes bounds the memory of all values. With the default tiers that is some 1200 series.
	MaxHistoryBytes = 32 << 20
	// maxSignalName bounds a signal's name.
	maxSignalName = 512
	// staleSeries is how long a series must have been silent before it gives way to a new one.
	staleSeries = time.Minute
)

// Tier is one resolution of a [History].
type Tier struct {
	// Step is the time between two values, Retention how far back they reach.
	Step, Retention time.Duration
}

func (t Tier) slots() int {
	return int(min(max(int64(t.Retention/t.Step), 1), MaxSamples))
}

func (t Tier) tick(at time.Time) int64 { return at.UnixNano() / int64(t.Step) }

func (t Tier) time(tick int64) time.Time { return time.Unix(0, tick*int64(t.Step)) }

// HistoryOptions sets up a History.
type HistoryOptions struct {
	// Fine is what the last minutes are kept at: default 1 s for 15 min. Its step must be the sampling
	// interval: a finer one has gaps.
	Fine Tier
	// Coarse is what the last day is kept at: default 15 s for 24 h. A value of it is the mean of the
	// samples in its step; for quantiles and counts of what waits it is the highest, so that a short
	// peak still shows a day later.
	Coarse Tier
}

func (o *HistoryOptions) ensureDefaults() {
	preset := func(t *Tier, step, retention time.Duration) {
		if t.Step <= 0 {
			t.Step = step
		}
		t.Step = max(t.Step, MinSamplingInterval)
		if t.Retention <= 0 {
			t.Retention = retention
		}
	}
	preset(&o.Fine, DefaultSamplingInterval, DefaultRetention)
	preset(&o.Coarse, DefaultHistoryStep, DefaultHistoryRetention)
	o.Coarse.Step = max(o.Coarse.Step, o.Fine.Step)
}

// Number of tiers, and their indices.
const (
	fine = iota
	coarse
	tiers
)

// History keeps signals in memory, each as a ring of float32 per tier; all rings of a tier share one
// axis of time. Its memory is bounded by MaxHistoryBytes: a signal that does not fit is not kept and
// counted. Safe for concurrent use.
type History struct {
	mu      sync.RWMutex // guards what follows
	tier    [tiers]Tier
	head    [tiers]int64 // the newest tick; 0: none
	series  map[string]*series
	dropped uint64
}

// series is one signal's values.
type series struct {
	rings [tiers][]float32 // by tick modulo their length; NaN: none
	last  time.Time        // of the newest value
	peak  bool             // a coarse value is the highest, else the mean
	// The coarse value under way.
	tick int64
	sum  float64
	n    int
}

// NewHistory returns an empty History.
func NewHistory(o HistoryOptions) *History {
	o.ensureDefaults()
	return &History{tier: [tiers]Tier{o.Fine, o.Coarse}, series: make(map[string]*series)}
}

// Apply changes the tiers while the history is in use. What was kept is carried over as far as the new
// tiers reach.
func (h *History) Apply(o HistoryOptions) {
	o.ensureDefaults()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tier == [tiers]Tier{o.Fine, o.Coarse} {
		return
	}
	old := &History{tier: h.tier, head: h.head, series: h.series}
	h.tier, h.head, h.series = [tiers]Tier{o.Fine, o.Coarse}, [tiers]int64{}, make(map[string]*series)
	h.adopt(old)
}

// maxSeries is how many series fit.
func (h *History) maxSeries() int {
	return max(MaxHistoryBytes/4/(h.tier[fine].slots()+h.tier[coarse].slots()), 1)
}

// Add enters the values of one moment. Times should rise; when the clock was set back, what lies after
// at is forgotten. Values that are not finite are gaps.
func (h *History) Add(at time.Time, values map[string]float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.tier {
		h.advance(i, h.tier[i].tick(at))
	}
	for name, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		if s := h.of(name, at); s != nil {
			h.put(s, at, v)
		}
	}
}

// advance moves a tier's newest tick, and empties the slots that are passed.
func (h *History) advance(i int, tick int64) {
	from, to := h.head[i], tick
	h.head[i] = tick
	if from == 0 || from == to {
		return
	}
	if from > to {
		from, to = to, from
	}
	n := int64(h.tier[i].slots())
	from = max(from, to-n)
	for _, s := range h.series {
		for t := from + 1; t <= to; t++ {
			s.rings[i][t%n] = nan32
		}
	}
}

var nan32 = float32(math.NaN())

// of returns the series of a name, a new one if there is room; a series that is silent makes room.
func (h *History) of(name string, now time.Time) *series {
	if s, ok := h.series[name]; ok {
		return s
	}
	if len(name) > maxSignalName {
		h.dropped++
		return nil
	}
	if len(h.series) >= h.maxSeries() && !h.evict(now) {
		h.dropped++
		return nil
	}
	s := &series{peak: DescribeSignal(name).Peak}
	for i, t := range h.tier {
		s.rings[i] = make([]float32, t.slots())
		for j := range s.rings[i] {
			s.rings[i][j] = nan32
		}
	}
	h.series[name] = s
	return s
}

// evict drops the series that has been silent for longest, if one has been so for long enough.
func (h *History) evict(now time.Time) bool {
	var oldest string
	var last time.Time
	for name, s := range h.series {
		if oldest == "" || s.last.Before(last) {
			oldest, last = name, s.last
		}
	}
	if oldest == "" || now.Sub(last) < staleSeries {
		return false
	}
	delete(h.series, oldest)
	return true
}

func (h *History) put(s *series, at time.Time, v float64) {
	s.last = at
	tick := h.tier[fine].tick(at)
	s.rings[fine][tick%int64(len(s.rings[fine]))] = float32(v)

	tick = h.tier[coarse].tick(at)
	if tick != s.tick {
		s.tick, s.sum, s.n = tick, 0, 0
	}
	slot := &s.rings[coarse][tick%int64(len(s.rings[coarse]))]
	s.n++
	switch {
	case !s.peak:
		s.sum += v
		*slot = float32(s.sum / float64(s.n))
	case *slot != *slot || float32(v) > *slot: // the first is a test for NaN
		*slot = float32(v)
	}
}

// adopt takes over what another history holds and this one's tiers reach. The caller holds mu.
func (h *History) adopt(old *History) {
	for i := range h.tier {
		if old.head[i] != 0 {
			h.head[i] = h.tier[i].tick(old.tier[i].time(old.head[i]))
		}
	}
	for name, from := range old.series {
		s := h.of(name, time.Time{})
		if s == nil {
			continue
		}
		s.last = from.last
		for i := range h.tier {
			n := int64(len(from.rings[i]))
			for t := max(old.head[i]-n+1, 0); t <= old.head[i]; t++ {
				v := from.rings[i][t%n]
				tick := h.tier[i].tick(old.tier[i].time(t))
				if v == v && tick > h.head[i]-int64(len(s.rings[i])) {
					s.rings[i][tick%int64(len(s.rings[i]))] = v
				}
			}
		}
	}
	h.dropSilent()
}

// dropSilent removes series of which nothing is left.
func (h *History) dropSilent() {
	for name, s := range h.series {
		if !slices.ContainsFunc(s.rings[coarse], isNumber) && !slices.ContainsFunc(s.rings[fine], isNumber) {
			delete(h.series, name)
		}
	}
}

func isNumber(v float32) bool { return v == v }

// Dropped counts values that were not kept because there are too many signals.
func (h *History) Dropped() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.dropped
}

package observe

import (
	"maps"
	"math"
	"path"
	"slices"
	"time"
)

// Bounds of one query.
const (
	// DefaultPoints is how many values of a series a query gives unless it asks for a step; MaxPoints
	// the most.
	DefaultPoints = 600
	MaxPoints     = 6000
	// maxQueryValues bounds the values of all series of one answer; more series get fewer points.
	maxQueryValues = 400_000
)

// HistoryQuery selects from a History.
type HistoryQuery struct {
	// Signals are names; "*" in one matches one part of a name: "p95_seconds/movies/*".
	Signals []string
	// From and To bound the time. A zero To is the newest value's, a zero From what the fine tier
	// reaches back to.
	From, To time.Time
	// Step is the least time between two values; 0: such that there are about DefaultPoints.
	Step time.Duration
}

// HistoryRange is an answer of a History: all series have the same times.
type HistoryRange struct {
	From, To time.Time
	Step     time.Duration
	// Times are the starts of the steps.
	Times  []time.Time
	Series []HistorySeries
}

// HistorySeries is one signal of a HistoryRange.
type HistorySeries struct {
	Signal string
	// Values are those at Times; NaN where there is none.
	Values []float32
}

// Query answers from the fine tier if that reaches back to From, else from the coarse one. Several values
// that fall into one step become their mean or, for quantiles and counts of what waits, the highest.
func (h *History) Query(q HistoryQuery) HistoryRange {
	h.mu.RLock()
	defer h.mu.RUnlock()
	names := h.match(q.Signals)
	i, q := h.bounds(q, len(names))
	t := h.tier[i]
	r := HistoryRange{From: q.From, To: q.To, Step: q.Step}
	per := int64(q.Step / t.Step)
	first, last := t.tick(q.From)/per, t.tick(q.To)/per
	for b := first; b <= last; b++ {
		r.Times = append(r.Times, t.time(b*per))
	}
	for _, name := range names {
		s := h.series[name]
		values := make([]float32, 0, last-first+1)
		for b := first; b <= last; b++ {
			values = append(values, s.over(i, b*per, (b+1)*per, h.head[i]))
		}
		r.Series = append(r.Series, HistorySeries{Signal: name, Values: values})
	}
	return r
}

// bounds chooses the tier and completes the query: the step becomes a multiple of the tier's.
func (h *History) bounds(q HistoryQuery, series int) (int, HistoryQuery) {
	newest := h.tier[fine].time(h.head[fine])
	if q.To.IsZero() || q.To.After(newest) {
		q.To = newest
	}
	reach := func(i int) time.Time { return newest.Add(-h.tier[i].Retention) }
	if q.From.IsZero() {
		q.From = reach(fine)
	}
	i := fine
	if q.From.Before(reach(fine)) {
		i = coarse
	}
	if oldest := reach(i); q.From.Before(oldest) {
		q.From = oldest
	}
	if q.From.After(q.To) {
		q.From = q.To
	}
	span := q.To.Sub(q.From)
	if q.Step <= 0 {
		q.Step = span / DefaultPoints
	}
	points := int64(max(min(MaxPoints, maxQueryValues/max(series, 1)), 2))
	q.Step = max(q.Step, span/time.Duration(points))
	step := h.tier[i].Step
	q.Step = max((q.Step+step-1)/step, 1) * step // rounded up
	return i, q
}

// over is a series' value over the ticks from (inclusive) to (exclusive).
func (s *series) over(tier int, from, to, head int64) float32 {
	ring := s.rings[tier]
	n := int64(len(ring))
	sum, count, top := 0.0, 0, nan32
	for t := max(from, head-n+1, 0); t < min(to, head+1); t++ {
		if v := ring[t%n]; v == v {
			sum += float64(v)
			count++
			if top != top || v > top {
				top = v
			}
		}
	}
	if count == 0 || s.peak {
		return top
	}
	return float32(sum / float64(count))
}

// match gives the names that exist and match, in the order of the patterns, each once.
func (h *History) match(patterns []string) []string {
	all := slices.Sorted(maps.Keys(h.series))
	seen := make(map[string]bool)
	var out []string
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, p := range patterns {
		if _, ok := h.series[p]; ok {
			add(p)
			continue
		}
		for _, name := range all {
			if ok, _ := path.Match(p, name); ok {
				add(name)
			}
		}
	}
	return out
}

// Signals lists what is kept, sorted.
func (h *History) Signals() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Sorted(maps.Keys(h.series))
}

// Reach is what a tier covers: its step, and the times of its oldest and newest value.
type Reach struct {
	Step     time.Duration
	From, To time.Time
}

// Reaches tells what each tier covers, the fine one first. Both times are zero before the first value.
func (h *History) Reaches() []Reach {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]Reach, tiers)
	for i, t := range h.tier {
		out[i].Step = t.Step
		if h.head[i] == 0 {
			continue
		}
		out[i].To = t.time(h.head[i])
		out[i].From = t.time(h.oldest(i))
	}
	return out
}

// oldest is the first tick of a tier at which any series has a value.
func (h *History) oldest(i int) int64 {
	n := int64(h.tier[i].slots())
	for t := max(h.head[i]-n+1, 0); t < h.head[i]; t++ {
		for _, s := range h.series {
			if v := s.rings[i][t%n]; v == v {
				return t
			}
		}
	}
	return h.head[i]
}

// Mean is the mean of a signal over [from, to), and how many values that rests on; NaN and 0 if there is
// none. It does not spare peaks.
func (h *History) Mean(signal string, from, to time.Time) (mean float64, n int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s, ok := h.series[signal]
	if !ok {
		return math.NaN(), 0
	}
	i := fine
	if from.Before(h.tier[fine].time(h.head[fine]).Add(-h.tier[fine].Retention)) {
		i = coarse
	}
	size := int64(len(s.rings[i]))
	sum := 0.0
	for t := max(h.tier[i].tick(from), h.head[i]-size+1, 0); t < min(h.tier[i].tick(to), h.head[i]+1); t++ {
		if v := s.rings[i][t%size]; v == v {
			sum += float64(v)
			n++
		}
	}
	if n == 0 {
		return math.NaN(), 0
	}
	return sum / float64(n), n
}

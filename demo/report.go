package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/client"
)

// Why a row got no answer; an answer's status of 400 and more stands for itself.
const (
	outcomeNotSent    = "not sent"
	outcomeTimeout    = "timeout"
	outcomeConnection = "connection"
	outcomeStopped    = "stopped"
	outcomeInvalid    = "invalid"
)

// Report is what came of a replay.
type Report struct {
	// Rows is how many requests were due; OK how many were answered below 400.
	Rows int `json:"rows"`
	OK   int `json:"ok"`
	// Failed counts the others by HTTP status, or "timeout", "connection" (refused or broken), "not sent"
	// (too many open already), "stopped" (the replay was ended), "invalid" (no URL for the key).
	Failed map[string]int `json:"failed"`
	// Elapsed runs from the first row's time to the last answer.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Offered is rows per second as due, Throughput OK answers per second of Elapsed.
	Offered    float64 `json:"offered_per_second"`
	Throughput float64 `json:"throughput_per_second"`
	// The latencies are those of OK answers, from the intended send time; 0 without any.
	P50 time.Duration `json:"p50_ns"`
	P95 time.Duration `json:"p95_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
	// Hits is how many OK answers Penstock's cache gave, Collapsed how many more shared the call of
	// an identical request. Cached says that Penstock answered at all.
	Hits      int  `json:"hits"`
	Collapsed int  `json:"collapsed"`
	Cached    bool `json:"cached"`
	// Keys is how many different keys the rows held. Ceiling, 1 - Keys/Rows, is the hit ratio of an
	// unlimited cache that never forgets: no cache can do better on these rows.
	Keys    int     `json:"keys"`
	Ceiling float64 `json:"ceiling_ratio"`
	// UpstreamCalls is how many calls the upstream had meanwhile; nil: not known.
	UpstreamCalls *int64 `json:"upstream_calls"`
	// Notes are things to know about the run.
	Notes []string `json:"notes,omitempty"`
}

// HitRatio is the share of all rows that were answered without an upstream call of their own: hits,
// and requests that shared a call in flight. Rows that failed count as misses, so that the ratio
// never passes the ceiling.
func (r *Report) HitRatio() float64 {
	if r.Rows == 0 {
		return 0
	}
	return float64(r.Hits+r.Collapsed) / float64(r.Rows)
}

// failures lists what failed and how often.
func (r *Report) failures() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		parts = append(parts, fmt.Sprintf("%s: %d", kind, r.Failed[kind]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-16s "+format+"\n", append([]any{name}, args...)...)
	}
	line("requests", "%d in %.1f s, %.1f/s offered", r.Rows, r.Elapsed.Seconds(), r.Offered)
	line("answered", "%d (%s), %.1f/s", r.OK, percent(r.OK, r.Rows), r.Throughput)
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		line("  failed: "+kind, "%d (%s)", r.Failed[kind], percent(r.Failed[kind], r.Rows))
	}
	line("latency", "p50 %s, p95 %s, p99 %s, max %s (from the intended send time)", short(r.P50), short(r.P95), short(r.P99), short(r.Max))
	if r.Cached {
		line("hit ratio", "%.1f %% (%d hits, %d shared a call in flight)", 100*r.HitRatio(), r.Hits, r.Collapsed)
	} else {
		line("hit ratio", "none: no answer carried Penstock's Cache-Status")
	}
	line("ceiling", "%.1f %% (%d keys; an unlimited cache without expiry)", 100*r.Ceiling, r.Keys)
	if r.UpstreamCalls != nil {
		line("upstream calls", "%d", *r.UpstreamCalls)
	} else {
		line("upstream calls", "not known (give --stats-url)")
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func percent(n, of int) string {
	if of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// short rounds a duration to what people read.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// sentRows describes the rows that were due.
type sentRows struct {
	rows        int
	keys        map[string]struct{}
	first, last time.Time
}

func (s *sentRows) add(row Row, due time.Time) {
	if s.rows++; s.rows == 1 {
		s.first = due
	}
	s.last = due
	s.keys[row.Key] = struct{}{}
}

// tally collects outcomes as they come.
type tally struct {
	mu        sync.Mutex // guards what follows
	latencies []time.Duration
	failed    map[string]int
	failures  int
	hits      int
	collapsed int
	cached    bool
}

func newTally() *tally { return &tally{failed: make(map[string]int)} }

func (t *tally) ok(d time.Duration, s client.CacheStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latencies = append(t.latencies, d)
	t.cached = t.cached || s.Present
	switch {
	case s.Hit:
		t.hits++
	case s.Collapsed:
		t.collapsed++
	}
}

func (t *tally) fail(kind string) {
	t.mu.Lock()
	t.failed[kind]++
	t.failures++
	t.mu.Unlock()
}

func (t *tally) progress() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d answered, %d hits, %d failed", len(t.latencies), t.hits, t.failures)
}

func (t *tally) report(elapsed time.Duration, s sentRows) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.latencies)
	r := &Report{
		Rows: s.rows, OK: len(t.latencies), Failed: maps.Clone(t.failed), Elapsed: elapsed,
		Hits: t.hits, Collapsed: t.collapsed, Cached: t.cached, Keys: len(s.keys),
		P50: percentile(t.latencies, 0.50), P95: percentile(t.latencies, 0.95),
		P99: percentile(t.latencies, 0.99), Max: percentile(t.latencies, 1),
	}
	if s.rows > 0 {
		r.Ceiling = float64(s.rows-len(s.keys)) / float64(s.rows)
	}
	if span := s.last.Sub(s.first).Seconds(); span > 0 {
		r.Offered = float64(s.rows) / span
	}
	if elapsed > 0 {
		r.Throughput = float64(r.OK) / elapsed.Seconds()
	}
	return r
}

// percentile is the smallest value that at least the share q of the sorted values do not exceed.
func percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.9999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is something that a comparison started and will stop.
type Process struct {
	// URL is where it listens.
	URL string
	// PID is its process, 0 if it is this one.
	PID int
	// Stop ends it and waits for its end.
	Stop func() error
}

// CompareOptions say what to compare.
type CompareOptions struct {
	// Trace is the trace file; Seconds is about how long each of the two runs takes: as many rows
	// are used as fit. Default 40.
	Trace   string
	Seconds float64
	// Load is the offered load as a multiple of the API's capacity. Default 16.
	Load float64
	// Conditions are the API's, fixed for both runs. Default: 150 ms and 24 slots, no quota and no
	// errors.
	Conditions Conditions
	// Timeout is how long the simulated client waits for an answer. Default 30 s.
	Timeout time.Duration
	// Route and Param are how the run with Penstock asks: by this route, or by the proxy path
	// /proxy/demo when Route is empty.
	Route, Param string
	// StartAPI starts the demo API with the conditions; StartPenstock starts Penstock in front of
	// it. Each is called for each run that needs it.
	StartAPI      func(ctx context.Context, c Conditions) (*Process, error)
	StartPenstock func(ctx context.Context, apiURL string) (*Process, error)
	// Out gets the progress.
	Out io.Writer
}

// UpstreamName is what a comparison calls the demo API in Penstock's configuration.
const UpstreamName = "demo"

// Side is one run of a comparison.
type Side struct {
	*Report
	// GeneratorRSS is this process's resident memory at the end of the run, PenstockRSS the most that
	// Penstock's process had; in bytes, 0 if not known or not there.
	GeneratorRSS int64 `json:"generator_rss_bytes"`
	PenstockRSS  int64 `json:"penstock_peak_rss_bytes"`
}

// Comparison is the same slice of a trace at the same speed, without and with Penstock.
type Comparison struct {
	Trace      string     `json:"trace"`
	Speed      float64    `json:"speed"`
	Capacity   float64    `json:"capacity_per_second"`
	Load       float64    `json:"load"`
	Conditions Conditions `json:"conditions"`
	Without    Side       `json:"without"`
	With       Side       `json:"with"`
}

func (o CompareOptions) withDefaults() CompareOptions {
	if o.Seconds <= 0 {
		o.Seconds = 40
	}
	if o.Load <= 0 {
		o.Load = 16
	}
	if o.Conditions == (Conditions{}) {
		o.Conditions = Conditions{LatencyMS: 150, Slots: 24}
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// Compare replays the same rows twice, first straight at the demo API, then through Penstock in
// front of a fresh one. The slice and the speed follow from the API's capacity alone: Load times
// what it can do, for about Seconds.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	o = o.withDefaults()
	c := &Comparison{Trace: o.Trace, Load: o.Load, Conditions: o.Conditions, Capacity: capacity(o.Conditions)}
	rows, err := readSlice(o.Trace, int(math.Ceil(c.Capacity*o.Load*o.Seconds)))
	if err != nil {
		return nil, err
	}
	span := rows[len(rows)-1].At.Seconds()
	if span <= 0 {
		return nil, fmt.Errorf("%s: all %d rows have the same time; a replay needs a span", o.Trace, len(rows))
	}
	c.Speed = span * c.Capacity * o.Load / float64(len(rows))
	fmt.Fprintf(o.Out, "%d rows of %s at %.0f times their pace: %.0f/s for an API that can do %.0f/s (%d slots of %.0f ms)\n",
		len(rows), o.Trace, c.Speed, c.Capacity*o.Load, c.Capacity, o.Conditions.Slots, o.Conditions.LatencyMS)
	fmt.Fprintln(o.Out, "without Penstock:")
	if c.Without, err = o.side(ctx, rows, c.Speed, false); err != nil {
		return nil, err
	}
	fmt.Fprintln(o.Out, "with Penstock:")
	c.With, err = o.side(ctx, rows, c.Speed, true)
	return c, err
}

// capacity is how many calls of one item per second the slots can do on average: the mean of the
// log-normal latency is over its median.
func capacity(c Conditions) float64 {
	sigma := Options{}.withDefaults().Sigma
	mean := c.LatencyMS / 1000 * math.Exp(sigma*sigma/2)
	return float64(c.Slots) / mean
}

func readSlice(path string, limit int) ([]Row, error) {
	t, err := OpenTrace(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	rows, err := ReadTrace(t, limit)
	if err == nil && len(rows) < 2 {
		err = errors.New("fewer than two rows; there is nothing to replay")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// side makes one run.
func (o CompareOptions) side(ctx context.Context, rows []Row, speed float64, penstock bool) (s Side, err error) {
	api, err := o.StartAPI(ctx, o.Conditions)
	if err != nil {
		return s, fmt.Errorf("the demo API did not start: %w", err)
	}
	defer func() { err = errors.Join(err, api.Stop()) }()
	ro := ReplayOptions{
		Rows: rows, Target: api.URL, Speed: speed, Timeout: o.Timeout,
		StatsURL: api.URL + "/stats", Out: o.Out,
	}
	pid := 0
	if penstock {
		p, err := o.StartPenstock(ctx, api.URL)
		if err != nil {
			return s, fmt.Errorf("penstock did not start: %w", err)
		}
		defer func() { _ = p.Stop() }()
		pid = p.PID
		ro.Target, ro.Route, ro.Param = p.URL, o.Route, o.Param
		if o.Route == "" {
			ro.Target += "/proxy/" + UpstreamName
		}
	}
	if s.Report, err = Replay(ctx, ro); err != nil {
		return s, err
	}
	if err := context.Cause(ctx); err != nil {
		return s, err
	}
	s.GeneratorRSS = rss("self", "VmRSS")
	if pid != 0 {
		s.PenstockRSS = rss(strconv.Itoa(pid), "VmHWM")
	}
	return s, nil
}

// rss reads a memory figure of a process where the system tells it (Linux); else 0.
func rss(pid, field string) int64 {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

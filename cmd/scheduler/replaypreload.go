package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"penstock/demo"
	"penstock/preload/sim"
)

// preloadReplay is a replay of a trace in virtual time, without and with preloading.
type preloadReplay struct {
	trace    string
	limit    int
	ttl      time.Duration
	latency  time.Duration
	capacity int
}

// preloadSide is what one of the two gave.
type preloadSide struct {
	HitRatio      float64 `json:"hit_ratio"`
	LateRatio     float64 `json:"late_ratio"`
	MeanWait      float64 `json:"mean_wait_seconds"`
	UpstreamCalls int     `json:"upstream_calls"`
	Prefetches    int     `json:"prefetches"`
	Precision     float64 `json:"precision_ratio"`
}

func sideOf(r sim.Result) preloadSide {
	return preloadSide{r.HitRatio(), r.LateRatio(), r.MeanWait().Seconds(), r.Calls(), r.Issued, r.Precision()}
}

// preloadComparison is what is printed.
type preloadComparison struct {
	Requests   int         `json:"requests"`
	Keys       int         `json:"keys"`
	Without    preloadSide `json:"without"`
	With       preloadSide `json:"with"`
	ExtraCalls float64     `json:"extra_calls_ratio"`
}

func (c *cli) replayPreloading(ctx context.Context, o preloadReplay) error {
	if o.capacity < 0 || o.ttl < 0 || o.latency < 0 || o.limit < 0 {
		return errors.New("--entries, --ttl, --latency and --limit must not be negative")
	}
	path, err := c.findTrace(o.trace)
	if err != nil {
		return err
	}
	f, err := demo.OpenTrace(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := demo.ReadTrace(f, o.limit)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var small sim.Rows
	for _, r := range rows {
		small.Add(r.At, r.Client, r.Key)
	}
	setup := sim.Setup{Capacity: o.capacity, TTL: int64(o.ttl), Latency: int64(o.latency)}
	none := sim.Replay(small.All, setup, nil)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	with, _ := sim.ReplayModel(small.All, setup)
	result := preloadComparison{Requests: none.Rows, Keys: small.Keys(), Without: sideOf(none), With: sideOf(with)}
	if none.Calls() > 0 {
		result.ExtraCalls = float64(with.Calls())/float64(none.Calls()) - 1
	}
	if c.asJSON {
		return c.printJSON(result)
	}
	return result.write(c.out)
}

func (r *preloadComparison) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, value func(s preloadSide) string) {
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, value(r.Without), value(r.With))
	}
	percent := func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
	fmt.Fprintf(t, "%d requests, %d keys\twithout preloading\twith preloading\n", r.Requests, r.Keys)
	row("hit ratio", func(s preloadSide) string { return percent(s.HitRatio) })
	row("joined a prefetch under way", func(s preloadSide) string { return percent(s.LateRatio) })
	row("mean wait of a request", func(s preloadSide) string {
		return time.Duration(s.MeanWait * float64(time.Second)).Round(10 * time.Microsecond).String()
	})
	row("upstream calls", func(s preloadSide) string { return fmt.Sprint(s.UpstreamCalls) })
	row("of them prefetches", func(s preloadSide) string { return fmt.Sprint(s.Prefetches) })
	row("asked for (precision)", func(s preloadSide) string {
		if s.Prefetches == 0 {
			return "-"
		}
		return percent(s.Precision)
	})
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nPreloading answers %+.1f points more from the cache, for %+.1f %% of the calls.\n",
		100*(r.With.HitRatio-r.Without.HitRatio), 100*r.ExtraCalls)
	return err
}

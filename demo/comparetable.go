package demo

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// The marks that a comparison is held against.
const (
	markThroughput = 10.0
	markP95        = 0.1
	markCalls      = 0.7
	markHits       = 0.85
)

// Mark is one figure held against what it should reach.
type Mark struct {
	Name   string `json:"name"`
	Figure string `json:"figure"`
	Goal   string `json:"goal"`
	Met    bool   `json:"met"`
}

// Marks holds the comparison against the goals.
func (c *Comparison) Marks() []Mark {
	gain := ratio(c.With.Throughput, c.Without.Throughput)
	p95 := ratio(c.With.P95.Seconds(), c.Without.P95.Seconds())
	// Nothing can pass the ceiling; the figures are held against it as they are printed.
	goal := math.Min(markHits, c.With.Ceiling-0.0005)
	marks := []Mark{
		{"throughput", fmt.Sprintf("%.1f times", gain), "10 times or more", gain >= markThroughput},
		{"p95", fmt.Sprintf("%.3f of it", p95), "a tenth or less", c.With.OK > 0 && p95 <= markP95},
		{"hit ratio", fmt.Sprintf("%.1f %%", 100*c.With.HitRatio()), fmt.Sprintf("%.1f %% or more", 100*math.Min(markHits, c.With.Ceiling)), c.With.HitRatio() >= goal},
	}
	if c.With.UpstreamCalls != nil && c.Without.UpstreamCalls != nil {
		saved := 1 - ratio(float64(*c.With.UpstreamCalls), float64(*c.Without.UpstreamCalls))
		marks = append(marks, Mark{"upstream calls", fmt.Sprintf("%.1f %% fewer", 100*saved), "70 % fewer or more", saved >= markCalls})
	}
	return marks
}

// ratio is a/b, and 0 where that says nothing.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Write prints the comparison as a table.
func (c *Comparison) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, value func(s Side) string) {
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, value(c.Without), value(c.With))
	}
	fmt.Fprintln(t, "\twithout Penstock\twith Penstock")
	row("requests", func(s Side) string { return fmt.Sprint(s.Rows) })
	row("answered", func(s Side) string { return fmt.Sprintf("%d (%s)", s.OK, percent(s.OK, s.Rows)) })
	row("failed", func(s Side) string { return s.failures() })
	row("throughput", func(s Side) string { return fmt.Sprintf("%.0f/s", s.Throughput) })
	row("p50", func(s Side) string { return short(s.P50) })
	row("p95", func(s Side) string { return short(s.P95) })
	row("p99", func(s Side) string { return short(s.P99) })
	row("upstream calls", func(s Side) string {
		if s.UpstreamCalls == nil {
			return "n/a"
		}
		return fmt.Sprint(*s.UpstreamCalls)
	})
	row("hit ratio", func(s Side) string {
		if !s.Cached {
			return "none"
		}
		return fmt.Sprintf("%.1f %% (%d hits, %d shared)", 100*s.HitRatio(), s.Hits, s.Collapsed)
	})
	row("trace's ceiling", func(s Side) string { return fmt.Sprintf("%.1f %%", 100*s.Ceiling) })
	row("memory of Penstock (peak)", func(s Side) string { return mib(s.PenstockRSS) })
	row("memory of the load generator", func(s Side) string { return mib(s.GeneratorRSS) })
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nLatency is that of answered requests, from the intended send time. Hits include requests that")
	fmt.Fprintln(w, "shared an identical call in flight. Upstream calls count all that reached the API, refused ones too.")
	fmt.Fprintln(w)
	for _, m := range c.Marks() {
		verdict := "MISSED"
		if m.Met {
			verdict = "met"
		}
		fmt.Fprintf(t, "%s\t%s\t(goal: %s)\t%s\n", m.Name, m.Figure, m.Goal, verdict)
	}
	return t.Flush()
}

func mib(b int64) string {
	if b == 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.0f MiB", float64(b)/(1<<20))
}

package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Range is the time that the charts show.
type Range struct {
	// Key is the chosen preset: "15m"; empty with a fixed From and To.
	Key      string
	From, To time.Time
}

// Presets are the ranges to choose from.
var presets = []struct {
	Key, Label string
	Length     time.Duration
}{
	{"5m", "5 min", 5 * time.Minute}, {"15m", "15 min", 15 * time.Minute}, {"1h", "1 h", time.Hour},
	{"6h", "6 h", 6 * time.Hour}, {"24h", "24 h", 24 * time.Hour},
}

const defaultRange = "15m"

// Presets lists the ranges to choose from.
func (v *view) Presets() any { return presets }

// readRange reads range, or from and to in seconds since 1970.
func readRange(q url.Values, now time.Time) Range {
	from, err1 := strconv.ParseFloat(q.Get("from"), 64)
	to, err2 := strconv.ParseFloat(q.Get("to"), 64)
	if err1 == nil && err2 == nil && from < to && from > 0 && to < 1e11 {
		return Range{From: time.UnixMilli(int64(from * 1000)), To: time.UnixMilli(int64(to * 1000))}
	}
	key := q.Get("range")
	i := slices.IndexFunc(presets, func(p struct {
		Key, Label string
		Length     time.Duration
	}) bool {
		return p.Key == key
	})
	if i < 0 {
		i, key = 1, defaultRange
	}
	return Range{Key: key, From: now.Add(-presets[i].Length), To: now}
}

// Live reports whether the range goes on with the time.
func (r Range) Live() bool { return r.Key != "" }

// Label says in words what the range is.
func (r Range) Label() string {
	for _, p := range presets {
		if p.Key == r.Key {
			return "last " + p.Label
		}
	}
	return r.From.Format("2 Jan 15:04:05") + " to " + r.To.Format("15:04:05")
}

// Chart is a chart of signals, as the template and the script get it.
type Chart struct {
	Title string `json:"title"`
	// Unit is "seconds", "ratio", "per second", "bytes", "cores" or "".
	Unit   string        `json:"unit"`
	Series []ChartSeries `json:"series"`
	// Kind is "line", "area" (stacked from the bottom) or "step".
	Kind  string `json:"kind"`
	Marks []Mark `json:"marks,omitempty"`

	past Past
	live bool
}

// ChartSeries is one line of a chart.
type ChartSeries struct {
	Signal string `json:"signal"`
	Label  string `json:"label"`
}

// Mark is a decision on a chart.
type Mark struct {
	At   float64 `json:"at"` // seconds since 1970
	ID   string  `json:"id"`
	Kind string  `json:"kind"` // "better", "worse", "neutral", "wait", "shadow", "person"
	Text string  `json:"text"`
}

// chart makes a chart; without a script it comes with its values.
func (h *Handler) chart(v *view, c Chart) Chart {
	if c.Kind == "" {
		c.Kind = "line"
	}
	c.live = v.Live
	if !v.Live {
		names := make([]string, len(c.Series))
		for i, s := range c.Series {
			names[i] = s.Signal
		}
		c.past = h.source.History(names, v.Range.From, v.Range.To, 180)
	}
	return c
}

// JSON is the chart for the script.
func (c Chart) JSON() (string, error) {
	b, err := json.Marshal(c)
	return string(b), err
}

func (c Chart) values(signal string) []float32 {
	for _, s := range c.past.Series {
		if s.Signal == signal {
			return s.Values
		}
	}
	return nil
}

// Drawn is the chart drawn without a script.
func (c Chart) Drawn() template.HTML {
	const width, height = 600.0, 180.0
	if c.live || len(c.past.Times) < 2 {
		return ""
	}
	low, high := float32(0), float32(0)
	for _, s := range c.Series {
		if l, h := bounds(c.values(s.Signal)); h >= l {
			low, high = min(low, l), max(high, h)
		}
	}
	if high == low {
		high = low + 1
	}
	out := fmt.Sprintf(`<svg viewBox="0 0 %.0f %.0f" preserveAspectRatio="none" aria-hidden="true">`, width, height)
	for i, s := range c.Series {
		out += fmt.Sprintf(`<path class="s%d" d="%s"/>`, i%8, polyline(c.values(s.Signal), width, height-4, low, high, 2))
	}
	return template.HTML(out + `</svg>`)
}

// Row is one line of a chart's table.
type Row struct {
	At     time.Time
	Values []float32
}

// Rows are the values for the table, newest first, a dozen.
func (c Chart) Rows() []Row {
	var rows []Row
	every := max(len(c.past.Times)/12, 1)
	for i := len(c.past.Times) - 1; i >= 0 && !c.live; i -= every {
		row := Row{At: c.past.Times[i]}
		for _, s := range c.Series {
			if values := c.values(s.Signal); values != nil {
				row.Values = append(row.Values, values[i])
			} else {
				row.Values = append(row.Values, nan32)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// UnitName makes unit write the chart's values.
func (c Chart) UnitName() string {
	switch c.Unit {
	case "seconds":
		return "x_seconds"
	case "ratio":
		return "x_ratio"
	case "bytes":
		return "x_bytes"
	case "per second":
		return "rate"
	}
	return "x"
}

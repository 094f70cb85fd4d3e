package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// model is what a controller has learned, by its kind: "curve", "quota", "ttl" or another.
type model struct {
	Kind string `json:"kind"`

	// Of a curve: what was measured at each number of calls at once.
	Points []curvePoint `json:"points"`
	Chosen float64      `json:"chosen"`
	Knee   float64      `json:"knee"`
	// Fit is what is believed: where the knee lies in about 95 of 100 cases, and the expected line.
	Fit struct {
		KneeLow       float64      `json:"knee_low"`
		KneeHigh      float64      `json:"knee_high"`
		SharpRatio    float64      `json:"sharp_ratio"`
		CollapseRatio float64      `json:"collapse_ratio"`
		Line          []curvePoint `json:"line"`
	} `json:"fit"`

	// Of a quota.
	Windows      []quotaWindow `json:"windows"`
	ReserveRatio float64       `json:"reserve_ratio"`
	Pace         float64       `json:"pace_per_second"`
	Hold         float64       `json:"hold_seconds"`

	// Of a TTL.
	ChangesPerSecond float64    `json:"changes_per_second"`
	Low              float64    `json:"low"`
	High             float64    `json:"high"`
	Looks            float64    `json:"looks"`
	Changed          float64    `json:"changed"`
	ExpectedStale    float64    `json:"expected_stale_ratio"`
	MeasuredStale    float64    `json:"measured_stale_ratio"`
	TargetStale      float64    `json:"target_stale_ratio"`
	Classes          []ttlClass `json:"classes"`

	// Rest is everything, for kinds that the page does not know.
	Rest []named `json:"-"`
}

type curvePoint struct {
	Concurrency float64 `json:"concurrency"`
	Throughput  float64 `json:"throughput"`
	Seconds     float64 `json:"seconds"`
	Low         float64 `json:"low"`
	High        float64 `json:"high"`
	Calls       float64 `json:"calls"`
}

type quotaWindow struct {
	Name       string  `json:"name"`
	Kind       string  `json:"kind"`
	Limit      float64 `json:"limit"`
	Period     float64 `json:"period_seconds"`
	Used       float64 `json:"used"`
	Remaining  float64 `json:"remaining"`
	Reset      float64 `json:"reset_seconds"`
	Source     string  `json:"source"`
	Confidence float64 `json:"confidence"`
}

type ttlClass struct {
	Keys              float64 `json:"keys"`
	ChangesPerSecond  float64 `json:"changes_per_second"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	TTLLeast          float64 `json:"ttl_least_seconds"`
	TTLMost           float64 `json:"ttl_most_seconds"`
}

// UnmarshalJSON reads what it knows, and of all else the numbers. A model that is shaped otherwise is no fault.
func (m *model) UnmarshalJSON(b []byte) error {
	type plain model
	_ = json.Unmarshal(b, (*plain)(m))
	var all map[string]any
	if json.Unmarshal(b, &all) != nil {
		return nil
	}
	for name, x := range all {
		if v, ok := x.(float64); ok {
			m.Rest = append(m.Rest, named{name, v})
		}
	}
	slices.SortFunc(m.Rest, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// Curve draws throughput over concurrency with the chosen point, and latency beneath it.
func (m *model) Curve() template.HTML {
	points := slices.Clone(m.Points)
	slices.SortFunc(points, func(a, b curvePoint) int { return int(math.Round(a.Concurrency - b.Concurrency)) })
	if len(points) == 0 {
		return ""
	}
	throughput := func(p curvePoint) float64 { return p.Throughput }
	seconds := func(p curvePoint) float64 { return p.Seconds }
	return template.HTML(m.plot("Throughput, requests per second", points, throughput, number, true) +
		m.plot("Time of a call", points, seconds, duration, false))
}

// plot draws one value of the points over concurrency.
func (m *model) plot(title string, points []curvePoint, value func(curvePoint) float64, text func(any) string, bars bool) string {
	const left, right, top, bottom, width, height = 56.0, 12.0, 22.0, 26.0, 520.0, 190.0
	high, most := 0.0, m.Chosen
	for _, p := range slices.Concat(points, m.Fit.Line) {
		high, most = max(high, value(p), 0), max(most, p.Concurrency)
	}
	if bars {
		for _, p := range points {
			high = max(high, min(p.High, 2*p.Throughput)) // one point that is very unsure must not flatten the rest
		}
	}
	if high == 0 {
		high = 1
	}
	x := func(c float64) float64 { return left + (width-left-right)*c/max(most*1.05, 1) }
	y := func(v float64) float64 { return height - bottom - (height-top-bottom)*v/(high*1.1) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="curve" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s over calls at once; the chosen number is %s"><text class="title" x="%.0f" y="12">%s</text>`,
		width, height, template.HTMLEscapeString(title), number(m.Chosen), left, template.HTMLEscapeString(title))
	for i := range 4 {
		v := high * float64(i) / 3
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, left, y(v), width-right, left-6, y(v)+4, text(v))
	}
	for i := range 6 {
		c := math.Round(most * float64(i) / 5)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x(c), height-8, number(c))
	}
	if m.Fit.KneeHigh > m.Fit.KneeLow {
		from, to := x(m.Fit.KneeLow), x(min(m.Fit.KneeHigh, most*1.05))
		fmt.Fprintf(&b, `<rect class="band" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, from, top, max(to-from, 0), height-top-bottom)
	}
	if m.Chosen > 0 {
		fmt.Fprintf(&b, `<path class="chosen" d="M%.1f %.1fV%.1f"/><text class="chosen" x="%.1f" y="%.1f">chosen %s</text>`, x(m.Chosen), top, height-bottom, x(m.Chosen)+4, top+8, number(m.Chosen))
	}
	line := m.Fit.Line
	if len(line) == 0 {
		line = points
	}
	pen := "M"
	b.WriteString(`<path class="fit" d="`)
	for _, p := range line {
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x(p.Concurrency), y(value(p)))
		pen = "L"
	}
	b.WriteString(`"/>`)
	for _, p := range points {
		if bars && p.High > p.Low && p.Low >= 0 {
			fmt.Fprintf(&b, `<path class="sure" d="M%.1f %.1fV%.1f"/>`, x(p.Concurrency), y(p.Low), y(min(p.High, high*1.1)))
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3"/>`, x(p.Concurrency), y(value(p)))
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// Dotted draws a knob's values with its decisions on them.
func (l knobLine) Dotted() template.HTML {
	s := string(sparkline(l.Spark))
	var b strings.Builder
	for _, d := range l.Dots {
		fmt.Fprintf(&b, `<path class="dot m-%s" d="M%.1f 2v24"/>`, template.HTMLEscapeString(d.Kind), 120*d.X)
	}
	return template.HTML(strings.TrimSuffix(s, "</svg>") + b.String() + "</svg>")
}

package tuner

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestQuotaPlot draws the plot of docs/tuning-rate.md: the pace at a bucket that is raised and cut.
func TestQuotaPlot(t *testing.T) {
	quota := func(now time.Duration) float64 {
		switch {
		case now < 20*time.Second:
			return 100
		case now < 40*time.Second:
			return 200
		}
		return 50
	}
	have, at := 50.0, time.Duration(0)
	q := &quotaSim{free: 400, admit: func(now time.Duration) bool {
		have = min(50, have+quota(now)*(now-at).Seconds())
		at = now
		if have < 1 {
			return false
		}
		have--
		return true
	}}
	const seconds, width, height, top = 60, 720, 240, 300.0
	x := func(s float64) float64 { return 40 + s*(width-60)/seconds }
	y := func(v float64) float64 { return height - 30 - min(v, top)*(height-50)/top }
	var pace, limit strings.Builder
	for i := range seconds * 10 {
		q.play(100 * time.Millisecond)
		s := float64(i) / 10
		fmt.Fprintf(&pace, "%.1f,%.1f ", x(s), y(q.s.Rate()))
		fmt.Fprintf(&limit, "%.1f,%.1f ", x(s), y(quota(q.now)))
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for v := 0.0; v <= top; v += 50 {
		fmt.Fprintf(&out, `<path d="M40 %.1fH%d" stroke="#ddd"/><text x="34" y="%.1f" text-anchor="end">%.0f</text>`+"\n", y(v), width-20, y(v)+4, v)
	}
	for s := 0; s <= seconds; s += 10 {
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(float64(s)), height-10, s)
	}
	fmt.Fprintf(&out, `<polyline fill="none" stroke="#999" stroke-width="2" points="%s"/>`+"\n", strings.TrimSpace(limit.String()))
	fmt.Fprintf(&out, `<polyline fill="none" stroke="#1565c0" stroke-width="1.5" points="%s"/>`+"\n", strings.TrimSpace(pace.String()))
	fmt.Fprintf(&out, `<text x="%d" y="16" text-anchor="end"><tspan fill="#777">quota</tspan> and <tspan fill="#1565c0">pace</tspan>, calls per second</text>`+"\n</svg>\n", width-20)
	drawn(t, "tuning-rate.svg", out.String())
}

package tuner

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestKneePlot draws the plot of the workers in docs/tuning.md: 50 slots, then 25, then 50 again.
func TestKneePlot(t *testing.T) {
	const epochs, width, height, top = 180, 720, 240, 100.0
	slots := func(epoch int) float64 {
		if epoch >= 60 && epoch < 120 {
			return 25
		}
		return 50
	}
	_, limits := playKnee(epochs, 8, testSpec, .1, nil, func(epoch int) world {
		return world{slots: slots(epoch), service: 100 * time.Millisecond, demand: 400}
	})
	x := func(e int) float64 { return 40 + float64(e)*(width-60)/epochs }
	y := func(v float64) float64 { return height - 30 - min(v, top)*(height-50)/top }
	var workers, knee strings.Builder
	for i, l := range limits {
		fmt.Fprintf(&workers, "%.1f,%.1f %.1f,%.1f ", x(i), y(l), x(i+1), y(l))
		fmt.Fprintf(&knee, "%.1f,%.1f %.1f,%.1f ", x(i), y(slots(i)), x(i+1), y(slots(i)))
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for v := 0.0; v <= top; v += 25 {
		fmt.Fprintf(&out, `<path d="M40 %.1fH%d" stroke="#ddd"/><text x="34" y="%.1f" text-anchor="end">%.0f</text>`+"\n", y(v), width-20, y(v)+4, v)
	}
	for e := 0; e <= epochs; e += 30 {
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(e), height-10, e)
	}
	fmt.Fprintf(&out, `<polyline fill="none" stroke="#999" stroke-width="2" points="%s"/>`+"\n", strings.TrimSpace(knee.String()))
	fmt.Fprintf(&out, `<polyline fill="none" stroke="#1565c0" stroke-width="1.5" points="%s"/>`+"\n", strings.TrimSpace(workers.String()))
	fmt.Fprintf(&out, `<text x="%d" y="16" text-anchor="end"><tspan fill="#777">slots</tspan> and <tspan fill="#1565c0">workers</tspan>, by epoch</text>`+"\n</svg>\n", width-20)
	drawn(t, "tuning-workers.svg", out.String())
}

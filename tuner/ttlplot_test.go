package tuner

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// panel is one half of the plot, with logarithmic axes.
type panel struct {
	b                      strings.Builder
	left                   float64
	x0, x1, y0, y1         float64 // ranges
	width, height, top, in float64
}

func (p *panel) at(x, y float64) (float64, float64) {
	fx := math.Log(x/p.x0) / math.Log(p.x1/p.x0)
	fy := math.Log(y/p.y0) / math.Log(p.y1/p.y0)
	return p.left + p.in + fx*p.width, p.top + (1-fy)*p.height
}

func (p *panel) text(x, y float64, anchor, s string) {
	fmt.Fprintf(&p.b, `<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
}

func (p *panel) frame(title string, xs, ys map[float64]string) {
	fmt.Fprintf(&p.b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="none" stroke="#888"/>`+"\n", p.left+p.in, p.top, p.width, p.height)
	p.text(p.left+p.in, p.top-8, "start", title)
	for _, v := range sortedKeys(xs) {
		x, _ := p.at(v, p.y0)
		p.text(x, p.top+p.height+14, "middle", xs[v])
	}
	for _, v := range sortedKeys(ys) {
		_, y := p.at(p.x0, v)
		p.text(p.left+p.in-4, y+4, "end", ys[v])
	}
}

func sortedKeys(m map[float64]string) []float64 {
	var keys []float64
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

func (p *panel) line(colour, label string, points [][2]float64) {
	fmt.Fprintf(&p.b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, colour)
	for _, q := range points {
		x, y := p.at(q[0], min(max(q[1], p.y0), p.y1))
		fmt.Fprintf(&p.b, "%.1f,%.1f ", x, y)
	}
	p.b.WriteString("\"/>\n")
	x, y := p.at(points[0][0], points[0][1])
	fmt.Fprintf(&p.b, `<text x="%.0f" y="%.0f" fill="%s">%s</text>`+"\n", x+6, y-5, colour, label)
}

// TestTTLPlot draws docs/ttl.svg: go test ./tuner -run TTLPlot -update.
func TestTTLPlot(t *testing.T) {
	var classes []TTLClass
	for g := 12; g <= 30; g++ {
		for d, demand := range []float64{.001, .05, 2} {
			c := TTLClass{ID: classID(g*demandCount + d), Keys: 1 / demand, Demand: demand}
			c.Belief[g] = 1
			classes = append(classes, c)
		}
	}
	plan := planTTLs(classes, ttlGoal{stale: .01, most: .1, least: .1, longest: 1e7})
	left := panel{x0: ladder[12], x1: ladder[30], y0: .1, y1: 1e6, width: 300, height: 220, top: 30, in: 45}
	left.frame("TTL by how often a key changes, 1 % stale in all",
		map[float64]string{1e-5: "a day", 1.0 / 3600: "an hour", 1.0 / 60: "a minute"},
		map[float64]string{1: "1 s", 60: "1 min", 3600: "1 h", 86400: "1 d"})
	for d, label := range []string{"asked for each 17 min", "each 20 s", "twice a second"} {
		var points [][2]float64
		for g := 12; g <= 30; g++ {
			points = append(points, [2]float64{ladder[g], plan.classes[classID(g*demandCount+d)].TTL})
		}
		left.line([]string{"#2a7", "#27c", "#c52"}[d], label, points)
	}
	right := panel{left: 360, x0: 10, x1: 3600, y0: .3, y1: 300, width: 300, height: 220, top: 30, in: 45}
	right.frame("Finding it: all keys change each 10 min, from 20 min on each 30 s",
		map[float64]string{10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}, map[float64]string{1: "1 s", 10: "10 s", 100: "100 s"})
	u := newTuned(.01)
	keys := spreadKeys(100, 1, 40, 1.0/600, 1.0/600)
	w := contentWorld{keys: keys, early: .03, change: func(_ int, at float64) float64 {
		if at > 1200 {
			return 1.0 / 30
		}
		return 1.0 / 600
	}}
	var points, best [][2]float64
	w.play(1, 3600, 0, u.ttl, u.look, func(now float64) {
		if u.tick(now); now >= 10 {
			points = append(points, [2]float64{now, u.value})
			single := 2 * .01 * 600.0
			if now > 1200 {
				single = 2 * .01 * 30
			}
			best = append(best, [2]float64{now, single})
		}
	})
	right.line("#888", "", best)
	right.line("#27c", "typical TTL", points)
	right.text(right.left+right.in+6, right.top+16, "start", "grey: 2e/l, the best single TTL")
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 275" font-family="sans-serif" font-size="10">` + "\n" + left.b.String() + right.b.String() + "</svg>\n"
	drawn(t, "ttl.svg", svg)
}

package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// glyphs are the icons of states, drawn by hand on a grid of 16. A shape, a word and a colour together say
// what is the matter.
var glyphs = map[string]string{
	"ok":      `<circle cx="8" cy="8" r="6.5"/><path d="M5 8.2l2.1 2.1L11 6.4" class="cut"/>`,
	"warn":    `<path d="M8 1.5l7 12.5H1z"/><path d="M8 6v3.6M8 11.2v.8" class="cut"/>`,
	"bad":     `<path d="M5 1.5h6l3.5 3.5v6L11 14.5H5L1.500 11V5z"/><path d="M5.700 5.700l4.600 4.600M10.300 5.700l-4.600 4.600" class="cut"/>`,
	"off":     `<circle cx="8" cy="8" r="5.700" class="line"/>`,
	"up":      `<path d="M8 2l6 9H2z"/>`,
	"down":    `<path d="M8 14l6-9H2z"/>`,
	"same":    `<path d="M2 6h12v4H2z"/>`,
	"wait":    `<circle cx="8" cy="8" r="6" class="line"/><path d="M8 4.500V8l2.500 1.500" class="line"/>`,
	"person":  `<circle cx="8" cy="5" r="3"/><path d="M2 14.500c0-3.500 2.700-5.500 6-5.500s6 2 6 5.500z"/>`,
	"shadow":  `<path d="M8 2l6 6-6 6-6-6z" class="line"/>`,
	"pin":     `<path d="M5.500 1.500h5l-.7 5 2.700 2.500v1.500H9V15H7v-4.500H3.500V9l2.700-2.500z"/>`,
	"lock":    `<path d="M4 7V5a4 4 0 018 0v2h1v7.500H3V7zm2 0h4V5a2 2 0 00-4 0z"/>`,
	"freeze":  `<path d="M8 1v14M2 4.500l12 7M14 4.500l-12 7" class="line"/>`,
	"info":    `<circle cx="8" cy="8" r="6.5"/><path d="M8 7v4.500M8 4v1.200" class="cut"/>`,
	"loading": `<path d="M8 2a6 6 0 106 6" class="line"/>`,
}

// icon is an icon; a word stands beside it, so it is hidden from screen readers.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon i-` + template.HTMLEscapeString(name) + `" viewBox="0 0 16 16" aria-hidden="true">` + glyphs[name] + `</svg>`)
}

// bar draws a share of 0..1.
func bar(share float64, class string) template.HTML {
	share = min(max(share, 0), 1)
	if math.IsNaN(share) {
		share = 0
	}
	return template.HTML(fmt.Sprintf(`<svg class="bar %s" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="6"/><rect width="%.1f" height="6"/></svg>`,
		template.HTMLEscapeString(class), 100*share))
}

// sparkline draws values without axes. A flat line lies at the bottom if it is 0, else in the middle.
func sparkline(values []float32) template.HTML {
	const width, height = 120.0, 28.0
	low, high := bounds(values)
	if high < low {
		return `<svg class="spark" viewBox="0 0 120 28" aria-hidden="true"></svg>`
	}
	low = min(low, 0)
	if high == low {
		high = low + 1
	}
	d := polyline(values, width, height-2, low, high*1.05, 1)
	return template.HTML(`<svg class="spark" viewBox="0 0 120 28" preserveAspectRatio="none" aria-hidden="true"><path class="fill" d="` +
		area(d, width, height) + `"/><path class="stroke" d="` + d + `"/></svg>`)
}

func bounds(values []float32) (low, high float32) {
	low, high = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range values {
		if v == v {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}

// polyline is the path of values over a width and height; a gap ends a stroke.
func polyline(values []float32, width, height float64, low, high float32, top float64) string {
	var b strings.Builder
	pen := "M"
	for i, v := range values {
		if v != v {
			pen = "M"
			continue
		}
		x := width * float64(i) / float64(max(len(values)-1, 1))
		y := top + height*(1-float64(v-low)/float64(high-low))
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x, y)
		pen = "L"
	}
	return b.String()
}

// area closes each stroke of a path down to the bottom.
func area(d string, width, height float64) string {
	var b strings.Builder
	for stroke := range strings.SplitSeq(strings.TrimPrefix(d, "M"), "M") {
		if stroke == "" {
			continue
		}
		points := strings.Split(stroke, "L")
		first, _, _ := strings.Cut(points[0], " ")
		last, _, _ := strings.Cut(points[len(points)-1], " ")
		fmt.Fprintf(&b, "M%s %.0fL%sL%s %.0fZ", first, height, strings.Join(points, "L"), last, height)
	}
	return b.String()
}

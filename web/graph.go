package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// association is what the preloader has learned: which key is asked for after which.
type association struct {
	Nodes []struct {
		ID    string `json:"id"`
		Label string `json:"label"`
		Route string `json:"route"`
	} `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// Edge is one association.
type Edge struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Source  string  `json:"source"`
	Weight  float64 `json:"weight"`
	Count   float64 `json:"count"`
	Seconds float64 `json:"seconds"`
}

// shownNodes bounds the picture, so that its labels can be read.
const shownNodes = 24

// Name is the label of a node.
func (a association) Name(id string) string {
	for _, n := range a.Nodes {
		if n.ID == id {
			if n.Label != "" {
				label, _ := Mask(n.Label)
				return label
			}
			return "a key of " + n.Route
		}
	}
	return id
}

// Drawn puts the nodes of the heaviest edges on a circle and draws the edges between them.
func (a association) Drawn() template.HTML {
	const width, height, rx, ry = 760.0, 440.0, 200.0, 180.0
	place := make(map[string]int)
	var order []string
	var edges []Edge
	for _, e := range a.Edges {
		fresh := 0
		for _, id := range []string{e.From, e.To} {
			if _, ok := place[id]; !ok {
				fresh++
			}
		}
		if len(order)+fresh > shownNodes {
			continue
		}
		for _, id := range []string{e.From, e.To} {
			if _, ok := place[id]; !ok {
				place[id] = len(order)
				order = append(order, id)
			}
		}
		edges = append(edges, e)
	}
	if len(order) == 0 {
		return ""
	}
	at := func(id string, by float64) (x, y float64) {
		angle := 2*math.Pi*float64(place[id])/float64(len(order)) - math.Pi/2
		return width/2 + by*rx*math.Cos(angle), height/2 + by*ry*math.Sin(angle)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" viewBox="0 0 %.0f %.0f" aria-hidden="true"><defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0l6 3-6 3z"/></marker></defs>`, width, height)
	for _, e := range edges {
		x1, y1 := at(e.From, 1)
		x2, y2 := at(e.To, .97)
		fmt.Fprintf(&b, `<path class="edge e-%s" stroke-width="%.1f" stroke-opacity="%.2f" marker-end="url(#tip)" d="M%.1f %.1fQ%.1f %.1f %.1f %.1f"/>`,
			template.HTMLEscapeString(e.Source), .7+3*e.Weight, .3+.7*min(max(e.Weight, 0), 1), x1, y1, (x1+x2)/2*.6+width/2*.4, (y1+y2)/2*.6+height/2*.4, x2, y2)
	}
	for _, id := range order {
		x, y := at(id, 1)
		lx, ly := at(id, 1.06)
		anchor := "start"
		if lx < width/2-1 {
			anchor = "end"
		} else if math.Abs(lx-width/2) < 1 {
			anchor = "middle"
		}
		name := a.Name(id)
		if len(name) > 30 {
			name = name[:29] + "…"
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4"/><text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, lx, ly+4, anchor, template.HTMLEscapeString(name))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

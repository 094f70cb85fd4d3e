package web

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// tuningView is what the admin API answers under "tuning", as far as the page reads it.
type tuningView struct {
	Mode   string            `json:"mode"`
	Frozen bool              `json:"frozen"`
	Modes  map[string]string `json:"modes"`
	Knobs  []tunedKnob       `json:"knobs"`
}

// tunedKnob is a knob that the tuner looks after.
type tunedKnob struct {
	Knob     string `json:"knob"`
	Kind     string `json:"kind"`
	Upstream string `json:"upstream"`
	Route    string `json:"route"`
	Mode     string `json:"mode"`
	Rule     string `json:"rule"`
	Reason   string `json:"reason"`
	Judging  string `json:"judging"`
	Guarded  string `json:"guarded"`
	Model    *model `json:"model"`
}

// knobLine is one line of the knob table.
type knobLine struct {
	Knob
	// Tuned is nil for a knob that the tuner leaves alone.
	Tuned    *tunedKnob
	Spark    []float32
	Dots     []dot
	Selected bool
}

// dot is a decision on a small line: where from 0 to 1, and what became of it.
type dot struct {
	X    float64
	Kind string
}

type tuningPage struct {
	// Known: the tuner tells of itself.
	Known     bool
	Frozen    bool
	Mode      string
	Lines     []knobLine
	Line      *knobLine
	Charts    []Chart
	Decisions []Decision
	Decision  *decisionView
	Shadows   int
}

// decisionView is one decision with what its signals were before and after.
type decisionView struct {
	Decision
	Numbers []named
	Effects []effect
}

type named struct {
	Name  string
	Value float64
}

type effect struct {
	Signal, Label string
	Before, After float64
	// Change is the relative change; NaN if there is none to tell.
	Change float64
}

// remarshal reads what the admin API would answer into a shape of the page's own.
func remarshal(from, to any) bool {
	if from == nil {
		return false
	}
	b, err := json.Marshal(from)
	return err == nil && json.Unmarshal(b, to) == nil
}

// maxMarks bounds the decisions on a chart and in the list.
const maxMarks = 60

func (h *Handler) tuning(v *view) any {
	var t tuningView
	p := tuningPage{Known: remarshal(h.source.Tuning(), &t), Frozen: t.Frozen, Mode: t.Mode}
	if !p.Known {
		p.Mode = v.Now.Tuning.Mode
	}
	recent := h.source.Decisions("", v.Range.From, 500)
	p.Lines = h.knobLines(v, t.Knobs, recent)
	chosen := v.Query.Get("knob")
	if chosen == "" && len(recent) > 0 {
		chosen = recent[0].Knob
	}
	i := slices.IndexFunc(p.Lines, func(l knobLine) bool { return l.Name == chosen })
	if i < 0 {
		i = max(slices.IndexFunc(p.Lines, func(l knobLine) bool { return strings.HasPrefix(l.Name, "workers.") }), 0)
	}
	if i < len(p.Lines) {
		p.Lines[i].Selected = true
		p.Line = &p.Lines[i]
		h.tuneLine(v, &p)
	}
	for _, d := range recent {
		if d.Mode == "shadow" {
			p.Shadows++
		}
	}
	if d, ok := h.source.Decision(v.Query.Get("decision")); ok {
		p.Decision = h.explain(v, d, p.Line)
	}
	return p
}

func (h *Handler) knobLines(v *view, tuned []tunedKnob, recent []Decision) []knobLine {
	past := h.source.History([]string{"knob/*"}, v.Range.From, v.Range.To, 60)
	from := past.crop()
	if from.Before(v.Range.From) {
		from = v.Range.From
	}
	lines := make([]knobLine, 0, len(v.Now.Knobs))
	for _, k := range v.Now.Knobs {
		l := knobLine{Knob: k}
		if i := slices.IndexFunc(tuned, func(t tunedKnob) bool { return t.Knob == k.Name }); i >= 0 {
			l.Tuned = &tuned[i]
		}
		for _, s := range past.Series {
			if s.Signal == "knob/"+k.Name {
				l.Spark = s.Values
			}
		}
		for _, d := range recent {
			if x := float64(d.Time.Sub(from)) / float64(v.Range.To.Sub(from)); d.Knob == k.Name && x >= 0 && x <= 1 && len(l.Dots) < maxMarks {
				l.Dots = append(l.Dots, dot{x, markKind(d)})
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// tuneLine fills in what belongs to the chosen knob.
func (h *Handler) tuneLine(v *view, p *tuningPage) {
	name := p.Line.Name
	p.Decisions = h.source.Decisions(name, time.Time{}, maxMarks)
	var marks []Mark
	for _, d := range p.Decisions {
		if !d.Time.Before(v.Range.From) && !d.Time.After(v.Range.To) {
			marks = append(marks, Mark{At: float64(d.Time.UnixMilli()) / 1000, ID: d.ID, Kind: markKind(d), Text: d.FromText + " → " + d.ToText + ": " + d.Reason})
		}
	}
	c := h.chart(v, Chart{Title: name, Unit: "", Kind: "step", Series: []ChartSeries{{"knob/" + name, name}}, Marks: marks})
	if p.Line.Kind == "duration" {
		c.Unit = "seconds"
	}
	p.Charts = append(p.Charts, c)
	for _, c := range movedBy(p.Line) {
		c.Marks = marks
		p.Charts = append(p.Charts, h.chart(v, c))
	}
}

// movedBy are the charts of the signals that a knob moves.
func movedBy(l *knobLine) []Chart {
	kind, of, _ := strings.Cut(l.Name, ".")
	upstream, route := of[strings.LastIndexByte(of, '.')+1:], ""
	if l.Tuned != nil && l.Tuned.Upstream != "" {
		upstream, route = l.Tuned.Upstream, l.Tuned.Route
	}
	on := "/" + upstream
	calls := Chart{Title: "Calls to " + upstream, Unit: "per second", Series: []ChartSeries{{"call_throughput" + on, "requests served"}, {"call_rate" + on, "calls"}}}
	latency := Chart{Title: "Latency of calls", Unit: "seconds", Series: []ChartSeries{{"call_p50_seconds" + on, "p50"}, {"call_p95_seconds" + on, "p95"}}}
	faults := Chart{Title: "Failed and refused", Unit: "ratio", Series: []ChartSeries{{"failed_ratio" + on, "failed"}, {"refused_ratio" + on, "refused"}}}
	waiting := Chart{Title: "In flight and waiting", Series: []ChartSeries{{"calls_in_flight" + on, "in flight"}, {"queued" + on, "queued"}, {"workers" + on, "workers"}}}
	switch kind {
	case "workers":
		return []Chart{calls, latency, waiting}
	case "rate", "pace", "retry":
		return []Chart{calls, faults, latency}
	case "batch":
		return []Chart{calls, latency, waiting}
	case "cache":
		if route == "" {
			// The upstream of a route is not in the knob's name; "*" finds it.
			return []Chart{{Title: "Hit ratio of " + of, Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "all"}}},
				{Title: "Upstream calls", Unit: "per second", Series: []ChartSeries{{"call_rate", "calls"}}}}
		}
		return []Chart{{Title: "Hit ratio of " + route, Unit: "ratio", Series: []ChartSeries{{"hit_ratio" + on + "/" + route, "hit ratio"}, {"saved_ratio" + on + "/" + route, "with joined calls"}}}, calls}
	case "preload":
		return []Chart{{Title: "Hit ratio", Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "hit ratio"}}},
			{Title: "Upstream calls", Unit: "per second", Series: []ChartSeries{{"call_rate", "calls"}}}}
	}
	return []Chart{{Title: "Requests", Unit: "per second", Series: []ChartSeries{{"rate", "requests"}, {"call_rate", "calls"}}},
		{Title: "Latency of requests", Unit: "seconds", Series: []ChartSeries{{"p50_seconds", "p50"}, {"p95_seconds", "p95"}}}}
}

func markKind(d Decision) string {
	switch {
	case d.Mode == "shadow":
		return "shadow"
	case d.RolledBack || d.Verdict == "worse":
		return "worse"
	case d.Verdict != "":
		return d.Verdict
	case d.Author != "":
		return "person"
	case d.Measured != "":
		return "neutral"
	}
	return "wait"
}

// effectSpan is what is compared before and after a decision.
const effectSpan = time.Minute

// explain gathers a decision's numbers, and what its signals were before and after.
func (h *Handler) explain(v *view, d Decision, l *knobLine) *decisionView {
	x := &decisionView{Decision: d}
	for name, value := range d.Signals {
		x.Numbers = append(x.Numbers, named{name, value})
	}
	slices.SortFunc(x.Numbers, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	if l == nil || l.Name != d.Knob {
		return x
	}
	end := d.Time.Add(effectSpan)
	if !d.JudgedAt.IsZero() {
		end = d.JudgedAt
	}
	if end.After(v.Now.At) {
		end = v.Now.At
	}
	for _, c := range movedBy(l) {
		for _, s := range c.Series {
			before, ok1 := h.source.Mean(s.Signal, d.Time.Add(-effectSpan), d.Time)
			// The first seconds after a change are still those before it.
			after, ok2 := h.source.Mean(s.Signal, d.Time.Add(end.Sub(d.Time)/4), end)
			if !ok1 && !ok2 {
				continue
			}
			e := effect{Signal: s.Signal, Label: c.Title + ": " + s.Label, Before: before, After: after, Change: math.NaN()}
			if ok1 && ok2 && before != 0 {
				e.Change = after/before - 1
			}
			x.Effects = append(x.Effects, e)
		}
	}
	return x
}

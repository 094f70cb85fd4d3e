package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"penstock/client"
)

// drawTop draws a snapshot in at most width columns and height lines. Colours say nothing that a word does
// not say too.
func drawTop(n client.Now, fault error, width, height int, colour bool) []byte {
	d := &drawing{width: width, colour: colour}
	d.head(n, fault)
	d.upstreams(n.Upstreams)
	d.routes(n.Routes)
	d.alerts(n)
	d.decisions(n)
	if len(d.lines) > height {
		d.lines = append(d.lines[:height-1], fit(fmt.Sprintf("... %d more lines; make the window higher", len(d.lines)-height+1), width))
	}
	var b bytes.Buffer
	for i, l := range d.lines {
		b.WriteString(l)
		if i+1 < len(d.lines) || !colour { // the last line of a full screen must not scroll it
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

type drawing struct {
	lines  []string
	width  int
	colour bool
}

const (
	bold   = "1"
	red    = "31"
	yellow = "33"
)

// line adds one line, cut to the width; style is an ANSI code or "".
func (d *drawing) line(style, format string, args ...any) {
	text := fit(fmt.Sprintf(format, args...), d.width)
	if d.colour && style != "" && text != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	d.lines = append(d.lines, text)
}

// fit cuts text to a width. What could command the terminal is taken out: names and reasons come from
// elsewhere.
func fit(text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimRight(text, " ")
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "~"
}

func (d *drawing) head(n client.Now, fault error) {
	if fault != nil {
		d.line(red, "NO ANSWER: %v", fault)
		if n.At.IsZero() {
			return
		}
		d.line(red, "what follows is of %s", n.At.Local().Format("15:04:05"))
	}
	tuning := n.Tuning.Mode
	if n.Tuning.Frozen {
		tuning += ", FROZEN"
	}
	d.line(bold, "Penstock %s  %s  up %s  tuner %s  %s", n.Version, n.Status,
		(time.Duration(n.UptimeSeconds) * time.Second).String(), tuning, n.At.Local().Format("15:04:05"))
	if n.Reload != nil && !n.Reload.OK {
		d.line(red, "RELOAD FAILED: %s", n.Reload.Error)
	}
	t := n.Totals
	d.line("", "requests %.1f/s  errors %s  hits %s  p50 %s  p95 %s  p99 %s", t.Rate, percent(t.ErrorRatio), percent(t.HitRatio),
		span(t.P50Seconds), span(t.P95Seconds), span(t.P99Seconds))
	d.line("", "in flight %.0f  waiting %.0f  calls saved %.0f  cached %.0f (%s)  memory %s  cpu %.2f", t.InFlight, t.Queued, t.CallsSaved,
		t.CacheEntries, mebi(t.CacheBytes), mebi(t.ResidentBytes), t.CPURatio)
	var queue []string
	for u, waiting := range n.QueueByUrgency {
		if waiting > 0 {
			queue = append(queue, fmt.Sprintf("u%d:%.0f", u, waiting))
		}
	}
	if len(queue) > 0 {
		d.line("", "waiting by urgency  %s", strings.Join(queue, "  "))
	}
}

func (d *drawing) upstreams(list []client.NowUpstream) {
	d.line("", "")
	d.line(bold, "%-16s %9s %9s %7s %7s %8s %8s  %s", "UPSTREAM", "CALLS/S", "PERMITS", "WAIT", "FAILED", "P50", "P95", "LIMIT")
	for _, u := range list {
		limit, style := u.Binding, ""
		if u.Breaker == "open" {
			limit, style = "BREAKER OPEN", red
		}
		d.line(style, "%-16s %9.1f %9s %7.0f %7s %8s %8s  %s", fit(u.Name, 16), u.CallRate, fmt.Sprintf("%.0f/%.0f", u.InFlight, u.Permits),
			u.Queued, percent(u.FailedRatio), span(u.P50Seconds), span(u.P95Seconds), limit)
	}
}

func (d *drawing) routes(list []client.NowRoute) {
	if len(list) == 0 {
		return
	}
	d.line("", "")
	d.line(bold, "%-26s %9s %7s %7s %8s %8s %8s", "ROUTE", "REQ/S", "HITS", "ERRORS", "P50", "P95", "P99")
	for _, r := range list {
		d.line("", "%-26s %9.1f %7s %7s %8s %8s %8s", fit(r.Upstream+"/"+r.Name, 26), r.Rate, percent(r.HitRatio), percent(r.ErrorRatio),
			span(r.P50Seconds), span(r.P95Seconds), span(r.P99Seconds))
	}
}

func (d *drawing) alerts(n client.Now) {
	if len(n.Alerts) == 0 {
		return
	}
	d.line("", "")
	d.line(bold, "ALERTS")
	for _, a := range n.Alerts {
		style := yellow
		if a.State == "firing" && a.Severity == "critical" {
			style = red
		}
		d.line(style, "%-8s %-9s %s %s", a.State, a.Severity, strings.TrimSpace(strings.Join([]string{a.Rule, a.Upstream, a.Route}, " ")), a.Summary)
	}
}

func (d *drawing) decisions(n client.Now) {
	if len(n.Decisions) == 0 {
		return
	}
	d.line("", "")
	d.line(bold, "DECISIONS")
	for _, x := range n.Decisions {
		d.line("", "%s  %s %.4g -> %.4g  %s: %s", x.Time.Local().Format("15:04:05"), x.Knob, x.From, x.To, x.Rule, x.Reason)
	}
}

func percent(ratio float64) string { return fmt.Sprintf("%.1f%%", 100*ratio) }

func mebi(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }

// span writes seconds in three or four characters and a unit.
func span(seconds float64) string {
	switch {
	case seconds <= 0:
		return "-"
	case seconds < .01:
		return fmt.Sprintf("%.2fms", 1000*seconds)
	case seconds < 1:
		return fmt.Sprintf("%.0fms", 1000*seconds)
	}
	return fmt.Sprintf("%.2fs", seconds)
}

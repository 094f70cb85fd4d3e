package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/url"
	"time"
)

//go:embed report
var reportFiles embed.FS

var reportTemplate = template.Must(template.New("report.html").Funcs(functions).ParseFS(reportFiles, "report/report.html"))

func init() {
	template.Must(reportTemplate.ParseFS(files, "templates/parts.html"))
}

// report is what the report's template gets.
type report struct {
	Now       *Now
	Range     Range
	Summary   []summary
	Charts    []Chart
	Decisions []Decision
}

type summary struct {
	Signal, Label   string
	Low, Mean, High float64
}

// reportPoints is how many values each line of a report has.
const reportPoints = 900

// maxReportDecisions bounds the decisions in a report.
const maxReportDecisions = 1000

// Report writes a time range as one HTML file that holds all it needs: styles, script and data. Its policy
// allows that script and those styles by their hashes, and no connection.
func (h *Handler) Report(w io.Writer, from, to time.Time) error {
	r := report{Now: h.source.Now(), Range: Range{From: from, To: to}}
	for _, d := range h.source.Decisions("", from, maxReportDecisions) {
		if !d.Time.After(to) {
			r.Decisions = append(r.Decisions, d)
		}
	}
	specs := reportCharts(r.Now, r.Decisions)
	var names []string
	for _, c := range specs {
		for _, s := range c.Series {
			names = append(names, s.Signal)
		}
	}
	past := h.source.History(names, from, to, reportPoints)
	v := &view{Query: url.Values{}, Range: r.Range, Now: r.Now}
	for _, c := range specs {
		r.Charts = append(r.Charts, h.chart(v, c))
		for _, s := range c.Series {
			if line, ok := summarize(past, s, c.Title); ok {
				r.Summary = append(r.Summary, line)
			}
		}
	}
	return writeReport(w, r, past)
}

func reportCharts(now *Now, decisions []Decision) []Chart {
	charts := []Chart{
		{Title: "Requests and calls", Unit: "per second", Series: []ChartSeries{{"rate", "requests"}, {"call_rate", "upstream calls"}}},
		{Title: "Latency of requests", Unit: "seconds", Series: []ChartSeries{{"p50_seconds", "p50"}, {"p95_seconds", "p95"}, {"p99_seconds", "p99"}}},
		{Title: "Saved and failed", Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "hit ratio"}, {"error_ratio", "errors"}}},
		{Title: "Waiting and in flight", Series: []ChartSeries{{"queued", "queued"}, {"in_flight", "in flight"}}},
	}
	for _, u := range now.Upstreams {
		on := "/" + u.Name
		charts = append(charts,
			Chart{Title: "Calls to " + u.Name, Unit: "per second", Series: []ChartSeries{{"call_rate" + on, "calls"}, {"call_throughput" + on, "requests served"}}},
			Chart{Title: "Latency of " + u.Name, Unit: "seconds", Series: []ChartSeries{{"call_p50_seconds" + on, "p50"}, {"call_p95_seconds" + on, "p95"}}},
			Chart{Title: "Failed and refused by " + u.Name, Unit: "ratio", Series: []ChartSeries{{"failed_ratio" + on, "failed"}, {"refused_ratio" + on, "refused"}}},
			Chart{Title: "Workers of " + u.Name, Series: []ChartSeries{{"workers" + on, "workers"}, {"calls_in_flight" + on, "in flight"}, {"queued" + on, "queued"}}})
		for _, d := range decisions {
			if d.Upstream == u.Name {
				c := &charts[len(charts)-1]
				c.Marks = append(c.Marks, Mark{At: float64(d.Time.UnixMilli()) / 1000, ID: d.ID, Kind: markKind(d), Text: d.Reason})
			}
		}
	}
	return append(charts,
		Chart{Title: "CPU", Unit: "cores", Series: []ChartSeries{{"cpu_ratio", "cores"}}},
		Chart{Title: "Memory", Unit: "bytes", Series: []ChartSeries{{"resident_bytes", "resident"}}})
}

func summarize(past Past, s ChartSeries, title string) (summary, bool) {
	for _, x := range past.Series {
		if x.Signal != s.Signal {
			continue
		}
		low, high := bounds(x.Values)
		if high < low {
			return summary{}, false
		}
		sum, n := 0.0, 0
		for _, v := range x.Values {
			if v == v {
				sum += float64(v)
				n++
			}
		}
		return summary{s.Signal, title + ": " + s.Label, float64(low), sum / float64(n), float64(high)}, true
	}
	return summary{}, false
}

// writeReport writes the file. Script and styles are written as they are, so that their hashes hold.
func writeReport(w io.Writer, r report, past Past) error {
	plot, _ := files.ReadFile("assets/uplot.js")
	draw, _ := reportFiles.ReadFile("report/report.js")
	page, _ := files.ReadFile("assets/page.css")
	more, _ := files.ReadFile("assets/uplot.css")
	style := append(page, more...)
	data, err := pastJSON(past)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := reportTemplate.Execute(&body, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src %s %s; style-src %s">
<title>Penstock %s</title>
<style>%s</style>
</head>
%s<script type="application/json" id="data">%s</script>
<script>%s</script>
<script>%s</script>
</body>
</html>
`, hashOf(plot), hashOf(draw), hashOf(style), r.Range.From.Format("2006-01-02 15:04"), style, body.Bytes(), data, plot, draw)
	return err
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pastJSON is the data of the charts: {"times": [...], "values": {signal: [...]}}; JSON's own escapes keep it
// from ending the element that it stands in.
func pastJSON(past Past) ([]byte, error) {
	times := make([]float64, len(past.Times))
	for i, t := range past.Times {
		times[i] = float64(t.UnixMilli()) / 1000
	}
	values := make(map[string][]*float32, len(past.Series))
	for _, s := range past.Series {
		list := make([]*float32, len(s.Values))
		for i := range s.Values {
			if !math.IsNaN(float64(s.Values[i])) && !math.IsInf(float64(s.Values[i]), 0) {
				list[i] = &s.Values[i]
			}
		}
		values[s.Signal] = list
	}
	return json.Marshal(map[string]any{"times": times, "values": values})
}

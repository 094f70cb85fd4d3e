package api

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"penstock/request"
)

// HistoryQuery selects from the history.
type HistoryQuery struct {
	// Signals are names; "*" matches one part of a name between slashes.
	Signals []string
	// From and To bound the time; zero: what is kept in full, and now.
	From, To time.Time
	// Step is the least time between two values; 0: one that gives some hundred.
	Step time.Duration
}

// HistoryRange is what a query gives.
type HistoryRange struct {
	From, To time.Time
	Step     time.Duration
	// Times are shared by all series.
	Times  []time.Time
	Series []HistorySeries
}

// HistorySeries is one signal; NaN where there is no value.
type HistorySeries struct {
	Signal, Unit string
	Values       []float32
}

// HistorySignal is one signal that is kept.
type HistorySignal struct {
	Signal string `json:"signal"`
	Unit   string `json:"unit,omitempty"`
}

// HistoryTier says what is kept at which step.
type HistoryTier struct {
	StepSeconds float64   `json:"step_seconds"`
	From        time.Time `json:"from,omitzero"`
	To          time.Time `json:"to,omitzero"`
}

// History is the signals of the past.
type History interface {
	Query(q HistoryQuery) HistoryRange
	// Kept lists the signals and what of them is kept, the finest tier first.
	Kept() ([]HistorySignal, []HistoryTier)
	// Report writes one HTML file that needs nothing else.
	Report(w io.Writer, from, to time.Time) error
}

// maxPatterns bounds the signals that one query names.
const maxPatterns = 64

// historyQuery reads signal, from, to and step.
func historyQuery(v url.Values, now time.Time) (q HistoryQuery, err error) {
	q.Signals = v["signal"]
	if len(q.Signals) > maxPatterns {
		return q, request.Errorf(request.ProblemBadRequest, "%d signals are named, the most is %d; use * for many of a kind", len(q.Signals), maxPatterns)
	}
	if q.From, err = moment("from", v.Get("from"), now); err != nil {
		return q, err
	}
	if q.To, err = moment("to", v.Get("to"), now); err != nil {
		return q, err
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.From.After(q.To) {
		return q, request.Errorf(request.ProblemBadRequest, "from is after to")
	}
	if s := v.Get("step"); s != "" {
		if q.Step, err = time.ParseDuration(s); err != nil || q.Step <= 0 {
			return q, request.Errorf(request.ProblemBadRequest, `step must be a positive duration such as "15s"`)
		}
	}
	return q, nil
}

// moment reads a time: RFC 3339, seconds since 1970, or how long before now ("-15m").
func moment(name, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && s >= 0 && s < 1e11 {
		return time.UnixMilli(int64(math.Round(s * 1000))), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 {
		return now.Add(d), nil
	}
	return time.Time{}, request.Errorf(request.ProblemBadRequest,
		`%s must be a time such as 2026-01-02T15:04:05Z, seconds since 1970, or a time before now such as -15m`, name)
}

func (a *admin) serveHistory(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	v := r.URL.Query()
	q, err := historyQuery(v, time.Now())
	format := v.Get("format")
	if err == nil && format != "" && format != "json" && format != "csv" {
		err = request.Errorf(request.ProblemBadRequest, "format must be json or csv")
	}
	switch {
	case err != nil:
		a.fail(w, r, x, err)
	case len(q.Signals) == 0 && format == "csv":
		a.fail(w, r, x, request.Errorf(request.ProblemBadRequest, "name the signals that the file is to hold: signal=rate&signal=p95_seconds/*"))
	case len(q.Signals) == 0:
		signals, tiers := a.o.History.Kept()
		if signals == nil {
			signals = []HistorySignal{}
		}
		a.writeJSON(w, r, http.StatusOK, map[string]any{"signals": signals, "tiers": tiers})
	case format == "csv":
		a.writeCSV(w, x, a.o.History.Query(q))
	default:
		a.writeJSON(w, r, http.StatusOK, viewHistory(a.o.History.Query(q)))
	}
}

// historyView is a HistoryRange in JSON: times in seconds since 1970, null where there is no value.
type historyView struct {
	From        time.Time     `json:"from"`
	To          time.Time     `json:"to"`
	StepSeconds float64       `json:"step_seconds"`
	Times       []float64     `json:"times"`
	Series      []historyLine `json:"series"`
}

type historyLine struct {
	Signal string    `json:"signal"`
	Unit   string    `json:"unit,omitempty"`
	Values jsonFloat `json:"values"`
}

// jsonFloat writes NaN as null.
type jsonFloat []float32

func (f jsonFloat) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 8*len(f)+2)
	b = append(b, '[')
	for i, v := range f {
		if i > 0 {
			b = append(b, ',')
		}
		if v != v || math.IsInf(float64(v), 0) {
			b = append(b, "null"...)
			continue
		}
		b = strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	}
	return append(b, ']'), nil
}

func viewHistory(h HistoryRange) historyView {
	v := historyView{From: h.From, To: h.To, StepSeconds: h.Step.Seconds(), Times: make([]float64, len(h.Times)), Series: make([]historyLine, len(h.Series))}
	for i, t := range h.Times {
		v.Times[i] = float64(t.UnixMilli()) / 1000
	}
	for i, s := range h.Series {
		v.Series[i] = historyLine{s.Signal, s.Unit, s.Values}
	}
	return v
}

// writeCSV answers a table: a line for each time, a column for each signal.
func (a *admin) writeCSV(w http.ResponseWriter, x *exchange, h HistoryRange) {
	head := w.Header()
	head.Set("Content-Type", "text/csv; charset=utf-8")
	head.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "penstock-"+h.From.UTC().Format(fileTime)+".csv"))
	x.status = http.StatusOK
	c := csv.NewWriter(w)
	row := []string{"time"}
	for _, s := range h.Series {
		row = append(row, s.Signal)
	}
	_ = c.Write(row)
	for i, t := range h.Times {
		row = append(row[:0], t.UTC().Format(time.RFC3339Nano))
		for _, s := range h.Series {
			cell := ""
			if v := s.Values[i]; v == v {
				cell = strconv.FormatFloat(float64(v), 'g', -1, 32)
			}
			row = append(row, cell)
		}
		if c.Write(row) != nil {
			return
		}
	}
	c.Flush()
}

// fileTime writes a time so that it can stand in a file's name.
const fileTime = "20060102T150405Z"

func (a *admin) serveReport(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	q, err := historyQuery(r.URL.Query(), time.Now())
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	if q.To.IsZero() {
		q.To = time.Now()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-15 * time.Minute)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "penstock-"+q.From.UTC().Format(fileTime)+".html"))
	// The file brings a policy of its own, by the hashes of what is in it.
	h.Del("Content-Security-Policy")
	x.status = http.StatusOK
	if err := a.o.History.Report(w, q.From, q.To); err != nil {
		a.log.WarnContext(x, "a report could not be written", "error", err)
	}
}

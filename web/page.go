package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

// Page is what one rendering shows.
type Page struct {
	Version string
	Uptime  time.Duration
	// Status is "ready" or "draining"; Warning is shown at the top if it is not empty.
	Status, Warning string

	Totals    Totals
	Upstreams []Upstream
	Routes    []Route
	Knobs     []Knob
	Decisions []Decision
	Alerts    []Alert
}

// Totals are the signals of the whole process over the last seconds.
type Totals struct {
	// Rate is requests per second; the ratios are 0..1.
	Rate, HitRatio, ErrorRatio float64
	P50, P95, P99              time.Duration
	InFlight                   int64
	// CallsSaved counts answers since the start that needed no call of their own.
	CallsSaved   uint64
	CacheEntries int64
	CacheBytes   int64
	MemoryBytes  uint64
}

// Upstream is one upstream's line.
type Upstream struct {
	Name, Binding, Breaker            string
	InFlight, Permits, Queued, Length int
	// CallRate is calls per second.
	CallRate, ErrorRatio float64
	P50, P95             time.Duration
	Connections          int
}

// Route is one route's line.
type Route struct {
	Upstream, Name             string
	Rate, HitRatio, ErrorRatio float64
	P50, P95, P99              time.Duration
}

// Knob is one knob's line, values as people write them.
type Knob struct{ Name, Value, Min, Max, Source, Doc, Note string }

// Decision is one line of the tuner's ledger.
type Decision struct {
	At                                time.Time
	Knob, From, To, Rule, Why, Effect string
}

// Alert is one alert that is pending or fires.
type Alert struct{ State, Severity, Name, Upstream, Summary string }

//go:embed page.html page.css
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"percent": func(r float64) string { return fmt.Sprintf("%.1f %%", 100*r) },
	"rate":    func(r float64) string { return fmt.Sprintf("%.1f/s", r) },
	"ms":      milliseconds,
	"mib":     func(n any) string { return mebibytes(n) },
	"round":   func(d time.Duration) time.Duration { return d.Round(time.Second) },
	"clock":   func(t time.Time) string { return t.Format("15:04:05") },
}).ParseFS(files, "page.html"))

func milliseconds(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case d == 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

func mebibytes(n any) string {
	switch n := n.(type) {
	case int64:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case uint64:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return "-"
}

const policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at "/" and its style sheet beside it. data is asked for each rendering.
func Handler(data func() Page) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if err := page.Execute(&b, data()); err != nil {
			http.Error(w, "the page can't be rendered", http.StatusInternalServerError)
			return
		}
		secure(w, "text/html; charset=utf-8")
		_, _ = w.Write(b.Bytes())
	})
	mux.HandleFunc("GET /page.css", func(w http.ResponseWriter, r *http.Request) {
		css, _ := files.ReadFile("page.css")
		secure(w, "text/css; charset=utf-8")
		_, _ = w.Write(css)
	})
	return mux
}

func secure(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

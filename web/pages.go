package web

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type queuePage struct {
	Queues []Queue
	Charts []Chart
	// Most is the longest line, for the bars.
	Most int
}

func (h *Handler) queue(v *view) any {
	p := queuePage{Queues: h.source.Queues()}
	byUrgency := Chart{Title: "Waiting by urgency", Kind: "area"}
	for u := range 8 {
		byUrgency.Series = append(byUrgency.Series, ChartSeries{"queued_u" + strconv.Itoa(u), "u" + strconv.Itoa(u)})
	}
	p.Charts = append(p.Charts, h.chart(v, byUrgency))
	for _, q := range p.Queues {
		on := "/" + q.Upstream
		p.Charts = append(p.Charts, h.chart(v, Chart{Title: "Queue and workers of " + q.Upstream,
			Series: []ChartSeries{{"queued" + on, "queued"}, {"calls_in_flight" + on, "in flight"}, {"workers" + on, "workers"}}}))
		for _, n := range q.ByUrgency {
			p.Most = max(p.Most, n)
		}
	}
	return p
}

type cachePage struct {
	Cache
	Saved uint64
	// Priced: a route has a price.
	Priced bool
	Charts []Chart
	Most   uint64
}

func (h *Handler) cache(v *view) any {
	p := cachePage{Cache: h.source.Cache()}
	p.Saved = p.Hits + p.StaleHits + p.StaleErrors + p.Collapsed
	p.Priced = slices.ContainsFunc(p.Routes, func(r CacheRoute) bool { return r.Money != nil })
	for _, k := range p.Top {
		p.Most = max(p.Most, k.Saved)
	}
	p.Charts = []Chart{
		h.chart(v, Chart{Title: "Hit ratio", Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "hit ratio"}, {"saved_ratio", "with joined calls"}}}),
		h.chart(v, Chart{Title: "Calls saved and made", Unit: "per second", Series: []ChartSeries{{"calls_saved_rate", "saved"}, {"call_rate", "made"}}}),
		h.chart(v, Chart{Title: "What it holds", Unit: "bytes", Kind: "area", Series: []ChartSeries{{"cache_bytes", "bytes"}}}),
	}
	return p
}

// preloadView is what the admin API answers under "preload", as far as the page reads it.
type preloadView struct {
	Enabled      bool    `json:"enabled"`
	Threshold    float64 `json:"threshold"`
	BudgetRatio  float64 `json:"budget_ratio"`
	StandingDown bool    `json:"standing_down"`
	Observed     float64 `json:"observed"`
	Dropped      float64 `json:"dropped"`
	Tables       []struct {
		Name  string  `json:"name"`
		Used  float64 `json:"used"`
		Size  float64 `json:"size"`
		Bytes float64 `json:"bytes"`
	} `json:"tables"`
	Totals  *preloadCounts  `json:"totals"`
	Sources []preloadSource `json:"sources"`
	Routes  []struct {
		Upstream string `json:"upstream"`
		Route    string `json:"route"`
		preloadCounts
	} `json:"routes"`
	Calibration []struct {
		Source    string  `json:"source"`
		Predicted float64 `json:"predicted_ratio"`
		Measured  float64 `json:"measured_ratio"`
		Count     float64 `json:"count"`
	} `json:"calibration"`
	Graph association `json:"graph"`
	// The names of an older answer, which has no totals.
	preloadCounts
}

type preloadSource struct {
	Source    string    `json:"source"`
	State     string    `json:"state"`
	RetryAt   time.Time `json:"retry_at"`
	Predicted float64   `json:"predicted"`
	Measured  float64   `json:"measured_ratio"`
	preloadCounts
}

type preloadCounts struct {
	Issued      float64 `json:"issued"`
	Used        float64 `json:"used"`
	Late        float64 `json:"late"`
	Evicted     float64 `json:"evicted"`
	Expired     float64 `json:"expired"`
	Unstored    float64 `json:"unstored"`
	Wasted      float64 `json:"wasted"`
	Failed      float64 `json:"failed"`
	Redundant   float64 `json:"redundant"`
	Outstanding float64 `json:"outstanding"`
	Precision   float64 `json:"precision_ratio"`
	Coverage    float64 `json:"coverage_ratio"`
	Timeliness  float64 `json:"timeliness_ratio"`
	ExtraCalls  float64 `json:"extra_calls_ratio"`
	WastedBytes float64 `json:"wasted_bytes"`
	Saved       float64 `json:"saved_seconds"`
}

// Lost is what was fetched for nothing.
func (c preloadCounts) Lost() float64 { return c.Evicted + c.Expired + c.Unstored + c.Wasted }

type preloadPage struct {
	preloadView
	Known  bool
	Counts preloadCounts
	Charts []Chart
}

func (h *Handler) preload(v *view) any {
	var p preloadPage
	p.Known = remarshal(h.source.Preload(), &p.preloadView)
	p.Counts = p.preloadCounts
	if p.Totals != nil {
		p.Counts = *p.Totals
	}
	p.Charts = []Chart{h.chart(v, Chart{Title: "Hit ratio", Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "hit ratio"}}})}
	return p
}

type upstreamLine struct {
	Upstream
	Charts   []Chart
	Windows  []quotaWindow
	Outcomes []outcome
	Shares   []named
}

type outcome struct {
	Name  string
	Count uint64
	Share float64
}

func (h *Handler) upstreams(v *view) any {
	var t tuningView
	remarshal(h.source.Tuning(), &t)
	lines := make([]upstreamLine, 0, len(v.Now.Upstreams))
	for _, u := range v.Now.Upstreams {
		l := upstreamLine{Upstream: u, Windows: windowsOf(u, t.Knobs)}
		on := "/" + u.Name
		l.Charts = []Chart{
			h.chart(v, Chart{Title: "Calls to " + u.Name, Unit: "per second", Series: []ChartSeries{{"call_rate" + on, "calls"}, {"call_throughput" + on, "requests served"}}}),
			h.chart(v, Chart{Title: "Latency of " + u.Name, Unit: "seconds", Series: []ChartSeries{{"call_p50_seconds" + on, "p50"}, {"call_p95_seconds" + on, "p95"}, {"call_p99_seconds" + on, "p99"}}}),
			h.chart(v, Chart{Title: "Failed and refused by " + u.Name, Unit: "ratio", Series: []ChartSeries{{"failed_ratio" + on, "failed"}, {"refused_ratio" + on, "refused"}}}),
		}
		total := uint64(0)
		for _, n := range u.Outcomes {
			total += n
		}
		for name, n := range u.Outcomes {
			if n > 0 {
				l.Outcomes = append(l.Outcomes, outcome{name, n, float64(n) / float64(total)})
			}
		}
		slices.SortFunc(l.Outcomes, func(a, b outcome) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
		for name, share := range u.BindingShares {
			if share >= .005 {
				l.Shares = append(l.Shares, named{name, share})
			}
		}
		slices.SortFunc(l.Shares, func(a, b named) int { return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name)) })
		lines = append(lines, l)
	}
	return lines
}

// windowsOf are an upstream's quota windows: those that were learned, else the configured ones.
func windowsOf(u Upstream, tuned []tunedKnob) []quotaWindow {
	for _, k := range tuned {
		if k.Upstream == u.Name && k.Model != nil && k.Model.Kind == "quota" && len(k.Model.Windows) > 0 {
			return k.Model.Windows
		}
	}
	var windows []quotaWindow
	for _, r := range u.Rates {
		left := min(max(r.Tokens, 0), float64(r.Burst))
		windows = append(windows, quotaWindow{Kind: "bucket", Limit: float64(r.Burst), Period: r.Per * float64(r.Burst) / max(r.Limit, 1e-9),
			Used: float64(r.Burst) - left, Remaining: left, Reset: (float64(r.Burst) - left) / max(r.Limit/max(r.Per, 1e-9), 1e-9), Source: "config", Confidence: 1})
	}
	return windows
}

type configPage struct {
	Config
	// All: the defaults are shown too. Keys is how many there are.
	All      bool
	Keys     int
	Reload   *Reload
	Sections []configSection
	Set      int
}

type configSection struct {
	Name    string
	Entries []ConfigEntry
	// Set is how many of them do not have their default.
	Set int
}

func (h *Handler) config(v *view) any {
	p := configPage{Config: h.source.Config(), Reload: v.Now.Reload, All: v.Query.Has("all")}
	p.Keys = len(p.Entries)
	for _, e := range p.Entries {
		if e.Source == "default" && !p.All {
			continue
		}
		name, _, _ := strings.Cut(e.Key, ".")
		if n := len(p.Sections); n == 0 || p.Sections[n-1].Name != name {
			p.Sections = append(p.Sections, configSection{Name: name})
		}
		s := &p.Sections[len(p.Sections)-1]
		s.Entries = append(s.Entries, e)
		if e.Source != "default" {
			s.Set++
			p.Set++
		}
	}
	return p
}

// Single: the section is one key, which needs no heading.
func (s configSection) Single() bool { return len(s.Entries) == 1 && s.Entries[0].Key == s.Name }

// Where says what set it.
func (e ConfigEntry) Where() string {
	if e.Line > 0 {
		return filepath.Base(e.File) + ":" + strconv.Itoa(e.Line)
	}
	return strings.TrimPrefix(e.File, e.Source+" ")
}

// alertsView is what the admin API answers under "alerts", as far as the page reads it.
type alertsView struct {
	Enabled  bool        `json:"enabled"`
	Alerts   []Alert     `json:"alerts"`
	Resolved []Alert     `json:"resolved"`
	Rules    []alertRule `json:"rules"`
	Webhooks []struct {
		Name      string    `json:"name"`
		URL       string    `json:"url"`
		Queued    int       `json:"queued"`
		Sent      uint64    `json:"sent"`
		Failed    uint64    `json:"failed"`
		Dropped   uint64    `json:"dropped"`
		LastSent  time.Time `json:"last_sent"`
		LastError string    `json:"last_error"`
	} `json:"webhooks"`
	Known bool `json:"-"`
}

type alertRule struct {
	Name       string  `json:"name"`
	Signal     string  `json:"signal"`
	Scope      string  `json:"scope"`
	Comparison string  `json:"comparison"`
	Threshold  float64 `json:"threshold"`
	Clear      float64 `json:"clear"`
	For        float64 `json:"for_seconds"`
	Severity   string  `json:"severity"`
	Summary    string  `json:"summary"`
	Source     string  `json:"source"`
	State      string  `json:"state"`
	// AgainstPast: the signal is judged by its ratio to its own past.
	AgainstPast bool `json:"against_past"`
	Values      []struct {
		Upstream string   `json:"upstream"`
		Route    string   `json:"route"`
		Value    *float64 `json:"value"`
		State    string   `json:"state"`
	} `json:"values"`
}

// Text writes a value of the rule's signal, or of its ratio to its past.
func (r alertRule) Text(v any) string {
	if !r.AgainstPast || missing(toFloat(v)) {
		return unit(r.Signal, v)
	}
	return number(v) + " × its past"
}

func (h *Handler) alerts(v *view) any {
	var a alertsView
	a.Known = remarshal(h.source.Alerts(), &a)
	return a
}

// Firing is how many alerts fire that are more than a piece of information, for the tab.
func (v *view) Firing() int {
	n := 0
	for _, a := range v.Now.Alerts {
		if a.State == "firing" && a.Severity != "info" {
			n++
		}
	}
	return n
}

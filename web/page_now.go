package web

import (
	"strconv"
	"time"
)

// Tile is one number at a glance.
type Tile struct {
	Label, Value, Sub string
	// State is "", "warn" or "bad"; Word says it.
	State, Word string
	Spark       []float32
}

type nowPage struct {
	Tiles  []Tile
	Charts []Chart
	// Most is the longest of the queues by urgency, for the bars.
	Most int
}

// sparkSpan is what the small lines show.
const sparkSpan = 5 * time.Minute

func (h *Handler) now(v *view) any {
	t := v.Now.Totals
	signals := []string{"rate", "p95_seconds", "hit_ratio", "calls_saved_rate", "error_ratio", "queued", "cpu_ratio", "resident_bytes"}
	past := h.source.History(signals, v.Now.At.Add(-sparkSpan), v.Now.At, 60)
	past.crop()
	spark := func(signal string) []float32 {
		for _, s := range past.Series {
			if s.Signal == signal {
				return s.Values
			}
		}
		return nil
	}
	saved := rate(t.CallsSavedRate) + " now"
	if t.MoneySaved != nil {
		saved += " · worth " + money(*t.MoneySaved)
	}
	p := nowPage{Tiles: []Tile{
		{Label: "Requests", Value: rate(t.Rate), Sub: rate(t.Goodput) + " good", Spark: spark("rate")},
		{Label: "Latency p95", Value: duration(t.P95), Sub: "p50 " + duration(t.P50) + " · p99 " + duration(t.P99), Spark: spark("p95_seconds")},
		{Label: "Hit ratio", Value: percent(t.HitRatio), Sub: percent(t.SavedRatio) + " with joined calls", Spark: spark("hit_ratio")},
		{Label: "Calls saved", Value: count(t.CallsSaved), Sub: saved, Spark: spark("calls_saved_rate")},
		{Label: "Errors", Value: percent(t.ErrorRatio), Sub: "of the last 10 s", Spark: spark("error_ratio")},
		{Label: "In flight", Value: count(t.InFlight), Sub: count(t.Queued) + " queued", Spark: spark("queued")},
		{Label: "CPU", Value: percent(t.CPURatio), Sub: "of one core; " + strconv.Itoa(t.MaxProcs) + " there", Spark: spark("cpu_ratio")},
		{Label: "Memory", Value: size(t.ResidentBytes), Sub: count(t.ClientConnections) + " in, " + count(t.UpstreamConnections) + " out connections", Spark: spark("resident_bytes")},
	}}
	switch {
	case t.ErrorRatio >= .10:
		p.Tiles[4].State, p.Tiles[4].Word = "bad", "many"
	case t.ErrorRatio >= .02:
		p.Tiles[4].State, p.Tiles[4].Word = "warn", "some"
	}
	for _, c := range []Chart{
		{Title: "Requests and calls", Unit: "per second", Kind: "area", Series: []ChartSeries{{"rate", "requests"}, {"call_rate", "upstream calls"}}},
		{Title: "Latency of requests", Unit: "seconds", Series: []ChartSeries{{"p50_seconds", "p50"}, {"p95_seconds", "p95"}, {"p99_seconds", "p99"}}},
		{Title: "Saved and failed", Unit: "ratio", Series: []ChartSeries{{"hit_ratio", "hit ratio"}, {"saved_ratio", "with joined calls"}, {"error_ratio", "errors"}}},
		{Title: "Waiting and in flight", Unit: "", Kind: "area", Series: []ChartSeries{{"queued", "queued"}, {"in_flight", "in flight"}}},
	} {
		p.Charts = append(p.Charts, h.chart(v, c))
	}
	for _, n := range v.Now.QueueByUrgency {
		p.Most = max(p.Most, n)
	}
	return p
}

package client

import (
	"context"
	"time"
)

// Now is the present of a service: one snapshot, made once for each sample.
type Now struct {
	At            time.Time `json:"at"`
	Version       string    `json:"version"`
	UptimeSeconds float64   `json:"uptime_seconds"`
	Status        string    `json:"status"`
	ReadOnly      bool      `json:"read_only"`
	Tuning        struct {
		Mode   string `json:"mode"`
		Frozen bool   `json:"frozen"`
	} `json:"tuning"`
	Reload *struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	} `json:"reload"`
	Totals struct {
		Rate          float64 `json:"rate"`
		ErrorRatio    float64 `json:"error_ratio"`
		HitRatio      float64 `json:"hit_ratio"`
		P50Seconds    float64 `json:"p50_seconds"`
		P95Seconds    float64 `json:"p95_seconds"`
		P99Seconds    float64 `json:"p99_seconds"`
		InFlight      float64 `json:"in_flight"`
		Queued        float64 `json:"queued"`
		CallsSaved    float64 `json:"calls_saved"`
		CacheEntries  float64 `json:"cache_entries"`
		CacheBytes    float64 `json:"cache_bytes"`
		ResidentBytes float64 `json:"resident_bytes"`
		CPURatio      float64 `json:"cpu_ratio"`
	} `json:"totals"`
	QueueByUrgency []float64     `json:"queue_by_urgency"`
	Upstreams      []NowUpstream `json:"upstreams"`
	Routes         []NowRoute    `json:"routes"`
	Decisions      []struct {
		Time   time.Time `json:"time"`
		Knob   string    `json:"knob"`
		From   float64   `json:"from"`
		To     float64   `json:"to"`
		Rule   string    `json:"rule"`
		Reason string    `json:"reason"`
	} `json:"decisions"`
	Alerts []struct {
		Rule     string `json:"rule"`
		Upstream string `json:"upstream"`
		Route    string `json:"route"`
		State    string `json:"state"`
		Severity string `json:"severity"`
		Summary  string `json:"summary"`
	} `json:"alerts"`
}

// NowUpstream is one upstream in [Now].
type NowUpstream struct {
	Name        string  `json:"name"`
	Binding     string  `json:"binding"`
	Breaker     string  `json:"breaker"`
	InFlight    float64 `json:"in_flight"`
	Permits     float64 `json:"permits"`
	Queued      float64 `json:"queued"`
	CallRate    float64 `json:"call_rate"`
	FailedRatio float64 `json:"failed_ratio"`
	P50Seconds  float64 `json:"p50_seconds"`
	P95Seconds  float64 `json:"p95_seconds"`
}

// NowRoute is one route in [Now].
type NowRoute struct {
	Upstream   string  `json:"upstream"`
	Name       string  `json:"name"`
	Rate       float64 `json:"rate"`
	HitRatio   float64 `json:"hit_ratio"`
	ErrorRatio float64 `json:"error_ratio"`
	P50Seconds float64 `json:"p50_seconds"`
	P95Seconds float64 `json:"p95_seconds"`
	P99Seconds float64 `json:"p99_seconds"`
}

// Now returns the present of the service.
func (a *Admin) Now(ctx context.Context) (Now, error) {
	var out Now
	err := a.getJSON(ctx, "/admin/v1/now", &out)
	return out, err
}

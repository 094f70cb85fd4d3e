package web

import "time"

// Now is everything at a glance, as of the last sample: what GET /admin/v1/now answers, and what the
// first page shows. Ratios are 0..1, rates per second, times in seconds; the signals are those of
// the last 10 s.
type Now struct {
	At              time.Time `json:"at"`
	Version         string    `json:"version"`
	UptimeSeconds   float64   `json:"uptime_seconds"`
	IntervalSeconds float64   `json:"interval_seconds"`
	// Status is "ready" or "draining".
	Status   string     `json:"status"`
	ReadOnly bool       `json:"read_only"`
	Tuning   TuningMode `json:"tuning"`
	// Reload is how the last reload ended; nil: there was none.
	Reload *Reload `json:"reload"`

	Totals         Totals     `json:"totals"`
	QueueByUrgency [8]int     `json:"queue_by_urgency"`
	Background     int        `json:"background"`
	Upstreams      []Upstream `json:"upstreams"`
	Routes         []Route    `json:"routes"`
	Knobs          []Knob     `json:"knobs"`
	Decisions      []Decision `json:"decisions"`
	Alerts         []Alert    `json:"alerts"`
	// Signals are the values that the history got for this moment.
	Signals map[string]float64 `json:"signals"`
	// Degraded says what does not work though requests are answered; "": everything works.
	Degraded string `json:"degraded,omitempty"`
	// Nodes are those of the cluster; none: there is no cluster.
	Nodes []Node `json:"nodes,omitempty"`
}

// TuningMode is what the tuner may do.
type TuningMode struct {
	Mode   string `json:"mode"`
	Frozen bool   `json:"frozen"`
}

// Reload is how a reload of the configuration ended.
type Reload struct {
	At    time.Time `json:"at"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
}

// Totals are the figures of the whole process.
type Totals struct {
	Rate       float64 `json:"rate"`
	Goodput    float64 `json:"goodput"`
	ErrorRatio float64 `json:"error_ratio"`
	HitRatio   float64 `json:"hit_ratio"`
	SavedRatio float64 `json:"saved_ratio"`
	P50        float64 `json:"p50_seconds"`
	P95        float64 `json:"p95_seconds"`
	P99        float64 `json:"p99_seconds"`
	InFlight   int64   `json:"in_flight"`
	Queued     int     `json:"queued"`
	// CallsSaved counts answers since the start that needed no call of their own: from the cache, from
	// another request's call, or in a batch. CallsSavedRate is that per second now.
	CallsSaved     uint64  `json:"calls_saved"`
	CallsSavedRate float64 `json:"calls_saved_rate"`
	// MoneySaved is what they would have cost; nil if no route has a price.
	MoneySaved          *float64 `json:"money_saved"`
	CacheEntries        int64    `json:"cache_entries"`
	CacheBytes          int64    `json:"cache_bytes"`
	CacheMaxBytes       int64    `json:"cache_max_bytes"`
	ResidentBytes       uint64   `json:"resident_bytes"`
	CPURatio            float64  `json:"cpu_ratio"`
	MaxProcs            int      `json:"max_procs"`
	ClientConnections   int64    `json:"client_connections"`
	UpstreamConnections int      `json:"upstream_connections"`
	Goroutines          int      `json:"goroutines"`
	OpenFDs             int      `json:"open_fds"`
	MaxFDs              int      `json:"max_fds"`
}

// Upstream is one upstream at a glance.
type Upstream struct {
	Name string `json:"name"`
	// Binding is the limit that keeps requests waiting now: "none", "permits", "rate 0", "pace", "breaker".
	Binding string `json:"binding"`
	// BindingShares is the share of the last half minute of each.
	BindingShares map[string]float64 `json:"binding_shares"`
	Breaker       string             `json:"breaker"`
	BreakerSince  time.Time          `json:"breaker_since,omitzero"`
	RetryAfter    float64            `json:"breaker_retry_after_seconds,omitempty"`
	InFlight      int                `json:"in_flight"`
	Permits       int                `json:"permits"`
	Held          int                `json:"held"`
	Queued        int                `json:"queued"`
	QueueLength   int                `json:"queue_length"`
	CallRate      float64            `json:"call_rate"`
	Throughput    float64            `json:"throughput"`
	FailedRatio   float64            `json:"failed_ratio"`
	RefusedRatio  float64            `json:"refused_ratio"`
	P50           float64            `json:"p50_seconds"`
	P95           float64            `json:"p95_seconds"`
	P99           float64            `json:"p99_seconds"`
	Connections   int                `json:"connections"`
	// Pace is the calls per second that the tuner allows; 0: no bound.
	Pace        float64 `json:"pace"`
	RetryBudget float64 `json:"retry_budget"`
	ServiceTime float64 `json:"service_seconds"`
	BatchSize   float64 `json:"batch_size"`
	// Rates are the configured windows; Outcomes the calls of the last 10 s by how they ended.
	Rates    []Rate            `json:"rates"`
	Outcomes map[string]uint64 `json:"outcomes"`
}

// Rate is one configured rate window.
type Rate struct {
	Limit  float64 `json:"limit"`
	Per    float64 `json:"per_seconds"`
	Burst  int     `json:"burst"`
	Tokens float64 `json:"tokens"`
}

// Route is one route at a glance.
type Route struct {
	Upstream   string   `json:"upstream"`
	Name       string   `json:"name"`
	Rate       float64  `json:"rate"`
	HitRatio   float64  `json:"hit_ratio"`
	ErrorRatio float64  `json:"error_ratio"`
	P50        float64  `json:"p50_seconds"`
	P95        float64  `json:"p95_seconds"`
	P99        float64  `json:"p99_seconds"`
	InFlight   int64    `json:"in_flight"`
	CallsSaved uint64   `json:"calls_saved"`
	MoneySaved *float64 `json:"money_saved"`
}

// Knob is one knob: value, range, and who set it.
type Knob struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit,omitempty"`
	Doc     string   `json:"doc,omitempty"`
	Value   *float64 `json:"value"`
	Text    string   `json:"text"`
	Min     string   `json:"min_text"`
	Max     string   `json:"max_text"`
	Default string   `json:"default_text"`
	Source  string   `json:"source"`
	// Base is what holds without tuner and pin, BaseSource who set that.
	Base       string `json:"base_text"`
	BaseSource string `json:"base_source"`
	Pin        *Pin   `json:"pin,omitempty"`
}

// Pin is an operator's fixed value.
type Pin struct {
	Text     string    `json:"text"`
	Note     string    `json:"note,omitempty"`
	Author   string    `json:"author,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	FromFile bool      `json:"from_file"`
}

// Decision is one change of one knob, as the ledger has it.
type Decision struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Knob     string    `json:"knob"`
	Upstream string    `json:"upstream,omitempty"`
	From     float64   `json:"from"`
	To       float64   `json:"to"`
	// FromText and ToText are the values as people write them.
	FromText   string             `json:"from_text"`
	ToText     string             `json:"to_text"`
	Rule       string             `json:"rule"`
	Reason     string             `json:"reason"`
	Signals    map[string]float64 `json:"signals,omitempty"`
	Expected   string             `json:"expected,omitempty"`
	Mode       string             `json:"mode,omitempty"`
	Author     string             `json:"author,omitempty"`
	Verdict    string             `json:"verdict,omitempty"`
	Measured   string             `json:"measured,omitempty"`
	JudgedAt   time.Time          `json:"judged_at,omitzero"`
	RolledBack bool               `json:"rolled_back,omitempty"`
	Repeats    int                `json:"repeats,omitempty"`
}

// Alert is one alert that is pending, fires or was resolved.
type Alert struct {
	Rule       string            `json:"rule"`
	Upstream   string            `json:"upstream,omitempty"`
	Route      string            `json:"route,omitempty"`
	State      string            `json:"state"`
	Severity   string            `json:"severity"`
	Summary    string            `json:"summary"`
	Labels     map[string]string `json:"labels,omitempty"`
	Value      float64           `json:"value"`
	Comparison string            `json:"comparison,omitempty"`
	Threshold  float64           `json:"threshold"`
	Unit       string            `json:"unit,omitempty"`
	Since      time.Time         `json:"since,omitzero"`
	FiredAt    time.Time         `json:"fired_at,omitzero"`
	ResolvedAt time.Time         `json:"resolved_at,omitzero"`
}

// Node is one node of the cluster.
type Node struct {
	Name   string `json:"name"`
	Self   bool   `json:"self"`
	Leader bool   `json:"leader"`
	// State is up, silent, gone or unknown.
	State string `json:"state"`
	// Admin is the address of its page.
	Admin string    `json:"admin"`
	Seen  time.Time `json:"seen"`
	// Rate is its requests per second.
	Rate     float64 `json:"rate"`
	HitRatio float64 `json:"hit_ratio"`
	Queued   float64 `json:"queued"`
	InFlight float64 `json:"calls_in_flight"`
	Jobs     int     `json:"jobs_running"`
}

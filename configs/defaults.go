package configs

import (
	"time"

	"penstock/cache"
	"penstock/jobs"
	"penstock/knob"
)

// Defaults returns the configuration of an empty file: no upstreams and no routes. It is the one
// place where the defaults stand.
func Defaults() *Config {
	return &Config{
		Preset: "balanced",
		Server: Server{
			Listen:            "127.0.0.1:8080",
			MaxBodyBytes:      10 << 20,
			MaxHeaderBytes:    64 << 10,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			DrainTimeout:      30 * time.Second,
			DrainDelay:        time.Second,
			ServerTiming:      true,
		},
		Admin: Admin{Listen: "127.0.0.1:9090", Session: 12 * time.Hour},
		Log:   Log{Level: "info", Format: "text"},
		Cache: Cache{
			Enabled:          true,
			MaxEntries:       1_000_000,
			MaxBytes:         256 << 20,
			DefaultTTL:       time.Minute,
			NegativeTTL:      5 * time.Second,
			StaleIfError:     time.Hour,
			RefreshAhead:     0.1,
			ErrorBackoff:     time.Second,
			ErrorBackoffMax:  30 * time.Second,
			ErrorRecovery:    true,
			CompressMinBytes: 1 << 10,
			MaxObjectBytes:   8 << 20,
			CleanupInterval:  time.Minute,
			PersistInterval:  5 * time.Minute,
			L2:               L2{MaxBytes: 64 << 20, MaxObjectBytes: cache.DefaultSecondMaxBytes, Wait: cache.DefaultSecondWait},
		},
		Workers:    Workers{Count: 16, Min: 1, Max: 256, QueueLength: 1000, RequestTimeout: 2 * time.Minute},
		Batching:   Batching{Enabled: true, Linger: 5 * time.Millisecond, MaxItems: 50},
		Priorities: Priorities{Enabled: true},
		Engine:     Engine{Sync: "always", SyncInterval: time.Second},
		Cluster:    defaultCluster(),
		Jobs: Jobs{
			Enabled: true, Running: jobs.DefaultRunning, MaxStored: jobs.DefaultMaxStored, MaxAttempts: jobs.DefaultMaxAttempts,
			Backoff: jobs.DefaultBackoff, MaxBackoff: jobs.DefaultMaxBackoff, Retention: jobs.DefaultRetention,
			MaxWait: jobs.DefaultMaxWait, WebhookAttempts: jobs.DefaultWebhookAttempts,
		},
		Pool: Pool{MaxIdle: 512, MaxIdlePerHost: 128, IdleTimeout: 90 * time.Second, HTTP2: true},
		Monitoring: Monitoring{
			SamplingInterval: time.Second, Retention: 15 * time.Minute,
			HistoryInterval: 15 * time.Second, HistoryRetention: 24 * time.Hour, Alerts: true,
		},
		Tracing: defaultTracing(),
		Preload: Preload{Enabled: true, MaxItems: 10_000, Threshold: 0.2, BudgetRatio: 0.1, SessionHeader: "X-Session"},
		Tuning: Tuning{
			Mode: "active", Interval: 5 * time.Second,
			StepRatio: 0.5, ProbeRatio: 0.03, StaleRatio: 0.01, LatencyRiseRatio: 0.25, ErrorRiseRatio: 0.02,
			ErrorLimitRatio: 0.5, CoolDown: 5 * time.Second, Evaluation: 10 * time.Second, MinSamples: 30,
		},
		Streaming: Streaming{ChunkSize: 32, ParallelStages: 4, Buffer: 256, Retries: 3, Patience: 10 * time.Minute},
		Tenants:   Tenants{Header: "X-Tenant", Anonymous: "auto", Default: defaultTenant().Limits()},
	}
}

// defaultUpstream is what an upstream has that sets nothing; what it inherits is laid over it.
func defaultUpstream() Upstream {
	return Upstream{
		Preload:  PreloadPolicy{Enabled: true},
		Timeouts: Timeouts{Connect: 5 * time.Second, ResponseHeader: 30 * time.Second, Total: time.Minute},
		Retry: Retry{
			MaxAttempts: 3,
			BudgetRatio: 0.1,
			BaseDelay:   50 * time.Millisecond,
			MaxDelay:    time.Second,
			OnStatus:    []int{429, 502, 503, 504},
		},
		Breaker: Breaker{
			Enabled:        true,
			FailureRatio:   0.5,
			MinCalls:       20,
			Window:         10 * time.Second,
			OpenFor:        5 * time.Second,
			HalfOpenProbes: 3,
		},
		MaxResponseBytes: 256 << 20,
		Cache:            CachePolicy{Mode: "http"},
		OnAbandon:        "auto",
	}
}

// defaultRoute is what a route has that sets nothing.
func defaultRoute() Route {
	return Route{Method: "GET", Urgency: 3, OnAbandon: "auto", Cache: CachePolicy{Mode: "http"}, Preload: PreloadPolicy{Enabled: true}}
}

// defaultRate is what a rate window has that sets nothing but its limit.
func defaultRate() Rate { return Rate{Per: time.Second} }

// defaultTenant is what a listed tenant has that sets nothing.
func defaultTenant() Tenant { return Tenant{Weight: 1, CacheShare: 1} }

// SourcePreset marks a value that comes from the preset's bundle.
const SourcePreset knob.Source = "preset"

// presets are the bundles, as key and value. balanced is the defaults themselves.
var presets = map[string]map[string]string{
	"aggressive": {
		"cache.default_ttl":            "5m",
		"cache.max_bytes":              "512MiB",
		"cache.stale_while_revalidate": "1m",
		"cache.stale_if_error":         "24h",
		"workers.count":                "64",
		"workers.max":                  "1000",
		"workers.queue_length":         "5000",
		"batching.linger":              "10ms",
		"batching.max_items":           "100",
		"pool.max_idle":                "2048",
		"pool.max_idle_per_host":       "512",
		"preload.max_items":            "50000",
		"preload.threshold":            "0.1",
		"tuning.interval":              "2s",
		"tuning.step_ratio":            "1",
		"tuning.probe_ratio":           "0.05",
		"tuning.stale_ratio":           "0.05",
		"tuning.latency_rise_ratio":    "0.5",
		"tuning.error_rise_ratio":      "0.05",
		"tuning.error_limit_ratio":     "0.8",
		"tuning.cool_down":             "2s",
		"tuning.min_samples":           "20",
	},
	"balanced": {},
	"conservative": {
		"cache.default_ttl":         "30s",
		"cache.max_bytes":           "128MiB",
		"cache.stale_if_error":      "10m",
		"workers.count":             "4",
		"workers.max":               "32",
		"workers.queue_length":      "200",
		"batching.linger":           "2ms",
		"batching.max_items":        "20",
		"pool.max_idle":             "64",
		"pool.max_idle_per_host":    "16",
		"preload.enabled":           "false",
		"tuning.interval":           "10s",
		"tuning.step_ratio":         "0.2",
		"tuning.probe_ratio":        "0.01",
		"tuning.stale_ratio":        "0.002",
		"tuning.latency_rise_ratio": "0.1",
		"tuning.error_rise_ratio":   "0.01",
		"tuning.error_limit_ratio":  "0.2",
		"tuning.cool_down":          "30s",
		"tuning.evaluation":         "30s",
		"tuning.min_samples":        "60",
	},
}

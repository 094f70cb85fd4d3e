package configs

import "time"

// Tracing sends spans to an OpenTelemetry collector.
type Tracing struct {
	Enabled      bool          `koanf:"enabled" doc:"Whether requests are traced; on shows where the time of single requests went, off costs nothing."`
	Endpoint     string        `koanf:"endpoint" type:"url" doc:"Where spans are sent to: OTLP over HTTP, with its path, such as http://collector:4318/v1/traces."`
	Credentials  []Credential  `koanf:"credentials" doc:"Secrets sent with each export, as headers."`
	SampleRatio  float64       `koanf:"sample_ratio" min:"0" max:"1" doc:"The share of requests that are traced, of those whose client has not decided; more shows more, less costs less."`
	FollowParent bool          `koanf:"follow_parent" doc:"Whether a client's traceparent decides about sampling; off samples by sample_ratio alone, for clients that are not trusted."`
	ServiceName  string        `koanf:"service_name" doc:"The name under which the spans are shown."`
	Timeout      time.Duration `koanf:"timeout" min:"100ms" max:"1m" doc:"How long one export may take with its retries, and the last one at the end; longer suits far collectors, shorter drops sooner."`
	QueueSize    int           `koanf:"queue_size" min:"16" max:"1000000" doc:"How many spans wait for export; more bridges longer gaps, fewer save memory; what is over is dropped."`
}

func defaultTracing() Tracing {
	return Tracing{SampleRatio: 0.01, FollowParent: true, ServiceName: "penstock", Timeout: 5 * time.Second, QueueSize: 2048}
}

func (c *checks) tracing(t Tracing) {
	if t.Enabled && t.Endpoint == "" {
		c.fault("tracing.endpoint", "is needed when tracing is enabled; set it to the collector's address, such as http://127.0.0.1:4318/v1/traces")
	}
	for i, cred := range t.Credentials {
		path := indexed("tracing.credentials", i)
		c.credential(path, cred)
		if cred.Query != "" {
			c.fault(path+".query", "can't be used here; send the secret in a header")
		}
	}
}

package configs

import "time"

// Upstream is one API. After Load every field has its value in force, inherited ones included.
type Upstream struct {
	BaseURL          string            `koanf:"base_url" type:"url" required:"true" doc:"Where the API lives: http or https, host, and optionally a path that everything stays under."`
	Proxy            string            `koanf:"proxy" type:"proxy" doc:"How connections leave: empty goes directly, environment obeys HTTP_PROXY, HTTPS_PROXY and NO_PROXY, else the URL of an http, https or socks5 proxy."`
	Timeouts         Timeouts          `koanf:"timeouts" doc:"How long one call may take."`
	Pool             Pool              `koanf:"pool" inherit:"pool" doc:"The connection pool of this upstream; what is not set comes from the section pool."`
	TLS              TLS               `koanf:"tls" doc:"TLS settings, for https."`
	Credentials      []Credential      `koanf:"credentials" doc:"Secrets added to each call, as a header or a query parameter."`
	Headers          map[string]string `koanf:"headers" key:"header" doc:"Headers set on each call."`
	PassHeaders      []string          `koanf:"pass_headers" type:"header" doc:"Client headers that routes pass on to the upstream (the proxy path passes all end-to-end headers anyway)."`
	Retry            Retry             `koanf:"retry" doc:"Repeating failed calls that are safe to repeat."`
	Breaker          Breaker           `koanf:"breaker" doc:"Stopping calls to an upstream that is down."`
	MaxResponseBytes Size              `koanf:"max_response_bytes" min:"1KiB" max:"1TiB" doc:"The largest answer that is passed on; more lets big ones through, less bounds what a broken upstream can send."`
	Workers          Workers           `koanf:"workers" inherit:"workers" doc:"Calls at once and queue of this upstream; what is not set comes from the section workers."`
	Rates            []Rate            `koanf:"rates" inherit:"rates" doc:"Quota windows of this upstream; if set they replace the section rates as a whole, [] means none."`
	Cache            CachePolicy       `koanf:"cache" inherit:"cache" doc:"How answers of the proxy path, and of routes that do not say otherwise, are kept."`
	Preload          PreloadPolicy     `koanf:"preload" doc:"What of the proxy path may be fetched ahead."`
	OnAbandon        string            `koanf:"on_abandon" enum:"auto,finish,cancel" doc:"What becomes of a call whose last client has gone: finish stores the answer, cancel stops the call, auto finishes safe methods and cancels others."`
}

// Timeouts bound one upstream call.
type Timeouts struct {
	Connect        time.Duration `koanf:"connect" min:"1ms" max:"5m" doc:"Connecting, TLS included; longer suits far hosts, shorter notices dead ones."`
	ResponseHeader time.Duration `koanf:"response_header" min:"0s" max:"24h" doc:"From the request sent to the answer's header; longer suits slow APIs, shorter frees workers; 0: only total counts."`
	Total          time.Duration `koanf:"total" min:"1ms" max:"24h" doc:"From dispatch to the end of the answer, retries included; longer suits long downloads, shorter frees workers."`
}

// TLS is how an https upstream is verified and how Penstock shows who it is.
type TLS struct {
	CAFile             string `koanf:"ca_file" doc:"PEM file of the authorities to trust instead of the system's."`
	CertFile           string `koanf:"cert_file" doc:"PEM file of the client certificate; with key_file."`
	KeyFile            string `koanf:"key_file" doc:"PEM file of the client certificate's key; with cert_file."`
	ServerName         string `koanf:"server_name" doc:"The name to expect in the certificate, if it is not the host of base_url."`
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" doc:"Whether any certificate is accepted; on only in tests, since anybody in between can then read the traffic."`
}

// Credential is one secret on each call: exactly one of Header and Query, and exactly one of Env
// and File.
type Credential struct {
	Header string `koanf:"header" type:"header" doc:"The header that carries it, such as Authorization."`
	Query  string `koanf:"query" doc:"The query parameter that carries it, such as api_key."`
	Prefix string `koanf:"prefix" doc:"What stands before the secret, such as \"Bearer \" with its space."`
	Env    string `koanf:"env" doc:"The environment variable that holds it."`
	File   string `koanf:"file" doc:"The file that holds it; white space around it is cut."`
}

// Secret is where the credential's value comes from.
func (c Credential) Secret() Secret { return Secret{Env: c.Env, File: c.File} }

// Retry is how failed calls are repeated.
type Retry struct {
	MaxAttempts int           `koanf:"max_attempts" min:"1" max:"10" doc:"The most calls for one request, the first included; more hides more failures, fewer add less load; 1: never repeats."`
	BudgetRatio float64       `koanf:"budget_ratio" min:"0" max:"1" doc:"Retries may be this share of all calls; higher hides more failures, lower adds less load to an upstream in trouble."`
	BaseDelay   time.Duration `koanf:"base_delay" min:"1ms" max:"1m" doc:"The bound of the first random delay, doubled for each further one; longer is gentler, shorter is quicker."`
	MaxDelay    time.Duration `koanf:"max_delay" min:"1ms" max:"10m" doc:"The longest delay; a longer Retry-After of the upstream ends the retries."`
	OnStatus    []int         `koanf:"on_status" min:"400" max:"599" doc:"The statuses that are repeated; only those that the API means as temporary."`
}

// Breaker is the circuit breaker.
type Breaker struct {
	Enabled        bool          `koanf:"enabled" doc:"Whether calls stop while the upstream fails; on answers fast and lets it recover, off keeps trying."`
	FailureRatio   float64       `koanf:"failure_ratio" min:"0.01" max:"1" doc:"The share of failed calls in a window that opens the breaker; lower opens sooner, higher bears more."`
	MinCalls       int           `koanf:"min_calls" min:"1" max:"1000000" doc:"The fewest calls in a window before the share counts; more avoids opening by chance, fewer notices sooner."`
	Window         time.Duration `koanf:"window" min:"1s" max:"1h" doc:"The time over which calls are counted; longer is steadier, shorter is quicker."`
	OpenFor        time.Duration `koanf:"open_for" min:"100ms" max:"1h" doc:"How long an open breaker waits before it probes; longer leaves more peace, shorter recovers sooner."`
	HalfOpenProbes int           `koanf:"half_open_probes" min:"1" max:"1000" doc:"How many probes must succeed to close it; more is surer, fewer is quicker."`
}

// CachePolicy is how answers are kept.
type CachePolicy struct {
	Mode                 string        `koanf:"mode" enum:"http,ttl,off" doc:"http obeys the answer's own headers (RFC 9111), ttl keeps every 2xx for ttl, off keeps nothing. Setting ttl alone means mode ttl."`
	TTL                  time.Duration `koanf:"ttl" min:"0s" max:"8760h" inherit:"default_ttl" doc:"How long an answer is fresh under mode ttl; longer saves calls, shorter shows changes sooner."`
	NegativeTTL          time.Duration `koanf:"negative_ttl" min:"0s" max:"24h" doc:"How long a 404 or 410 is kept under mode ttl; longer spares the upstream, shorter finds new things sooner; 0: not at all."`
	StaleWhileRevalidate time.Duration `koanf:"stale_while_revalidate" min:"0s" max:"8760h" doc:"How long past its freshness an answer is still served while it is refreshed; longer hides latency, shorter bounds age."`
	StaleIfError         time.Duration `koanf:"stale_if_error" min:"0s" max:"8760h" doc:"How long past its freshness an answer is served when the upstream fails; longer bridges longer outages, shorter bounds age."`
}

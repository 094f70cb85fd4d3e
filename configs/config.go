package configs

import "time"

// Config is the whole configuration. Durations are time.Duration, sizes are [Size] in bytes,
// ratios are 0 to 1. The tags are read by this package: koanf is the key, doc the description,
// min, max and enum the bounds, reload whether a running service takes the change ("dynamic",
// the default) or only a restart does ("restart").
type Config struct {
	Preset     string              `koanf:"preset" enum:"aggressive,balanced,conservative" doc:"The bundle of defaults to start from: aggressive for throughput, conservative for the upstream's sake, balanced between them; every explicit key beats it."`
	Server     Server              `koanf:"server" doc:"The data plane: the listener that clients talk to."`
	Admin      Admin               `koanf:"admin" doc:"The admin plane: web page, metrics, knobs, reload."`
	DataDir    string              `koanf:"data_dir" reload:"restart" doc:"The folder for what outlives a restart (saved cache, pins, learned state); empty: nothing is kept on disk."`
	Log        Log                 `koanf:"log" doc:"The log."`
	Upstreams  map[string]Upstream `koanf:"upstreams" key:"name" doc:"The APIs that Penstock calls, by name; the name is part of the path /proxy/NAME/."`
	Routes     map[string]Route    `koanf:"routes" key:"name" doc:"The kinds of request that POST /v1/requests takes, by name."`
	Cache      Cache               `koanf:"cache" doc:"The cache of answers, shared by all upstreams."`
	Workers    Workers             `koanf:"workers" doc:"How many calls run at once and how many wait; each upstream takes these values unless it sets its own."`
	Rates      []Rate              `koanf:"rates" doc:"How many calls may start per time; all windows must have room. Each upstream takes these unless it sets its own; empty: no quota is assumed."`
	Batching   Batching            `koanf:"batching" doc:"Joining requests into one upstream call, where a route declares how."`
	Priorities Priorities          `koanf:"priorities" doc:"Serving urgent requests first."`
	Pool       Pool                `koanf:"pool" doc:"The connection pool; each upstream takes these values unless it sets its own."`
	Tracing    Tracing             `koanf:"tracing" doc:"Spans of requests for an OpenTelemetry collector."`
	Monitoring Monitoring          `koanf:"monitoring" doc:"Sampling of signals and the built-in alerts."`
	Preload    Preload             `koanf:"preload" doc:"Fetching what will probably be asked for next, with capacity that nobody else wants."`
	Tuning     Tuning              `koanf:"tuning" doc:"The tuner that turns the knobs by measurement."`
	Streaming  Streaming           `koanf:"streaming" doc:"The pipeline for batches and NDJSON streams."`
	Engine     Engine              `koanf:"engine" doc:"How what is kept under data_dir is written: jobs, pins, decisions, learned state."`
	Cluster    Cluster             `koanf:"cluster" doc:"Sharing between several nodes, through a NATS cluster."`
	Jobs       Jobs                `koanf:"jobs" doc:"Requests that are accepted now and answered later; they need data_dir or cluster.url."`
	Profiling  Profiling           `koanf:"profiling" doc:"Go's profiler on the admin plane."`
	Tenants    Tenants             `koanf:"tenants" doc:"Who asks, by what key, and what each may take: requests are shared out fairly between tenants."`
	Knobs      map[string]string   `koanf:"knobs" key:"knob" doc:"Pins: knob name to fixed value. A pinned knob is left alone by the tuner until its line is removed and the configuration reloaded."`
}

// Server is the data plane.
type Server struct {
	Listen            string        `koanf:"listen" type:"address" reload:"restart" doc:"The address to listen on, host:port; port 0 takes a free one. Before you open it to a network, give the tenants keys (tenants.accounts)."`
	MaxBodyBytes      Size          `koanf:"max_body_bytes" min:"1KiB" max:"1GiB" doc:"The largest request body that is taken; more lets clients send more, less bounds memory per request."`
	MaxHeaderBytes    Size          `koanf:"max_header_bytes" min:"4KiB" max:"16MiB" reload:"restart" doc:"The largest request header that is taken; more for clients with big cookies, less bounds memory per connection."`
	ReadHeaderTimeout time.Duration `koanf:"read_header_timeout" min:"100ms" max:"5m" reload:"restart" doc:"How long a client may take to send its header; longer suits bad networks, shorter frees connections held by slow senders."`
	IdleTimeout       time.Duration `koanf:"idle_timeout" min:"1s" max:"1h" reload:"restart" doc:"How long an idle client connection is kept; longer saves handshakes, shorter saves memory."`
	DrainTimeout      time.Duration `koanf:"drain_timeout" min:"0s" max:"1h" doc:"How long requests in flight may take to end after SIGTERM; longer loses fewer, shorter stops sooner."`
	DrainDelay        time.Duration `koanf:"drain_delay" min:"0s" max:"5m" doc:"How long readiness answers 503 before the listener closes, so that load balancers notice; 0: at once."`
	ServerTiming      bool          `koanf:"server_timing" doc:"Whether answers carry Server-Timing; on shows clients where the time went, off hides it."`
	DefaultDeadline   time.Duration `koanf:"default_deadline" min:"0s" max:"1h" doc:"The deadline of a request that brings none; 0: none. Shorter sheds hopeless waits sooner, longer lets clients wait."`
}

// Admin is the admin plane.
type Admin struct {
	Listen   string `koanf:"listen" type:"address" reload:"restart" doc:"The address of the admin plane, host:port; keep it on loopback unless a token is set."`
	Token    Secret `koanf:"token" doc:"The bearer token that admin requests must carry; unset: none is asked."`
	ReadOnly bool   `koanf:"read_only" doc:"Whether the admin plane refuses every change; on for shared screens, off for operators."`

	Tokens  map[string]AdminToken `koanf:"tokens" key:"name" doc:"Further tokens, by name; what is changed with one is recorded under its name."`
	Session time.Duration         `koanf:"session" min:"1m" max:"720h" doc:"How long a login of a browser lasts; longer asks less often, shorter limits what a forgotten browser can do."`
}

// AdminToken is a token with a name.
type AdminToken struct {
	Env      string `koanf:"env" doc:"The environment variable that holds it."`
	File     string `koanf:"file" doc:"The file that holds it; white space around it is cut."`
	ReadOnly bool   `koanf:"read_only" doc:"Whether it may look and change nothing."`
}

// Secret is where the token comes from.
func (t AdminToken) Secret() Secret { return Secret{Env: t.Env, File: t.File} }

// Secret is a value that comes from outside the configuration. At most one field is set; the zero
// value means that there is none. Read it with [Loaded.Secret].
type Secret struct {
	Env  string `koanf:"env" doc:"The environment variable that holds it."`
	File string `koanf:"file" doc:"The file that holds it; white space around it is cut."`
}

// IsZero reports whether no secret is configured.
func (s Secret) IsZero() bool { return s == Secret{} }

// Log is the log.
type Log struct {
	Level  string `koanf:"level" enum:"debug,info,warn,error" doc:"The least severe level that is written; debug tells most, error least."`
	Format string `koanf:"format" enum:"text,json" reload:"restart" doc:"text for people, json for machines."`
}

// Cache is the store of answers and the section-level defaults of the cache policy.
type Cache struct {
	Enabled              bool          `koanf:"enabled" doc:"Whether answers are stored; off forwards everything, identical requests in flight still share one call."`
	MaxEntries           int           `koanf:"max_entries" min:"0" max:"1000000000" doc:"The capacity in answers; together with max_bytes, whichever is reached first. More keeps more, fewer bound bookkeeping; 0: only max_bytes bounds."`
	MaxBytes             Size          `koanf:"max_bytes" min:"1MiB" max:"1TiB" doc:"The capacity in bytes, answers counted as stored (compressed); more gives more hits, less leaves memory to others."`
	DefaultTTL           time.Duration `koanf:"default_ttl" min:"0s" max:"8760h" doc:"How long an answer is fresh under mode ttl where neither route nor upstream sets a ttl; longer saves calls, shorter shows changes sooner."`
	NegativeTTL          time.Duration `koanf:"negative_ttl" min:"0s" max:"24h" doc:"How long a 404 or 410 is kept under mode ttl; longer spares the upstream, shorter finds new things sooner; 0: not at all."`
	StaleWhileRevalidate time.Duration `koanf:"stale_while_revalidate" min:"0s" max:"8760h" doc:"How long past its freshness an answer is still served while it is refreshed (RFC 5861); longer hides latency, shorter bounds age."`
	StaleIfError         time.Duration `koanf:"stale_if_error" min:"0s" max:"8760h" doc:"How long past its freshness an answer is served when the upstream fails (RFC 5861), with error_recovery on; longer bridges longer outages, shorter bounds age."`
	ErrorRecovery        bool          `koanf:"error_recovery" doc:"Whether a stale copy is served when the upstream fails; on keeps clients going, off shows them every failure."`
	RefreshAhead         float64       `koanf:"refresh_ahead" min:"0" max:"0.5" doc:"The last share of its lifetime in which an answer that is asked for often is fetched anew before it expires, on spare workers; more makes fewer clients wait or get stale answers, less saves calls; 0: never."`
	ErrorBackoff         time.Duration `koanf:"error_backoff" min:"0s" max:"1h" doc:"The first rest that a key is given whose calls failed three times in a row; it doubles with each further failure. Meanwhile a stale copy, or the error, is answered at once. 0: none."`
	ErrorBackoffMax      time.Duration `koanf:"error_backoff_max" min:"0s" max:"24h" doc:"The longest such rest; longer spares the upstream, shorter notices sooner that it has recovered."`
	CompressMinBytes     Size          `koanf:"compress_min_bytes" min:"0" max:"1GiB" doc:"Answers of at least this size are compressed when stored; lower saves memory, higher saves CPU; 0: never compress."`
	MaxObjectBytes       Size          `koanf:"max_object_bytes" min:"1KiB" max:"1GiB" doc:"The largest answer that is stored; higher keeps big ones, lower keeps them from pushing out many small ones."`
	CleanupInterval      time.Duration `koanf:"cleanup_interval" min:"1s" max:"24h" doc:"How often expired answers are swept out; more often frees memory sooner, less often saves CPU."`
	Persist              bool          `koanf:"persist" reload:"restart" doc:"Whether the cache is saved under data_dir and loaded at start; on starts warm, off starts empty. It needs data_dir."`
	L2                   L2            `koanf:"l2" doc:"The second level: a cache that the nodes of a cluster share."`
	PersistInterval      time.Duration `koanf:"persist_interval" min:"10s" max:"24h" doc:"How often the cache is saved when persist is on; more often loses less in a crash, less often writes less."`
}

// L2 is the cache that the nodes of a cluster share.
type L2 struct {
	Enabled        bool          `koanf:"enabled" reload:"restart" doc:"Whether the nodes of a cluster share what they store: a miss looks there before it goes to the upstream. On spares the upstream calls for what another node has; it needs cluster.url and memory of the NATS servers."`
	MaxBytes       Size          `koanf:"max_bytes" min:"1MiB" max:"1TiB" reload:"restart" doc:"How much memory of the NATS servers it takes; the oldest answers go. More keeps more, less leaves memory to others. The same on all nodes."`
	MaxObjectBytes Size          `koanf:"max_object_bytes" min:"1KiB" max:"256KiB" doc:"The largest answer, as stored, that is shared; larger ones stay on the node that fetched them."`
	Wait           time.Duration `koanf:"wait" min:"1ms" max:"5s" doc:"How long a miss waits for it before the upstream is asked; longer finds more while the cluster is slow, shorter costs less then."`
}

// Workers is how many calls run at once and how many wait, for one upstream.
type Workers struct {
	Count          int           `koanf:"count" min:"1" max:"1000" doc:"How many calls run at once at the start; the tuner moves it between min and max. More gives throughput until the upstream is full, fewer spare it."`
	Min            int           `koanf:"min" min:"1" max:"1000" doc:"The fewest that the tuner may set; higher keeps throughput in bad times, lower lets it back off further."`
	Max            int           `koanf:"max" min:"1" max:"1000" doc:"The most that the tuner may set; higher finds more capacity, lower protects the upstream."`
	QueueLength    int           `koanf:"queue_length" min:"0" max:"1000000" doc:"How many requests may wait; longer rides out bursts, shorter refuses sooner (503 with Retry-After); 0: refuse whatever can't start at once."`
	CoDelTarget    time.Duration `koanf:"codel_target" min:"0s" max:"1h" doc:"How old the oldest waiting request of an urgency may be before its queue counts as standing (RFC 8289): then the newest goes first and the oldest are given up; longer rides out bursts, shorter answers the newest sooner; 0: four times the upstream's service time, at least 5ms."`
	CoDelInterval  time.Duration `koanf:"codel_interval" min:"0s" max:"1h" doc:"How long the oldest must be over codel_target for that; longer forgives longer bursts; 0: ten times the service time, at least 100ms."`
	RequestTimeout time.Duration `koanf:"request_timeout" min:"0s" max:"24h" doc:"The longest that one request may take, waiting included; longer suits slow APIs, shorter frees clients sooner; 0: no limit of its own."`
}

// Rate is one window of a quota: Limit calls per Per.
type Rate struct {
	Limit float64       `koanf:"limit" min:"0.000001" max:"1000000000" required:"true" doc:"How many calls may start per window; as the API's terms say."`
	Per   time.Duration `koanf:"per" min:"1ms" max:"744h" doc:"The length of the window; default 1s."`
	Burst int           `koanf:"burst" min:"0" max:"1000000000" doc:"How many calls may start at the same moment; more suits bursts, fewer pace evenly; 0: what limit admits in one second, at least 1."`
}

// Batching is the default and the switch of batching.
type Batching struct {
	Enabled  bool          `koanf:"enabled" doc:"Whether routes that declare a batch form use it; off sends every request alone."`
	Linger   time.Duration `koanf:"linger" min:"0s" max:"10s" doc:"The longest that a free worker waits for a fuller batch; longer makes fewer calls, shorter answers sooner; 0: never waits."`
	MaxItems int           `koanf:"max_items" min:"2" max:"10000" doc:"The most requests in one batch where the route sets no max_items; more makes fewer calls, fewer keep calls short."`
}

// Priorities is the switch of urgencies.
type Priorities struct {
	Enabled bool `koanf:"enabled" doc:"Whether urgent requests go first; off serves in order of arrival, fairly between tenants."`
}

// Pool is a connection pool.
type Pool struct {
	MaxIdle        int           `koanf:"max_idle" min:"1" max:"100000" doc:"The most idle connections kept in all; more saves handshakes, fewer save sockets."`
	MaxIdlePerHost int           `koanf:"max_idle_per_host" min:"1" max:"100000" doc:"The most idle connections kept for each host, at most max_idle; more saves handshakes after bursts, fewer save sockets."`
	MaxPerHost     int           `koanf:"max_per_host" min:"0" max:"100000" doc:"The most connections to each host, busy ones included; a low number protects the host but makes workers wait; 0: no limit but the workers."`
	IdleTimeout    time.Duration `koanf:"idle_timeout" min:"1s" max:"1h" doc:"How long an idle connection is kept; longer saves handshakes, shorter avoids connections that the host has dropped."`
	HTTP2          bool          `koanf:"http2" doc:"Whether HTTP/2 is used where a TLS upstream offers it; on shares one connection, off keeps slow answers from delaying others."`
}

// Monitoring is sampling and alerts.
type Monitoring struct {
	SamplingInterval time.Duration `koanf:"sampling_interval" min:"100ms" max:"1m" doc:"How often signals are sampled for the history; more often shows more, less often costs less."`
	Retention        time.Duration `koanf:"retention" min:"1m" max:"24h" doc:"How long each sample is kept in memory; longer looks back further in full, shorter saves memory."`
	HistoryInterval  time.Duration `koanf:"history_interval" min:"1s" max:"1h" doc:"The step at which signals are kept for longer; shorter shows more of the past, longer saves memory."`
	HistoryRetention time.Duration `koanf:"history_retention" min:"1m" max:"720h" doc:"How long signals are kept at history_interval; longer looks back further, shorter saves memory. At most 10000 steps are kept."`
	Alerts           bool          `koanf:"alerts" doc:"Whether alert rules are evaluated; off keeps silent."`

	AlertRules    map[string]AlertRule    `koanf:"alert_rules" key:"alert" doc:"Alert rules by name. A built-in name changes that rule; another one makes a new rule."`
	AlertWebhooks map[string]AlertWebhook `koanf:"alert_webhooks" key:"name" doc:"Where notices about alerts are sent to, in the form of Alertmanager's webhook."`
	PublicURL     string                  `koanf:"public_url" type:"url" doc:"The address of the web page as people reach it, for links in notices; empty: none."`
}

// Preload is prefetching.
type Preload struct {
	Enabled       bool    `koanf:"enabled" doc:"Whether keys that will probably be asked for are fetched ahead with spare capacity; on hides latency, off makes no call that nobody asked for."`
	MaxItems      int     `koanf:"max_items" min:"1" max:"10000000" doc:"The most keys that the access model remembers; more finds more patterns, fewer save memory. A change forgets what was learned."`
	Threshold     float64 `koanf:"threshold" min:"0" max:"1" doc:"The least measured probability at which a key is fetched ahead; lower fetches more and wastes more, higher only sure things. The budget and a precision of one half raise it when need be."`
	BudgetRatio   float64 `koanf:"budget_ratio" min:"0" max:"1" doc:"The most wasted calls for each call that would be made without fetching ahead; more hides more latency, less spares the upstream."`
	SessionHeader string  `koanf:"session_header" reload:"restart" doc:"The request header that tells one visitor's requests from another's; without it in a request, its address does. It only sorts requests into sequences."`
}

// Engine is how things are kept.
type Engine struct {
	Sync         string        `koanf:"sync" enum:"always,interval" reload:"restart" doc:"always: every write is on the disk before it is acknowledged, so a power cut costs nothing that was accepted. interval: the disk is synced every sync_interval, which is several times faster on slow disks; a power cut costs what was accepted since (a killed process costs nothing)."`
	SyncInterval time.Duration `koanf:"sync_interval" min:"10ms" max:"5m" reload:"restart" doc:"How often the disk is synced under sync: interval; longer is faster, shorter loses less."`
}

// Jobs is the requests that are answered later.
type Jobs struct {
	Enabled         bool          `koanf:"enabled" reload:"restart" doc:"Whether requests may be submitted as jobs; it needs data_dir or cluster.url, since an accepted job must be on disk."`
	Running         int           `koanf:"running" min:"1" max:"10000" doc:"How many jobs run at once; more fills batches and fast upstreams better, fewer leave room in the queues to others."`
	MaxStored       int           `koanf:"max_stored" min:"1" max:"10000000" doc:"The most jobs kept, ended ones too; more takes a longer backlog, each costs some 300 bytes of memory."`
	MaxAttempts     int           `koanf:"max_attempts" min:"1" max:"100" doc:"How often a job is tried that does not say itself; more rides out longer outages, fewer give up sooner."`
	Backoff         time.Duration `koanf:"backoff" min:"10ms" max:"1h" doc:"The pause after a job's first failed attempt, doubled after each further one; longer spares the upstream, shorter ends sooner."`
	MaxBackoff      time.Duration `koanf:"max_backoff" min:"10ms" max:"24h" doc:"The longest pause between two attempts."`
	Retention       time.Duration `koanf:"retention" min:"1m" max:"8760h" doc:"How long an ended job, its result and its Idempotency-Key are kept; longer lets clients come back later, shorter saves disk. Results over 4 KiB go by what it was at the start."`
	MaxWait         time.Duration `koanf:"max_wait" min:"1m" max:"8760h" doc:"How long a due job may wait before it is dead; longer rides out longer outages."`
	WebhookHosts    []string      `koanf:"webhook_hosts" doc:"The hosts that a job's webhook may be sent to: host, host:port, *.domain, or * for all; empty: none. Allow only what the jobs' senders may reach."`
	WebhookSecret   Secret        `koanf:"webhook_secret" doc:"The secret that signs webhooks (Webhook-Signature, HMAC-SHA256); unset: they are not signed."`
	WebhookAttempts int           `koanf:"webhook_attempts" min:"1" max:"100" doc:"How often a webhook is tried, with pauses of 1 s, 4 s, 16 s and so on up to 5 min; more rides out longer outages of the receiver."`
}

// Streaming is the pipeline of batches and streams.
type Streaming struct {
	ChunkSize      int           `koanf:"chunk_size" min:"1" max:"100000" doc:"How many items make a chunk; more lets upstream batches fill, fewer bound memory."`
	ParallelStages int           `koanf:"parallel_stages" min:"1" max:"1024" doc:"How many chunks are worked on at once, so that chunk_size times this many items are under way; more is faster, fewer leave room to others in the queue."`
	Buffer         int           `koanf:"buffer" min:"1" max:"100000" doc:"How many finished answers wait for a slow reader before the stream pauses; more smooths, fewer bound memory."`
	Retries        int           `koanf:"retries" min:"-1" max:"100" doc:"How often a line of a stream is sent again that failed and may go better; more rides out hiccups, fewer end sooner; -1: never."`
	Patience       time.Duration `koanf:"patience" min:"1s" max:"24h" doc:"How long a line of a stream that can't reach its upstream (breaker open, queue full) is held back before it fails; longer rides out longer outages."`
}

// Profiling is Go's profiler.
type Profiling struct {
	Enabled bool `koanf:"enabled" reload:"restart" doc:"Whether /debug/pprof is served on the admin plane; on helps to find what is slow, off shows nothing of the inside."`
}

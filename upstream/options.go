package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"penstock/knob"
	"penstock/request"
)

// The defaults that [Options.EnsureDefaults] fills in.
const (
	DefaultConnectTimeout   = 5 * time.Second
	DefaultTotalTimeout     = 60 * time.Second
	DefaultMaxIdle          = 128
	DefaultMaxIdlePerHost   = 64
	DefaultIdleTimeout      = 90 * time.Second
	DefaultMaxAttempts      = 3
	DefaultBudgetRatio      = 0.1
	DefaultBaseDelay        = 50 * time.Millisecond
	DefaultMaxDelay         = time.Second
	DefaultFailureRatio     = 0.5
	DefaultMinCalls         = 20
	DefaultWindow           = 10 * time.Second
	DefaultOpenFor          = 5 * time.Second
	DefaultHalfOpenProbes   = 3
	DefaultMaxResponseBytes = 256 << 20
)

// DefaultRetryStatuses are the statuses retried when [Retry.OnStatus] is nil.
func DefaultRetryStatuses() []int {
	return []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
}

// Options configures the Client of one upstream. Zero values mean the defaults, except where a
// field says otherwise.
type Options struct {
	// Name is the upstream's name in the configuration. Required. It is fixed for the life of a
	// Client.
	Name string
	// BaseURL is "http://host[:port][/path]" or https. Required. Every call stays on this host
	// and below this path. User info, query and fragment are refused: secrets belong into
	// Credentials.
	BaseURL string
	// Proxy says how connections leave: "" directly (default; the environment is ignored),
	// "environment" as HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, or the proxy's http, https or
	// socks5 URL.
	Proxy string

	Timeouts Timeouts
	Pool     Pool
	TLS      TLS
	// Credentials are injected into every call and replace what the client sent by the same
	// name. They are read by New and again by each Prepare.
	Credentials []Credential
	// Headers are set on every call, replacing the client's. Framing and hop-by-hop fields and
	// Host are refused.
	Headers map[string]string

	Retry   Retry
	Breaker Breaker
	// MaxResponseBytes bounds an answer's body. Default 256 MiB; -1: no bound. An answer over it
	// fails with ProblemAnswerTooLarge, at once if its Content-Length tells.
	MaxResponseBytes int64

	// RoundTripper, if set, takes the place of the pooled transport, and Timeouts.Connect,
	// Timeouts.ResponseHeader, Pool, TLS and Proxy have no effect. For tests and embedding.
	RoundTripper http.RoundTripper
}

// Timeouts bounds the parts of a call.
type Timeouts struct {
	// Connect bounds the TCP connection, and the TLS handshake likewise. Default 5 s. Over it:
	// 504, connection_timeout. Short: quick failure when a host is gone; too short fails on a
	// lost SYN (retransmitted after 1 s).
	Connect time.Duration
	// ResponseHeader bounds the wait for the answer's header once the request was sent. Default
	// 0: Total alone bounds it. Over it: 504, http_response_timeout.
	ResponseHeader time.Duration
	// Total bounds a request with all its retries to the end of the answer's body, unless its
	// route has a timeout of its own. Default 60 s. Over it: 504, http_response_timeout.
	Total time.Duration
}

// Pool sizes the connection pool.
type Pool struct {
	// MaxIdle is how many idle connections are kept. Default 128. MaxIdlePerHost bounds the same
	// for one host (an upstream has several only behind a proxy). Default 64, at most MaxIdle.
	// Few: new handshakes at each burst; many: sockets held on both sides.
	MaxIdle, MaxIdlePerHost int
	// MaxPerHost bounds all connections to the host; calls over it wait, inside their Total.
	// Default 0: no bound, since the scheduler's permits bound the calls.
	MaxPerHost int
	// IdleTimeout is how long an idle connection is kept. Default 90 s. Choose it shorter than
	// the upstream's own, or calls will now and then meet a connection just closed.
	IdleTimeout time.Duration
	// DisableHTTP2 keeps https upstreams on HTTP/1.1. Default false.
	DisableHTTP2 bool
}

// TLS configures https upstreams. The least version is TLS 1.2.
type TLS struct {
	// CAFile holds PEM certificates to trust instead of the system's. Default none.
	CAFile string
	// CertFile and KeyFile hold the client's PEM certificate and key; both or none.
	CertFile, KeyFile string
	// ServerName is the name to verify and send as SNI. Default: the host of BaseURL.
	ServerName string
	// InsecureSkipVerify accepts any certificate: whoever is on the path can read and change
	// everything. For tests only.
	InsecureSkipVerify bool
}

// Credential is one secret to inject. Exactly one of Header and Query, and exactly one of Env and
// File, must be set.
type Credential struct {
	// Header names the header field that carries it; Query the query parameter.
	Header, Query string
	// Prefix goes before the secret, e.g. "Bearer ".
	Prefix string
	// Env names the environment variable that holds the secret; File the file. White space
	// around a file's content is cut. A missing or empty one is an error of New and Prepare.
	Env, File string
}

// Retry says when a call is made again: only for idempotent methods or with an Idempotency-Key,
// only if the body can be sent again, only before anything of an answer was handed on, only
// within the budget, and never when the breaker is open.
//
// Apart from that, net/http itself sends a call once more when a kept connection turns out to have
// been closed before the upstream said anything; that is no retry in this sense, and is not counted.
//
// A request keeps its permit while it waits for a retry, so waits must stay short: MaxDelay
// bounds them.
type Retry struct {
	// MaxAttempts counts the first one: 1 means no retries. Default 3, at most 10.
	MaxAttempts int
	// BudgetRatio is the share of traffic that may be retries, 0 to 1; 0 turns retries off.
	// Default 0.1. Each first attempt puts it into a bucket that holds 10 at most, each retry
	// takes 1; the bucket also gains 1 in 10 s, so that an idle upstream has some. More: single
	// failures are hidden better; less: an overloaded upstream is spared.
	BudgetRatio knob.Float
	// BaseDelay and MaxDelay shape the wait before retry n (from 0): random, evenly in
	// [0, min(MaxDelay, BaseDelay*2^n)] ("full jitter"). Defaults 50 ms and 1 s. An answer's
	// Retry-After is waited for if it is at most MaxDelay; a longer one ends the retries and the
	// answer is handed on.
	BaseDelay, MaxDelay time.Duration
	// OnStatus lists the statuses to retry. Nil: 429, 502, 503 and 504. Empty: none. Connection
	// failures are always retried.
	OnStatus []int
	// Room is asked before a call is made again: it counts the call for the rates and quotas and says how long to
	// wait, or that it would be more than most, so that the answer had better be handed on. Nil: there is always room.
	Room func(r *request.Request, most time.Duration) (wait time.Duration, ok bool)
}

// Breaker says when calls stop because the upstream fails. Connection failures, timeouts, broken
// answers and 5xx but 501 are failures; 4xx (429 too) and calls that were given up are not.
type Breaker struct {
	// Disabled turns the breaker off. Default false.
	Disabled bool
	// FailureRatio opens the breaker when this share of the calls that ended in the last Window
	// failed, and at least MinCalls did end. Defaults 0.5 (over 0, at most 1), 10 s and 20.
	FailureRatio float64
	MinCalls     int
	Window       time.Duration
	// OpenFor is how long an open breaker refuses everything. Default 5 s.
	OpenFor time.Duration
	// HalfOpenProbes is how many calls then go through: if all succeed the breaker closes, if
	// one fails it opens again. Default 3.
	HalfOpenProbes int
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// EnsureDefaults fills in the defaults where a value is zero.
func (o *Options) EnsureDefaults() {
	orDefault(&o.Timeouts.Connect, DefaultConnectTimeout)
	orDefault(&o.Timeouts.Total, DefaultTotalTimeout)
	orDefault(&o.Pool.MaxIdle, DefaultMaxIdle)
	orDefault(&o.Pool.MaxIdlePerHost, min(DefaultMaxIdlePerHost, o.Pool.MaxIdle))
	orDefault(&o.Pool.IdleTimeout, DefaultIdleTimeout)
	orDefault(&o.Retry.MaxAttempts, DefaultMaxAttempts)
	if o.Retry.BudgetRatio.Knob == nil {
		o.Retry.BudgetRatio = knob.FixedFloat(DefaultBudgetRatio)
	}
	orDefault(&o.Retry.BaseDelay, DefaultBaseDelay)
	orDefault(&o.Retry.MaxDelay, max(DefaultMaxDelay, o.Retry.BaseDelay))
	if o.Retry.OnStatus == nil {
		o.Retry.OnStatus = DefaultRetryStatuses()
	}
	orDefault(&o.Breaker.FailureRatio, DefaultFailureRatio)
	orDefault(&o.Breaker.MinCalls, DefaultMinCalls)
	orDefault(&o.Breaker.Window, DefaultWindow)
	orDefault(&o.Breaker.OpenFor, DefaultOpenFor)
	orDefault(&o.Breaker.HalfOpenProbes, DefaultHalfOpenProbes)
	orDefault(&o.MaxResponseBytes, DefaultMaxResponseBytes)
}

// Validate reports every fault of o, joined; each names its setting. It reads no files. Call
// EnsureDefaults first.
func (o *Options) Validate() error {
	f := faults{prefix: "upstreams." + o.Name + "."}
	if o.Name == "" {
		f.prefix = ""
		f.add("name", "an upstream needs a name")
	}
	if _, err := parseBase(o.BaseURL); err != nil {
		f.add("base_url", "%v", err)
	}
	if _, err := proxyFunc(o.Proxy); err != nil {
		f.add("proxy", "%v", err)
	}
	o.Timeouts.validate(&f)
	o.Pool.validate(&f)
	o.TLS.validate(&f)
	names := make(map[string]bool, len(o.Credentials))
	for i, c := range o.Credentials {
		at := fmt.Sprintf("credentials[%d]", i)
		c.validate(&f, at)
		name := "?" + c.Query
		if c.Header != "" {
			name = http.CanonicalHeaderKey(c.Header)
		}
		f.check(!names[name] || name == "?", at, "another credential goes into the same place; remove one")
		names[name] = true
	}
	fields := make(map[string]bool, len(o.Headers))
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		f.check(!fields[http.CanonicalHeaderKey(name)], "headers."+name, "stands there twice in different spellings; remove one")
		fields[http.CanonicalHeaderKey(name)] = true
		f.check(!reservedHeader(name), "headers."+name, "this field is set by the transport; remove it")
		f.check(validToken(name), "headers."+name, "%q is not a header field name", name)
		f.check(validFieldValue(o.Headers[name]), "headers."+name, "the value has characters that a header can't carry")
	}
	o.Retry.validate(&f)
	if !o.Breaker.Disabled {
		o.Breaker.validate(&f)
	}
	f.check(o.MaxResponseBytes >= -1 && o.MaxResponseBytes != 0, "max_response_bytes", "must be over 0, or -1 for no bound")
	return errors.Join(f.all...)
}

func (t *Timeouts) validate(f *faults) {
	f.check(t.Connect > 0, "timeouts.connect", "%s must be over 0", t.Connect)
	f.check(t.ResponseHeader >= 0, "timeouts.response_header", "%s must be 0 (no bound of its own) or more", t.ResponseHeader)
	f.check(t.Total > 0, "timeouts.total", "%s must be over 0", t.Total)
	f.check(t.ResponseHeader <= t.Total, "timeouts.response_header", "%s is over timeouts.total %s and would never count", t.ResponseHeader, t.Total)
}

func (p *Pool) validate(f *faults) {
	f.check(p.MaxIdle > 0, "pool.max_idle", "%d must be 1 or more", p.MaxIdle)
	f.check(p.MaxIdlePerHost > 0, "pool.max_idle_per_host", "%d must be 1 or more", p.MaxIdlePerHost)
	f.check(p.MaxPerHost >= 0, "pool.max_per_host", "%d must be 0 (no bound) or more", p.MaxPerHost)
	f.check(p.IdleTimeout > 0, "pool.idle_timeout", "%s must be over 0", p.IdleTimeout)
}

func (t *TLS) validate(f *faults) {
	f.check((t.CertFile == "") == (t.KeyFile == ""), "tls", "cert_file and key_file go together; set both or none")
}

func (c *Credential) validate(f *faults, at string) {
	f.check((c.Header == "") != (c.Query == ""), at, "set exactly one of header and query")
	f.check((c.Env == "") != (c.File == ""), at, "set exactly one of env and file")
	if c.Header != "" {
		f.check(validToken(c.Header), at+".header", "%q is not a header field name", c.Header)
		f.check(!reservedHeader(c.Header), at+".header", "%s is set by the transport and can't carry a credential", c.Header)
		f.check(validFieldValue(c.Prefix), at+".prefix", "the value has characters that a header can't carry")
	}
}

func (r *Retry) validate(f *faults) {
	f.check(r.MaxAttempts >= 1 && r.MaxAttempts <= 10, "retry.max_attempts", "%d is not within [1, 10]; 1 means no retries", r.MaxAttempts)
	if r.BudgetRatio.Knob != nil {
		v := r.BudgetRatio.Get()
		f.check(v >= 0 && v <= 1, "retry.budget_ratio", "%v is not within [0, 1]", v)
	}
	f.check(r.BaseDelay > 0, "retry.base_delay", "%s must be over 0", r.BaseDelay)
	f.check(r.MaxDelay >= r.BaseDelay, "retry.max_delay", "%s is under retry.base_delay %s", r.MaxDelay, r.BaseDelay)
	for _, s := range r.OnStatus {
		f.check(s >= 400 && s <= 599, "retry.on_status", "%d is not a failure status (400 to 599)", s)
	}
}

func (b *Breaker) validate(f *faults) {
	f.check(b.FailureRatio > 0 && b.FailureRatio <= 1, "breaker.failure_ratio", "%v is not over 0 and at most 1", b.FailureRatio)
	f.check(b.MinCalls >= 1, "breaker.min_calls", "%d must be 1 or more", b.MinCalls)
	f.check(b.Window >= 10*time.Millisecond, "breaker.window", "%s must be 10ms or more", b.Window)
	f.check(b.OpenFor > 0, "breaker.open_for", "%s must be over 0", b.OpenFor)
	f.check(b.HalfOpenProbes >= 1 && b.HalfOpenProbes <= 1000, "breaker.half_open_probes", "%d is not within [1, 1000]", b.HalfOpenProbes)
}

// faults gathers what is wrong, each fault under the full name of its setting.
type faults struct {
	prefix string
	all    []error
}

func (f *faults) add(key, format string, args ...any) {
	f.all = append(f.all, fmt.Errorf("%s%s: %s", f.prefix, key, fmt.Sprintf(format, args...)))
}

func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

func proxyFunc(setting string) (func(*http.Request) (*url.URL, error), error) {
	switch setting {
	case "":
		return nil, nil
	case "environment":
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(setting)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, strings.ToLower(u.Scheme)) {
		// The text may hold a password and is not shown.
		return nil, errors.New(`not a proxy; use "", "environment", or an http, https or socks5 URL`)
	}
	return http.ProxyURL(u), nil
}

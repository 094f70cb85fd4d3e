package request

import (
	"net/http"
	"time"
)

// OnAbandon says what becomes of an upstream call whose last waiter has gone.
type OnAbandon uint8

const (
	// AbandonDefault is AbandonFinish for safe methods, AbandonCancel for others.
	AbandonDefault OnAbandon = iota
	// AbandonFinish lets a begun call run on; its answer is stored and its permit is held to its
	// end. A call that has not begun is dropped.
	AbandonFinish
	// AbandonCancel cancels the call. Its permit is held for as long as such calls usually take,
	// since most upstreams work on for a client that has gone.
	AbandonCancel
)

// CacheMode says whose rules decide about storing an answer.
type CacheMode uint8

const (
	// CacheHTTP obeys the answer's own headers (RFC 9111).
	CacheHTTP CacheMode = iota
	// CacheTTL stores 2xx answers for the route's TTL, whatever their headers say, except
	// that no-store of the request is obeyed.
	CacheTTL
	// CacheOff stores nothing. Identical safe requests in flight are still coalesced.
	CacheOff
)

// DurationValue is a duration that may change while the service runs (a knob).
type DurationValue interface{ Get() time.Duration }

// FixedDuration is a DurationValue that never changes.
type FixedDuration time.Duration

// Get returns the duration.
func (d FixedDuration) Get() time.Duration { return time.Duration(d) }

// KeyedFreshness gives the keys of a route freshness lifetimes of their own. It is safe for concurrent use,
// and quick: it is asked for each answer that is stored.
type KeyedFreshness interface {
	// Freshness returns how long an answer under a key, given by its hash, is fresh, and how long after that
	// it may be used while it is refreshed. Not ok: the route's own values hold for all keys.
	Freshness(key uint64) (ttl, window time.Duration, ok bool)
	// EarlyRatio is the share of stored answers, 0..1, that are compared with the upstream's before their time
	// is over, to learn how often they change.
	EarlyRatio() float64
}

// CachePolicy is how the cache treats a route.
type CachePolicy struct {
	Mode CacheMode
	// TTL is the freshness lifetime under CacheTTL; never nil then.
	TTL DurationValue
	// Keyed, if not nil, beats TTL for single keys under CacheTTL, and the heuristic freshness of answers
	// that say nothing of it under CacheHTTP.
	Keyed KeyedFreshness
	// NegativeTTL is how long a 404 or 410 is kept under CacheTTL; 0: not at all.
	NegativeTTL time.Duration
	// StaleWhileRevalidate is how long after its freshness an answer may be served while it is
	// refreshed in the background (RFC 5861, section 3).
	StaleWhileRevalidate time.Duration
	// StaleIfError is how long after its freshness an answer may be served when the upstream
	// fails (RFC 5861, section 4). It counts only with error recovery on.
	StaleIfError time.Duration
}

// PreloadPolicy is what a route says about fetching ahead.
type PreloadPolicy struct {
	// Off: its requests are not learned from and not fetched ahead.
	Off bool
	// Shared: what all tenants ask for is learned together, since the answers are the same for all.
	Shared bool
	// Links are the routes that the ids in its answers lead to.
	Links []Link
}

// Link says that the values at a place of a JSON answer are the param of another route.
type Link struct {
	// Place is the path of the values with [] for each list, such as movies[].id or [].id.
	Place string
	// Route and Param name the declared route that is asked for with a value, and its param.
	Route, Param string
}

// Route is one kind of request on an upstream. It is immutable once compiled; a reload makes new
// Routes, and requests in flight keep theirs.
type Route struct {
	// Name is unique in the process ("movie"); the implicit route of an upstream's proxy path is
	// named ProxyRoute.
	Name string
	// Upstream names the upstream that serves the route.
	Upstream string
	// BaseURL is the upstream's base URL, by which the cache knows what of an answer's Location is
	// of the same origin; empty: only paths are.
	BaseURL string
	// Method is the HTTP method, default GET.
	Method string
	// Path is a template relative to the upstream's base URL: "/movies/{id}".
	Path string
	// Query and Header are templates: name to value with {param} in it. An entry whose params
	// are all absent is left out.
	Query, Header map[string]string
	// Body is the template of a JSON body: any JSON value, in which a string that is exactly
	// "{param}" becomes the param's JSON value (an object's entry is left out when the param is
	// absent). Longer strings stay as they are, since GraphQL has braces of its own. Nil: no body.
	Body any
	// Params declares the params by name. A param that a template names but that is not
	// declared is required and has no pattern.
	Params map[string]Param
	// Key lists the params that make the key; empty: all of them.
	Key []string
	// Urgency is the default urgency.
	Urgency Urgency
	// Timeout bounds one request from dispatch to the end of the answer; 0: the upstream's.
	Timeout time.Duration
	// MaxWait bounds one request as its client sees it, from its arrival to the end of the answer;
	// 0: no bound.
	MaxWait time.Duration
	// PassHeaders are the client's headers that POST /v1/requests hands on; their values become
	// part of the key. The proxy path passes all end-to-end headers anyway.
	PassHeaders []string
	// OnAbandon says what becomes of a call that nobody waits for any more.
	OnAbandon OnAbandon
	// Cache is the cache policy.
	Cache CachePolicy
	// Preload says what of the route may be fetched ahead.
	Preload PreloadPolicy
	// PricePerCall is what one upstream call costs, in the currency of the operator's choice.
	PricePerCall float64

	compiled *compiledRoute
}

// ProxyRoute is the name of the implicit route of each upstream's proxy path.
const ProxyRoute = "proxy"

// Param declares one param of a route.
type Param struct {
	// Required: a request without it is refused.
	Required bool
	// Pattern, if set, is an RE2 regular expression that the param's whole text must match.
	Pattern string
	// Default is used when the param is absent; nil: none.
	Default any
	// Doc is a sentence for GET /v1/routes.
	Doc string
}

// Cancels reports whether an abandoned call of this method is cancelled.
func (r *Route) Cancels(method string) bool {
	switch r.OnAbandon {
	case AbandonFinish:
		return false
	case AbandonCancel:
		return true
	}
	return !SafeMethod(method)
}

// NewProxyRoute returns the implicit route of an upstream's proxy path.
func NewProxyRoute(upstream string, c CachePolicy) *Route {
	return &Route{Name: ProxyRoute, Upstream: upstream, Method: http.MethodGet, Urgency: DefaultUrgency, Cache: c}
}

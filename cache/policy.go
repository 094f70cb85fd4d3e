package cache

import (
	"net/http"
	"slices"
	"time"

	"penstock/request"
)

// question is what a policy needs to know of a request.
type question struct {
	mode   request.CacheMode
	policy request.CachePolicy
	method string
	// authorized: it had an Authorization field; cookies: a Cookie field; noStore: the directive.
	authorized, cookies, noStore bool
	// hash is that of the key, 0 if there is none.
	hash uint64
}

func questionOf(r *request.Request, enabled bool, d *directives) question {
	q := question{
		mode: r.Route.Cache.Mode, policy: r.Route.Cache, method: r.Method,
		authorized: len(r.Header["Authorization"]) > 0,
		cookies:    len(r.Header["Cookie"]) > 0,
		noStore:    d.noStore,
	}
	if !enabled {
		q.mode = request.CacheOff
	}
	return q
}

// verdict is what may be done with an answer.
type verdict struct {
	// share: the requests that wait for the same call may have it.
	share bool
	// store: it may be kept. The rest counts only then.
	store bool
	// age is how old it was on arrival; lifetime how long it is fresh, counted from its birth.
	age, lifetime time.Duration
	// staleWhileRevalidate and staleIfError are the windows after that.
	staleWhileRevalidate, staleIfError time.Duration
	// strict: never served stale, not even on error.
	strict bool
	// sMaxAge: s-maxage made it fresh, so a client's max-stale does not count.
	sMaxAge bool
	// anonymous: it must not answer a request that has an Authorization field.
	anonymous bool
	// withheld are the header fields that are not stored.
	withheld []string
	// ours: the upstream does not say how long it is fresh, so that it is for us to find out.
	ours bool
}

// left is how much of its lifetime an answer had on arrival.
func (v *verdict) left() time.Duration { return max(v.lifetime-v.age, 0) }

// judge decides about an answer.
func judge(q question, status int, h http.Header, m moment) verdict {
	d := answerDirectives(h)
	v := verdict{age: initialAge(h, m), strict: d.mustRevalidate || d.proxyRevalidate}
	switch {
	case len(h["Set-Cookie"]) > 0 && !slices.Contains(d.withheld, "Set-Cookie"), varyStar(h), eventStream(h), status == http.StatusPartialContent,
		status == http.StatusNotModified, status < 200:
		return v // meant for one client, or not a whole answer
	}
	if q.mode == request.CacheTTL {
		return judgeTTL(q, status, v)
	}
	return judgeHTTP(q, status, h, m, &d, v)
}

// judgeTTL follows the route: what the answer says of its own freshness does not count.
func judgeTTL(q question, status int, v verdict) verdict {
	v.share = true
	switch {
	case status >= 200 && status < 300:
		v.lifetime, v.ours = q.policy.TTL.Get(), true
	case status == http.StatusNotFound, status == http.StatusGone:
		v.lifetime = q.policy.NegativeTTL
	}
	v.staleWhileRevalidate, v.staleIfError = q.policy.StaleWhileRevalidate, q.policy.StaleIfError
	if ttl, window, ok := q.keyed(); ok && v.ours {
		v.lifetime, v.staleWhileRevalidate = ttl, min(window, v.staleWhileRevalidate)
	}
	// The route's TTL counts from the arrival, however old the answer was by then.
	if v.lifetime > 0 {
		v.lifetime = min(v.lifetime+v.age, maxDelta)
	}
	v.store = v.lifetime > 0 && !q.noStore && q.method != http.MethodHead
	return v.withoutStale()
}

// judgeHTTP follows RFC 9111, section 3, as a shared cache. An answer that is not fresh, or that
// must be validated before each use, is stored if there is something to validate it by.
func judgeHTTP(q question, status int, h http.Header, m moment, d *directives, v verdict) verdict {
	if d.mustUnderstand && cacheableByDefault(status) {
		d.noStore = false // RFC 9111, section 5.2.2.3
	}
	if d.noStore || d.private {
		return v
	}
	public := d.public || d.mustRevalidate || d.has(givenSMaxAge)
	if q.authorized && !public {
		return v // RFC 9111, section 3.5
	}
	fresh, explicit := lifetime(h, d, m.answered)
	byDefault := d.public || cacheableByDefault(status)
	switch {
	case d.noCache:
		fresh, explicit, v.strict = 0, true, true
	case !explicit && byDefault && !q.authorized && !q.cookies:
		// A guess is not made for an answer that may depend on who asked.
		if fresh = heuristicLifetime(h, m.answered); fresh > 0 {
			v.ours = true
			if ttl, _, ok := q.keyed(); ok {
				fresh = min(ttl+v.age, maxDelta)
			}
		}
	}
	v.share = (fresh > 0 || !explicit) && len(d.withheld) == 0
	v.lifetime, v.anonymous, v.sMaxAge, v.withheld = fresh, !public, d.has(givenSMaxAge), d.withheld
	v.staleWhileRevalidate, v.staleIfError = httpWindows(q.policy, d, fresh)
	useful := fresh > 0 || hasValidator(h) && (explicit || !q.cookies)
	v.store = q.mode == request.CacheHTTP && useful && !q.noStore && q.method == http.MethodGet && (explicit || byDefault)
	return v.withoutStale()
}

// httpWindows are the answer's own windows, or else the route's. s-maxage forbids stale answers
// as proxy-revalidate does (RFC 9111, section 5.2.2.10), unless the answer names a window. What
// was never fresh is served without a look at the upstream only if the answer says so.
func httpWindows(p request.CachePolicy, d *directives, fresh time.Duration) (revalidate, onError time.Duration) {
	if !d.has(givenSMaxAge) {
		onError = p.StaleIfError
		if fresh > 0 {
			revalidate = p.StaleWhileRevalidate
		}
	}
	if d.has(givenStaleWhileRevalidate) {
		revalidate = d.staleWhileRevalidate
	}
	if d.has(givenStaleIfError) {
		onError = d.staleIfError
	}
	return revalidate, onError
}

func (v verdict) withoutStale() verdict {
	if v.strict {
		v.staleWhileRevalidate, v.staleIfError = 0, 0
	}
	return v
}

// wants is what a request asks of a stored answer.
type wants uint8

const (
	useFresh     wants = iota // serve it
	useStale                  // serve it, and refresh it
	mustValidate              // ask the upstream
)

// assess decides what a stored entry of that age is good for (RFC 9111, sections 4.2.4 and 5.2.1;
// RFC 5861, section 3).
func assess(e *entry, d *directives, age time.Duration) wants {
	fresh := e.lifetime - age
	switch {
	case d.noCache, d.has(givenMaxAge) && age > d.maxAge, d.has(givenMinFresh) && fresh < d.minFresh:
		return mustValidate
	case fresh > 0:
		return useFresh
	case e.strict:
		return mustValidate
	case -fresh < e.staleWhileRevalidate && !d.has(givenMaxAge|givenMinFresh):
		return useStale
	case d.has(givenMaxStale) && -fresh <= d.maxStale && !e.sMaxAge:
		return useFresh
	}
	return mustValidate
}

// failed tells the statuses for which a stale copy may stand in (RFC 5861, section 4).
func failed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

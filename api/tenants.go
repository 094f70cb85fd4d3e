package api

import (
	"errors"
	"net/http"
	"time"

	"penstock/request"
)

// Tenants says who asks, and what each may. It may be called at once.
type Tenants interface {
	// Identify finds who sent r, or refuses by a [request.Error]. It takes out of r.Header what is
	// meant for Penstock alone: the API key, and the header that names the tenant.
	Identify(r *http.Request) (Tenant, error)
}

// Tenant is who asks, and what it may. The zero value may do everything.
type Tenant struct {
	// Name may be empty.
	Name string
	// MaxUrgency is the most urgent that its requests may be; more urgent ones count as this.
	MaxUrgency request.Urgency
	// Quota counts its requests; nil: they are not limited.
	Quota Quota
}

// Quota counts the requests of one tenant.
type Quota interface {
	// Take counts one request if there is room for it, else it says how long to wait. policy and
	// state are the values of RateLimit-Policy and RateLimit afterwards.
	Take() (policy, state string, wait time.Duration)
	// Look gives the headers' values and counts nothing.
	Look() (policy, state string)
}

const (
	headerPolicy = "Ratelimit-Policy"
	headerLimit  = "Ratelimit"
)

// challenge is what RFC 9110, section 15.5.2, asks of a 401.
var challenge = []string{`Bearer realm="penstock"`}

// identify finds who asks. It comes before all else that is done for a request, so that strangers
// learn nothing.
func (d *data) identify(w http.ResponseWriter, r *http.Request) (Tenant, error) {
	if d.o.Tenants == nil {
		return Tenant{}, nil
	}
	t, err := d.o.Tenants.Identify(r)
	if err != nil {
		if e, ok := errors.AsType[*request.Error](err); ok && e.Problem == request.ProblemUnauthorized {
			w.Header()["Www-Authenticate"] = challenge
		}
	}
	return t, err
}

// admit finds who asks and counts the request, whatever becomes of it.
func (d *data) admit(w http.ResponseWriter, r *http.Request, x *exchange) (Tenant, error) {
	t, err := d.identify(w, r)
	if err != nil || t.Quota == nil {
		return t, err
	}
	policy, state, wait := t.Quota.Take()
	x.policy, x.limit = x.value(policy), x.value(state)
	x.showQuota(w.Header())
	return t, overQuota(wait)
}

// count counts an item of a batch.
func (t Tenant) count() error {
	if t.Quota == nil {
		return nil
	}
	_, _, wait := t.Quota.Take()
	return overQuota(wait)
}

func overQuota(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return &request.Error{Problem: request.ProblemRateLimited, RetryAfter: wait,
		Detail: "the tenant has used up its rate; ask again after Retry-After, or have the rates of its account (tenants.accounts, else tenants.default) raised"}
}

// showQuota sets the RateLimit headers, in place of an upstream's, whose quota is not the client's.
func (x *exchange) showQuota(h http.Header) {
	if x.policy != nil {
		h[headerPolicy], h[headerLimit] = x.policy, x.limit
	}
}

// urgency is u, or the most urgent that the tenant may use.
func (t Tenant) urgency(u request.Urgency) request.Urgency { return max(u, t.MaxUrgency) }

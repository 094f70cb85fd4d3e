package tenant

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"penstock/observe"
	"penstock/request"
)

const (
	headerKey  = "X-Api-Key"
	headerAuth = "Authorization"
	// maxNameBytes bounds a tenant's name.
	maxNameBytes = 128
)

// Tenant is who asks, and what it may.
type Tenant struct {
	// Name is empty for the one tenant of those that don't say who they are.
	Name string
	// MaxUrgency is the most urgent that its requests may be.
	MaxUrgency request.Urgency
	// Quota counts its requests; nil: they are not limited.
	Quota *Quota
}

// Directory knows the tenants. Make it with [New].
type Directory struct {
	state        atomic.Pointer[state]
	unauthorized counter
	overQuota    counter
}

// counter is a metric; *metrics.Counter of VictoriaMetrics is one.
type counter interface{ Inc() }

// state is one configuration, immutable but for the quotas.
type state struct {
	header    string // canonical
	anonymous Anonymous
	ring      ring
	accounts  map[string]*account
	fallback  Limits
	strangers *table // nil: those that are not listed have no rates
}

// account is one listed tenant.
type account struct {
	name   string
	limits Limits
	quota  *Quota
}

// New returns a Directory of o.
func New(o Options) (*Directory, error) {
	s := o.Scope
	if s == nil {
		s = observe.Discard()
	}
	s.Help("penstock_tenant_refused_total", "Requests that were refused for their key or their tenant's rate.")
	d := &Directory{
		unauthorized: s.With("reason", "unauthorized").Counter("penstock_tenant_refused_total"),
		overQuota:    s.With("reason", "quota").Counter("penstock_tenant_refused_total"),
	}
	d.state.Store(new(state))
	commit, err := d.Prepare(o)
	if err != nil {
		return nil, err
	}
	commit()
	return d, nil
}

// Prepare checks o and builds what it needs; commit puts it in force and can't fail. Quotas whose
// rates stay the same go on with the tokens that they have.
func (d *Directory) Prepare(o Options) (commit func(), err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	old := d.state.Load()
	s := &state{
		header: http.CanonicalHeaderKey(o.Header), anonymous: o.Anonymous,
		accounts: make(map[string]*account, len(o.Accounts)), fallback: o.Default,
	}
	for name, from := range o.Accounts {
		a := &account{name: name, limits: from.Limits}
		if before := old.accounts[name]; before != nil && slices.Equal(before.limits.Rates, from.Rates) {
			a.quota = before.quota
		} else {
			a.quota = newQuota(from.Rates, d.overQuota)
		}
		s.accounts[name] = a
		for _, h := range from.Keys {
			s.ring = append(s.ring, ringKey{h, a})
		}
	}
	if old.strangers != nil && slices.Equal(old.fallback.Rates, o.Default.Rates) {
		s.strangers = old.strangers
	} else if len(o.Default.Rates) > 0 {
		s.strangers = newTable(o.Default.Rates, d.overQuota)
	}
	if s.anonymous == Auto {
		s.anonymous = Loopback
		if len(s.ring) > 0 {
			s.anonymous = Nobody
		}
	}
	return func() { d.state.Store(s) }, nil
}

// Keyed reports whether any account has a key.
func (d *Directory) Keyed() bool { return len(d.state.Load().ring) > 0 }

// Anonymous says who may ask without a key now; never Auto.
func (d *Directory) Anonymous() Anonymous { return d.state.Load().anonymous }

// Weight is the tenant's weight.
func (d *Directory) Weight(name string) float64 {
	if w := d.state.Load().limits(name).Weight; w > 0 {
		return w
	}
	return 1
}

// CacheShare is the share of the cache that may be filled on the tenant's behalf.
func (d *Directory) CacheShare(name string) float64 { return d.state.Load().limits(name).CacheShare }

func (s *state) limits(name string) *Limits {
	if a := s.accounts[name]; a != nil {
		return &a.limits
	}
	return &s.fallback
}

// Identify finds who asks by the header of a request that came from remoteAddr, host:port. It takes
// the key and the tenant's name out of h. An error is a [*request.Error]: 401, or 400 for a name that
// can't be one.
func (d *Directory) Identify(h http.Header, remoteAddr string) (Tenant, error) {
	t, err := d.Recognize(h, remoteAddr)
	if e, ok := errors.AsType[*request.Error](err); ok && e.Problem == request.ProblemUnauthorized {
		d.unauthorized.Inc()
	}
	return t, err
}

// Recognize is Identify without counting who is refused, for one who asks Identify again then.
func (d *Directory) Recognize(h http.Header, remoteAddr string) (Tenant, error) {
	s := d.state.Load()
	if len(s.ring) == 0 {
		return s.byHeader(h, remoteAddr)
	}
	if s.header != "" {
		delete(h, s.header) // anybody could have set it
	}
	key, given, err := takeKey(s.ring, h)
	if err != nil {
		return Tenant{}, refuse(err.Error())
	}
	if !given {
		if !s.admits(remoteAddr) {
			return Tenant{}, refuse("send an API key as \"Authorization: Bearer KEY\" or \"X-Api-Key: KEY\"")
		}
		return s.stranger(""), nil
	}
	a := s.ring.owner(key)
	if a == nil {
		return Tenant{}, refuse("the API key is not known; tenants.accounts lists the hashes of those that are")
	}
	return a.tenant(), nil
}

// byHeader believes the header, and lets in who may come without a key.
func (s *state) byHeader(h http.Header, remoteAddr string) (Tenant, error) {
	if !s.admits(remoteAddr) {
		return Tenant{}, refuse("without API keys only clients on the service's own machine are answered; " +
			"give this client a key (tenants.accounts, `scheduler keys new`), or set tenants.anonymous: any to open the service to everybody")
	}
	if s.header == "" {
		return s.stranger(""), nil
	}
	v := h[s.header]
	if len(v) == 0 {
		return s.stranger(""), nil
	}
	name := v[0]
	if len(v) > 1 || len(name) > maxNameBytes || name != "" && !visible(name) {
		must := fmt.Sprintf("must be one value of at most %d visible ASCII characters", maxNameBytes)
		e := request.Errorf(request.ProblemBadRequest, "header %s %s", s.header, must)
		e.Fields = []request.FieldError{{Pointer: s.header, Detail: must}}
		return Tenant{}, e
	}
	delete(h, s.header)
	if a := s.accounts[name]; a != nil {
		return a.tenant(), nil
	}
	return s.stranger(name), nil
}

func refuse(detail string) error {
	return &request.Error{Problem: request.ProblemUnauthorized, Detail: detail}
}

func (a *account) tenant() Tenant {
	return Tenant{Name: a.name, MaxUrgency: a.limits.MaxUrgency, Quota: a.quota}
}

// stranger is a tenant that is not listed.
func (s *state) stranger(name string) Tenant {
	t := Tenant{Name: name, MaxUrgency: s.fallback.MaxUrgency}
	if s.strangers != nil {
		t.Quota = s.strangers.quota(name)
	}
	return t
}

// admits reports whether a client may ask without a key.
func (s *state) admits(remoteAddr string) bool {
	switch s.anonymous {
	case Anyone:
		return true
	case Loopback:
		a, err := netip.ParseAddrPort(remoteAddr)
		return err == nil && a.Addr().Unmap().IsLoopback()
	}
	return false
}

// refusal is why a request's keys can't be used.
type refusal string

func (r refusal) Error() string { return string(r) }

// takeKey finds the key that a request shows, and takes it out of h. Beside an X-Api-Key, an
// Authorization that is no key of Penstock's is meant for the upstream and stays.
func takeKey(known ring, h http.Header) (key string, given bool, err error) {
	own, auth := h[headerKey], h[headerAuth]
	if len(own) > 1 || len(auth) > 1 {
		return "", false, refusal("send one API key, not several X-Api-Key or Authorization headers")
	}
	bearer, isBearer := bearerOf(auth)
	switch {
	case len(own) == 0 && isBearer:
		delete(h, headerAuth)
		return bearer, true, nil
	case len(own) == 0:
		return "", false, nil
	case isBearer && bearer == own[0]:
		delete(h, headerAuth)
	case isBearer && (strings.HasPrefix(bearer, KeyPrefix) || known.owner(bearer) != nil):
		return "", false, refusal("X-Api-Key and Authorization hold different API keys; send one")
	}
	delete(h, headerKey)
	return own[0], true, nil
}

// bearerOf gives the token of a bearer authorization.
func bearerOf(auth []string) (token string, ok bool) {
	if len(auth) == 0 {
		return "", false
	}
	scheme := auth[0]
	if i := strings.IndexAny(scheme, " \t"); i >= 0 {
		scheme, token = scheme[:i], strings.TrimSpace(scheme[i:])
	}
	return token, strings.EqualFold(scheme, "Bearer")
}

package app

import (
	"fmt"
	"net/http"

	"penstock/api"
	"penstock/configs"
	"penstock/request"
	"penstock/tenant"
)

// tenants is the directory as the data plane sees it.
type tenants struct{ *tenant.Directory }

// Identify implements api.Tenants.
func (t tenants) Identify(r *http.Request) (api.Tenant, error) {
	return asked(t.Directory.Identify(r.Header, r.RemoteAddr))
}

// Recognize finds who sent r as Identify does, and counts nothing.
func (t tenants) Recognize(r *http.Request) (api.Tenant, error) {
	return asked(t.Directory.Recognize(r.Header, r.RemoteAddr))
}

func asked(who tenant.Tenant, err error) (api.Tenant, error) {
	if err != nil {
		return api.Tenant{}, err
	}
	out := api.Tenant{Name: who.Name, MaxUrgency: who.MaxUrgency}
	if who.Quota != nil { // a nil Quota must not become a Quota that holds nil
		out.Quota = who.Quota
	}
	return out, nil
}

var anonymous = map[string]tenant.Anonymous{
	"auto":     tenant.Auto,
	"loopback": tenant.Loopback,
	"any":      tenant.Anyone,
	"never":    tenant.Nobody,
}

// tenantOptions maps the configuration of the tenants to the directory's options.
func (a *App) tenantOptions(c configs.Tenants) (tenant.Options, error) {
	o := tenant.Options{
		Header: c.Header, Anonymous: anonymous[c.Anonymous], Default: tenantLimits(c.Default),
		Accounts: make(map[string]tenant.Account, len(c.Accounts)), Scope: a.metrics.Process(),
	}
	for name, from := range c.Accounts {
		to := tenant.Account{Limits: tenantLimits(from.Limits())}
		for i, text := range from.Keys {
			h, err := tenant.ParseHash(text)
			if err != nil {
				return o, fmt.Errorf("tenants.accounts.%s.keys[%d]: %w", name, i, err)
			}
			to.Keys = append(to.Keys, h)
		}
		o.Accounts[name] = to
	}
	return o, nil
}

func tenantLimits(c configs.TenantLimits) tenant.Limits {
	l := tenant.Limits{Weight: c.Weight, MaxUrgency: request.Urgency(c.MaxUrgency), CacheShare: c.CacheShare}
	for _, r := range c.Rates {
		l.Rates = append(l.Rates, tenant.Rate{Limit: r.Limit, Per: r.Per, Burst: r.Burst})
	}
	return l
}

// newTenants makes the directory of the first configuration.
func (a *App) newTenants(c configs.Tenants) error {
	o, err := a.tenantOptions(c)
	if err != nil {
		return err
	}
	a.tenants, err = tenant.New(o)
	return err
}

// prepareTenants checks the tenants of a new configuration; commit puts them in force.
func (a *App) prepareTenants(c configs.Tenants) (commit func(), err error) {
	o, err := a.tenantOptions(c)
	if err != nil {
		return nil, err
	}
	return a.tenants.Prepare(o)
}

// tellOpenness says at the start, and after a reload that changed it, who may ask.
func (a *App) tellOpenness() {
	keyed, who := a.tenants.Keyed(), a.tenants.Anonymous()
	public := !loopback(a.DataAddr())
	state := fmt.Sprint(keyed, who)
	if before := a.openness.Swap(&state); before != nil && *before == state {
		return
	}
	switch {
	case who == tenant.Anyone && public:
		a.log.Warn("the data plane is open to everybody who reaches it, without a key: tenants.anonymous is any", "data", a.DataAddr())
	case who == tenant.Anyone:
		a.log.Info("the data plane asks for no key: tenants.anonymous is any", "data", a.DataAddr())
	case !keyed && public:
		a.log.Warn("no API keys are configured: only clients on this machine are answered, all others get 401; "+
			"give tenants keys (tenants.accounts, scheduler keys new) or set tenants.anonymous: any", "data", a.DataAddr())
	case !keyed:
		a.log.Info("no API keys are configured: the data plane is open to clients on this machine, and to no others", "data", a.DataAddr())
	case who == tenant.Loopback:
		a.log.Info("the data plane asks for API keys, but not of clients on this machine", "data", a.DataAddr())
	default:
		a.log.Info("the data plane asks for API keys", "data", a.DataAddr())
	}
	if public && keyed {
		a.log.Warn("the data plane is reached without TLS: keys and answers can be read on the way; put a proxy that speaks TLS in front", "data", a.DataAddr())
	}
}

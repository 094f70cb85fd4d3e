package tenant

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"penstock/observe"
	"penstock/request"
)

// Anonymous says who may ask without a key.
type Anonymous uint8

const (
	// Auto is Nobody if any account has a key, else Loopback.
	Auto Anonymous = iota
	// Loopback lets clients on this machine ask, by the address that they connect from.
	Loopback
	// Anyone lets everybody ask.
	Anyone
	// Nobody asks without a key.
	Nobody
)

// Options are the tenants.
type Options struct {
	// Header names the header that names the tenant while no account has a key; empty: all requests
	// are of one tenant.
	Header string
	// Anonymous says who may ask without a key.
	Anonymous Anonymous
	// Accounts are the listed tenants, by name.
	Accounts map[string]Account
	// Default limits every tenant that is not listed, each for itself, and the tenant without a name.
	Default Limits
	// Scope takes the metrics; nil: they are discarded. It stays as it was given to New.
	Scope *observe.Scope
}

// Account is one listed tenant.
type Account struct {
	// Keys are the hashes of its keys.
	Keys []Hash
	Limits
}

// Limits is what a tenant may take.
type Limits struct {
	// Weight is its share relative to others', 0.001 to 1000; 0: 1.
	Weight float64
	// MaxUrgency is the most urgent that its requests may be.
	MaxUrgency request.Urgency
	// Rates are the windows that all must have room for a request; none: no limit.
	Rates []Rate
	// CacheShare is the share of the cache that may be filled on its behalf, 0 to 1.
	CacheShare float64
}

// Rate is one window: Limit requests in each Per, on average.
type Rate struct {
	// Limit is more than 0; fractions are allowed.
	Limit float64
	// Per is the length of the window; 0: a second.
	Per time.Duration
	// Burst is how many unused requests may be saved up; 0: Limit rounded down, at least 1. A token
	// window admits up to Limit + Burst in a span of Per.
	Burst int
}

func (r Rate) withDefaults() Rate {
	if r.Per <= 0 {
		r.Per = time.Second
	}
	if r.Burst <= 0 {
		r.Burst = max(1, int(min(r.Limit, 1e9)))
	}
	return r
}

func (r Rate) perSecond() float64 { return r.Limit / r.Per.Seconds() }

func (l Limits) validate() error {
	if !(l.Weight >= 0) || math.IsInf(l.Weight, 1) {
		return fmt.Errorf("weight %v is not a number of 0.001 to 1000", l.Weight)
	}
	if !(l.CacheShare >= 0) || l.CacheShare > 1 {
		return fmt.Errorf("cache_share %v is not within 0 and 1", l.CacheShare)
	}
	if l.MaxUrgency > request.LeastUrgent {
		return fmt.Errorf("max_urgency %d is over 7", l.MaxUrgency)
	}
	for _, r := range l.Rates {
		if !(r.Limit > 0) || math.IsInf(r.Limit, 1) || r.Per < 0 || r.Burst < 0 {
			return fmt.Errorf("the rate %+v needs a limit over 0, and no negative per or burst", r)
		}
	}
	return nil
}

// Validate reports every fault of o, joined.
func (o Options) Validate() error {
	var faults []error
	fault := func(where string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", where, err))
		}
	}
	fault("tenants.default", o.Default.validate())
	owner := make(map[Hash]string)
	keys := 0
	for _, name := range slices.Sorted(maps.Keys(o.Accounts)) {
		a := o.Accounts[name]
		where := "tenants.accounts." + name
		fault(where, a.validate())
		for _, h := range a.Keys {
			if first, taken := owner[h]; taken {
				fault(where, fmt.Errorf("has a key that %s has already", first))
			}
			owner[h] = name
			keys++
		}
	}
	if o.Anonymous > Nobody || o.Anonymous == Nobody && keys == 0 {
		fault("tenants.anonymous", errors.New("lets nobody in, since no account has a key"))
	}
	return errors.Join(faults...)
}

package configs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Tenants says who asks, and what each may take.
type Tenants struct {
	Header    string            `koanf:"header" type:"header" doc:"The request header that names the tenant while no keys are configured; trust it only if something in front sets it. Empty: all requests are of one tenant. With keys it is ignored and removed."`
	Anonymous string            `koanf:"anonymous" enum:"auto,loopback,any,never" doc:"Who may ask without a key: loopback clients on this machine, any everybody, never nobody; auto is never as soon as an account has a key, and loopback before. Behind a reverse proxy on this machine every client looks like loopback: set keys there."`
	Accounts  map[string]Tenant `koanf:"accounts" key:"tenant" doc:"The tenants that are known, by name, with their keys and limits."`
	Default   TenantLimits      `koanf:"default" doc:"The limits of a tenant that is not listed in accounts, each name for itself, and of requests without a tenant."`
}

// Tenant is one listed tenant.
type Tenant struct {
	Keys       []string     `koanf:"keys" type:"keyhash" doc:"The SHA-256 hashes of the tenant's keys, as sha256: and 64 hex digits; several let keys change without a gap. The command scheduler keys new makes a key and its hash."`
	Weight     float64      `koanf:"weight" min:"0.001" max:"1000" doc:"The share of each urgency, relative to the other tenants that wait there; higher gets more."`
	MaxUrgency int          `koanf:"max_urgency" min:"0" max:"7" doc:"The most urgent that its requests may be; more urgent ones count as this. 0: any urgency, 7: only the least."`
	Rates      []TenantRate `koanf:"rates" doc:"How many requests the tenant may make, answers from the cache included; all windows must have room, else 429. Empty: no limit of its own."`
	CacheShare float64      `koanf:"cache_share" min:"0" max:"1" doc:"How much of cache.max_bytes the answers stored for the tenant may take; an answer over it is passed on and not stored. Lower leaves more to others; 0: stores nothing."`
}

// TenantLimits is what a tenant may take.
type TenantLimits struct {
	Weight     float64      `koanf:"weight" min:"0.001" max:"1000" doc:"As in accounts."`
	MaxUrgency int          `koanf:"max_urgency" min:"0" max:"7" doc:"As in accounts."`
	Rates      []TenantRate `koanf:"rates" doc:"As in accounts."`
	CacheShare float64      `koanf:"cache_share" min:"0" max:"1" doc:"As in accounts."`
}

// TenantRate is one window of a tenant's quota: Limit requests per Per. Its fields are those of
// [Rate], in the same order.
type TenantRate struct {
	Limit float64       `koanf:"limit" min:"0.000001" max:"1000000000" required:"true" doc:"How many requests may come per window."`
	Per   time.Duration `koanf:"per" min:"1ms" max:"744h" doc:"The length of the window; default 1s."`
	Burst int           `koanf:"burst" min:"0" max:"1000000000" doc:"How many unused requests may be saved up; more lets clients come in bursts, fewer spread them evenly; 0: the limit itself, at least 1."`
}

// Limits are the tenant's limits without its keys.
func (t Tenant) Limits() TenantLimits {
	return TenantLimits{Weight: t.Weight, MaxUrgency: t.MaxUrgency, Rates: t.Rates, CacheShare: t.CacheShare}
}

// Keyed reports whether any account has a key.
func (t Tenants) Keyed() bool {
	for _, a := range t.Accounts {
		if len(a.Keys) > 0 {
			return true
		}
	}
	return false
}

// KeyHashPrefix stands before the digits of a key's hash.
const KeyHashPrefix = "sha256:"

var (
	keyHashPattern = regexp.MustCompile(`^sha256:[0-9A-Fa-f]{64}$`)
	tenantPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@:-]{0,127}$`)
)

// CheckTenantName says what is wrong with the name of an account.
func CheckTenantName(name string) error {
	if tenantPattern.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is not a usable name of a tenant: take letters, digits and _ . @ : -, beginning with a letter or digit, at most 128", name)
}

// keyHash checks one hash. It never shows it: what stands there may be a key by mistake.
func (c *checks) keyHash(path, text string) {
	if !keyHashPattern.MatchString(text) {
		c.fault(path, "must be %s and the 64 hex digits of a key's SHA-256 hash, never the key itself; `scheduler keys hash` makes it from a key", KeyHashPrefix)
	}
}

// tenants checks what concerns several accounts.
func (c *checks) tenants(t Tenants) {
	owner := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(t.Accounts)) {
		for i, key := range t.Accounts[name].Keys {
			path := indexed("tenants.accounts."+name+".keys", i)
			key = strings.ToLower(key)
			switch first, taken := owner[key]; {
			case key == "":
				c.keyHash(path, key)
			case taken && first == name:
				c.fault(path, "stands there twice; remove one")
			case taken:
				c.fault(path, "is a key of %s too; give each tenant keys of its own (`scheduler keys new`)", first)
			default:
				owner[key] = name
			}
		}
	}
	if t.Anonymous == "never" && !t.Keyed() {
		c.fault("tenants.anonymous", "lets nobody in, since no account has a key; add keys (`scheduler keys new`) or make it loopback")
	}
}

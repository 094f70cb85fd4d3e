package cache

import (
	"math"
	"sync"
)

// books hold how many bytes of the store each tenant pays for. A tenant is in them only as long as
// something is stored for it, so they are bounded by the store, whatever names clients think of.
type books struct {
	mu   sync.Mutex
	used map[string]int64
}

func newBooks() *books { return &books{used: make(map[string]int64)} }

// noLimit is the limit of a tenant that may fill the whole store.
const noLimit = math.MaxInt64

// bill is what one tenant pays more (or less) than before.
type bill struct {
	tenant string
	bytes  int64
}

// settle enters that r stands in old's place; either may be nil. It changes nothing and gives false
// if some tenant would have to pay more than before, and more than its limit in all. A nil limit
// bounds nobody.
func (b *books) settle(old, r *record, limit func(tenant string) int64) bool {
	var few [4]bill
	bills := r.bill(old.bill(few[:0], -1), 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if limit != nil {
		for _, x := range bills {
			if x.bytes > 0 && b.used[x.tenant]+x.bytes > limit(x.tenant) {
				return false
			}
		}
	}
	for _, x := range bills {
		if n := b.used[x.tenant] + x.bytes; n != 0 {
			b.used[x.tenant] = n
		} else {
			delete(b.used, x.tenant)
		}
	}
	return true
}

// of is how many bytes the tenant pays for.
func (b *books) of(tenant string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used[tenant]
}

// bill adds what the record's tenants pay, times sign. Each pays for its own variants, that of the
// newest for the key, and for what the record counts for more than it weighs, as well.
func (r *record) bill(bills []bill, sign int64) []bill {
	if r == nil {
		return bills
	}
	rest := r.charge
	for _, e := range r.variants[1:] {
		w := e.weight()
		rest -= w
		bills = addBill(bills, e.tenant, sign*w)
	}
	return addBill(bills, r.variants[0].tenant, sign*rest)
}

func addBill(bills []bill, tenant string, bytes int64) []bill {
	for i := range bills {
		if bills[i].tenant == tenant {
			bills[i].bytes += bytes
			return bills
		}
	}
	return append(bills, bill{tenant, bytes})
}

// limitOf is how many bytes may be stored for a tenant.
func (c *Cache) limitOf(tenant string) int64 {
	o := c.settings.Load()
	if o.TenantShare == nil {
		return noLimit
	}
	share := o.TenantShare(tenant)
	if share >= 1 {
		return noLimit
	}
	return int64(share * float64(o.MaxBytes))
}

// shareUsedUp reports whether not even an empty answer may be stored for the tenant, so that it
// need not be tried.
func (c *Cache) shareUsedUp(tenant string) bool {
	limit := c.limitOf(tenant)
	return limit != noLimit && c.store.books.of(tenant)+entryOverhead > limit
}

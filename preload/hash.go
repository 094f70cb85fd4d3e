package preload

import (
	"hash/maphash"

	"penstock/request"
)

// hasher makes keys small. Its seed is of this process, so that nobody outside can construct
// collisions.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

// key hashes a name inside a tenant. The tenant is part of every hash, so no tenant's sequence ever
// leads to another's key.
func (h hasher) key(tenant, name string) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	_, _ = m.WriteString(tenant)
	_ = m.WriteByte(0)
	_, _ = m.WriteString(name)
	return m.Sum64()
}

// route hashes a route's name, which outlives the Route of one configuration.
func (h hasher) route(r *request.Route) uint64 {
	if r == nil {
		return 0
	}
	return h.key(r.Upstream, r.Name)
}

package preload

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"penstock/request"
)

// hasher makes keys small. It is SipHash-1-3 (Aumasson and Bernstein, 2012) under a secret that is kept
// with what was learned, so that nobody outside can construct collisions and a restart finds its
// tables again.
type hasher struct{ k0, k1 uint64 }

func newHasher() hasher {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hasherOf(b)
}

func hasherOf(b [16]byte) hasher {
	return hasher{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

func (h hasher) secret() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:8], h.k0)
	binary.LittleEndian.PutUint64(b[8:], h.k1)
	return b
}

// key hashes a name inside a tenant; never 0. The tenant is part of the hash, so no tenant's sequence
// ever leads to another's key.
func (h hasher) key(tenant, name string) uint64 {
	s := h.begin()
	s.text(name)
	x := s.end()
	if tenant != "" {
		s = h.begin()
		s.word(x)
		s.text(tenant)
		x = s.end()
	}
	return x | 1
}

// joined is key(tenant, a+b+c).
func (h hasher) joined(tenant string, a, b, c string) uint64 {
	var buf [256]byte
	return h.key(tenant, string(append(append(append(buf[:0], a...), b...), c...)))
}

// route hashes a route's name, which outlives the Route of one configuration.
func (h hasher) route(r *request.Route) uint64 {
	if r == nil {
		return 0
	}
	return h.key(r.Upstream, r.Name)
}

type sip struct {
	v0, v1, v2, v3 uint64
	n              int
}

func (h hasher) begin() sip {
	return sip{v0: h.k0 ^ 0x736f6d6570736575, v1: h.k1 ^ 0x646f72616e646f6d, v2: h.k0 ^ 0x6c7967656e657261, v3: h.k1 ^ 0x7465646279746573}
}

func (s *sip) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}

func (s *sip) word(m uint64) {
	s.v3 ^= m
	s.round()
	s.v0 ^= m
	s.n += 8
}

// text takes in a whole string, padded with its length so that texts of different cuts differ.
func (s *sip) text(t string) {
	n := len(t)
	for ; len(t) >= 8; t = t[8:] {
		s.word(uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 | uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56)
	}
	last := uint64(n) << 56
	for i := range len(t) {
		last |= uint64(t[i]) << (8 * i)
	}
	s.word(last)
}

func (s *sip) end() uint64 {
	s.v2 ^= 0xff
	s.round()
	s.round()
	s.round()
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

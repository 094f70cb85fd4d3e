package cache

import (
	"sync"
	"sync/atomic"
)

// ghostKeys bounds the keys that are remembered of one route, 0.1 KB each.
const ghostKeys = 2048

// ghosts remember, of a sample of a route's keys, when each was asked for last, also after it has left the
// store: the bytes that were asked for since are how much memory would have kept it. The sample is by the
// key's hash, so all requests for a key are in it or none, and a stack of one key of n stands for one
// n times as large (spatial sampling: Waldspurger and others, SHARDS, FAST 2015). If the stack is too short
// for the memory that it stands for, it goes on with half the keys.
type ghosts struct {
	one atomic.Uint64 // of how many keys one is in the sample; a power of two

	mu     sync.Mutex // guards what follows
	byHash map[uint64]*ghost
	// last is the ghost asked for last, first the one that was not for the longest time.
	last, first *ghost
	bytes       int64

	gained, lost, gainedVariance, lostVariance float64
}

type ghost struct {
	hash         uint64
	bytes        int64
	until        int64 // its freshness ends, in Unix nanoseconds: memory is of no use any more
	later, prior *ghost
}

// newGhosts makes ghosts of one key of n at first, n rounded up to a power of two.
func newGhosts(n uint64) *ghosts {
	g := &ghosts{byHash: make(map[uint64]*ghost)}
	one := uint64(1)
	for one < n && one < 1<<32 {
		one *= 2
	}
	g.one.Store(one)
	return g
}

// samples reports whether a key is in the sample.
func (g *ghosts) samples(hash uint64) bool { return hash&(g.one.Load()-1) == 0 }

// depth is how much memory would have kept p until now, in bytes of the whole route.
func (g *ghosts) depth(p *ghost) float64 {
	sum := int64(0)
	for x := g.last; x != nil; x = x.prior {
		sum += x.bytes
		if x == p {
			break
		}
	}
	return float64(sum) * float64(g.one.Load())
}

// hit takes a hit on a key in the sample: has is what the route has stored, band the step to be told about. What
// less memory would have lost is what lies in the last band. A hit on what memory of that
// size would not have kept, were the longest unused to go first, may be lost like any other.
func (g *ghosts) hit(hash uint64, has, band float64) {
	p := g.byHash[hash]
	if p == nil || p == g.last {
		return
	}
	one := float64(g.one.Load())
	depth := g.depth(p)
	part := 0.0
	switch {
	case depth > has:
		part = min(band/max(has, 1), 1)
	case depth > has-band:
		part = 1
	}
	g.lost += part * one
	g.lostVariance += part * part * one * one
	g.raise(p)
}

// missed takes a miss. It counts if the answer was here once and would still be fresh.
func (g *ghosts) missed(hash uint64, now int64, has, band float64) {
	p := g.byHash[hash]
	if p == nil || p.until <= now {
		return
	}
	one := float64(g.one.Load())
	depth := g.depth(p)
	part := 0.0
	switch {
	case depth <= has:
		part = min(band/max(has, 1), 1)
	case depth <= has+band:
		part = 1
	}
	g.gained += part * one
	g.gainedVariance += part * part * one * one
	g.raise(p)
}

// stored takes what a key in the sample has now. reach is how many bytes the ghosts should stand for.
func (g *ghosts) stored(hash uint64, bytes, until int64, reach float64) {
	p := g.byHash[hash]
	if p == nil {
		p = &ghost{hash: hash}
		g.byHash[hash] = p
		g.link(p)
	} else {
		g.raise(p)
	}
	g.bytes += bytes - p.bytes
	p.bytes, p.until = bytes, until
	if len(g.byHash) <= ghostKeys {
		return
	}
	if float64(g.bytes)*float64(g.one.Load()) < reach {
		g.halve()
		return
	}
	g.drop(g.first)
}

// halve goes on with every other key.
func (g *ghosts) halve() {
	g.one.Store(g.one.Load() * 2)
	for hash, p := range g.byHash {
		if !g.samples(hash) {
			g.drop(p)
		}
	}
}

func (g *ghosts) raise(p *ghost) {
	if p != g.last {
		g.unlink(p)
		g.link(p)
	}
}

func (g *ghosts) drop(p *ghost) {
	g.unlink(p)
	delete(g.byHash, p.hash)
	g.bytes -= p.bytes
}

func (g *ghosts) link(p *ghost) {
	p.later, p.prior = nil, g.last
	if g.last != nil {
		g.last.later = p
	} else {
		g.first = p
	}
	g.last = p
}

func (g *ghosts) unlink(p *ghost) {
	if p.later != nil {
		p.later.prior = p.prior
	} else {
		g.last = p.prior
	}
	if p.prior != nil {
		p.prior.later = p.later
	} else {
		g.first = p.later
	}
}

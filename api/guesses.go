package api

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// freeGuesses is how many wrong tokens an address may send at once; one more every
	// guessInterval. Ten are enough for somebody who mistypes and for a scraper with an old token.
	freeGuesses   = 10
	guessInterval = 6 * time.Second
	// maxGuessers bounds the addresses remembered; when it is reached those that have been quiet
	// longest are forgotten.
	maxGuessers = 1024
)

// guesses slows down who tries tokens: for each address a bucket of wrong tries that refills with
// time (generic cell rate algorithm: what is kept is when the bucket is full again).
type guesses struct {
	mu sync.Mutex // guards fullAt
	// fullAt is when all free guesses of an address are there again.
	fullAt map[string]time.Time
}

// wait is how long the address has to wait before it may try again; 0: not at all.
func (g *guesses) wait(client string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.fullAt[client]
	if !known {
		return 0
	}
	return max(at.Sub(now)-(freeGuesses-1)*guessInterval, 0)
}

// failed notes a wrong try.
func (g *guesses) failed(client string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fullAt == nil {
		g.fullAt = make(map[string]time.Time)
	}
	at := g.fullAt[client]
	if at.Before(now) {
		at = now
	}
	if len(g.fullAt) >= maxGuessers {
		g.forget(now)
	}
	g.fullAt[client] = at.Add(guessInterval)
}

// forget drops who has nothing to wait for, and if that is nobody, who has the least. The caller
// holds mu.
func (g *guesses) forget(now time.Time) {
	first := ""
	for client, at := range g.fullAt {
		if !at.After(now) {
			delete(g.fullAt, client)
			continue
		}
		if first == "" || at.Before(g.fullAt[first]) {
			first = client
		}
	}
	if len(g.fullAt) >= maxGuessers {
		delete(g.fullAt, first)
	}
}

// clientAddress is the address of the connection; of IPv6 the /64, which is what one site has.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

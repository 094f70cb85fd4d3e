// Package tenant says who asks, and keeps each tenant to its limits.
//
// Purpose. A [Directory] finds the tenant of a request: the owner of its API key, or, while no keys
// are configured, what a header names. It knows each tenant's weight, urgency ceiling and share of the
// cache, and counts its requests against its rates ([Quota]).
//
// Keys. A key is 256 random bits ([NewKey]), and only its SHA-256 is configured. A slow password hash
// (bcrypt, Argon2) would protect nothing: it makes guessing dear where there is little to guess, but
// 2^256 keys can't be tried at any speed, and a slow hash on each request would itself be a way to
// overload the service. For the same reason no salt is needed. What a client sends is hashed and then
// compared with every configured hash in constant time, so that neither the time nor the order of the
// configuration tells how near a guess came; each configured key costs about thirty nanoseconds a request.
//
// Non-goals: users, passwords, sessions, scopes; limits shared between nodes; a defence against
// clients that choose their tenant themselves, where no keys are configured and the header is not set
// by something in front: each new name has a fresh quota. The number of names that are remembered is
// bounded, though.
//
// Invariants:
//   - With keys configured, no key and no tenant header reaches an upstream.
//   - A request takes one token of each of its tenant's windows, or none at all.
//   - A quota outlives a reload that leaves its rates as they are.
//   - No name that a client makes up grows memory beyond maxStrangers quotas.
//
// Concurrency: all methods may be called at once. Lock order: table, then Quota; neither is held
// while anything else is called.
//
// Sources: RFC 9110, section 11 (authentication), RFC 6750 (bearer tokens), the IETF draft "RateLimit
// header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers), golang.org/x/time/rate.
package tenant

// Package cache is the stage that answers from memory what it may, joins identical calls in
// flight, and serves a stale copy when the upstream is slow or fails.
//
// The way of a request through [Cache.Do]:
//
//	fresh copy          -> answered at once
//	stale, in its window -> answered at once, refreshed behind the client's back (RFC 5861)
//	else                -> joins the flight of its key, or becomes it; a stale copy that has a
//	                       validator makes the flight conditional, and is served if it fails
//
// What may be stored and for how long is decided by pure functions (policy.go, freshness.go, targeted.go) from
// RFC 9111 or from the route's TTL. The store (store.go) is otter: W-TinyLFU, bounded by weight in
// bytes. Freshness is kept in the entry and not in the store's expiry, so that stale entries can
// still be served. Flights (flight.go) own a copy of the request and a context of their own; their
// answer is a growing buffer (buffer.go) that each waiter reads at its own pace.
//
// Invariants:
//   - An answer that may not be shared reaches only the request that caused it.
//   - Only a complete answer is stored, and none whose flight began before a purge of its key.
//   - A stale answer is served only inside its window and never against must-revalidate or
//     proxy-revalidate, whichever mode the route has.
//   - A waiter that leaves, or reads slowly, never fails another one.
//
// Non-goals: a private (browser) cache, storing parts of an answer (206), trailers.
//
// Concurrency: all methods of Cache may be called at once from any number of goroutines. Lock
// order: flight table shard, then flight, then buffer; then the store's own locks, and the books', a
// route's queue's and its ghosts'. No callback but Options.TenantShare, and no I/O happens under a lock.
//
// Sources: RFC 9110, 9111, 9211, 5861; otter v2's documentation; the way Varnish remembers what
// can't be shared ("hit-for-miss"); SIEVE for routes with a ceiling (queue.go), SHARDS for what memory is worth
// to a route (ghosts.go).
package cache

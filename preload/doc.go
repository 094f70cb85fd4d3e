// Package preload learns which key is asked for after which, and fetches the likely next one before it
// is asked for.
//
// The model is of order one: for each key of a tenant it counts what the same client asked for next. A
// key that followed at least twice, and in at least the threshold's share of the cases, is fetched as a
// Background request of the least urgency, through the same stages as any other request: so it goes
// through the cache, joins a call already in flight, and runs only on permits that nobody wants.
//
// Every prefetch is followed to its fate, used or wasted. When too few are used the preloader stands
// down, and tries again later in a small dose.
//
// Non-goals, for now: longer contexts, associations across clients, periodic keys, refresh ahead of
// expiry, patterns over routes, and saving what was learned.
//
// Invariants: it is never on a request's path ([Preloader.Observe] never blocks: what does not fit into
// its queue is dropped and counted). No prefetch is made of an unsafe method, of a request with
// credentials (Authorization, Cookie), with no-store, a Range or a body, nor for another tenant than the
// one that asked. All tables are bounded by MaxItems, whatever the stream; where the key itself is not
// needed only its seeded hash is kept.
//
// Concurrency: Observe and Stats may be called at once from many goroutines. One goroutine owns the
// model; a fixed number of others make the requests.
//
// Sources: order-1 Markov prefetching (Padmanabhan and Mogul, CCR 1996); Sec-Purpose is that of the Fetch
// standard.
package preload

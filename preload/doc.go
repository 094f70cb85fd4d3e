// Package preload watches which keys are asked for and fetches the likely next ones before they are asked for.
//
// What it learns and how it decides is in package learn, a pure model. This package shows it the accesses and
// the answers, finds in them what the model can't know (ids in lists, numbers in keys, which requests may be
// made again), and makes the prefetches: ordinary requests of the least urgency, marked as background, through
// the same stages as any other, so that they go through the cache, join batches and calls in flight, and run
// only on permits that nobody wants.
//
// Non-goals: deciding what is fresh or may be stored (the cache does), and capacity (the scheduler does).
//
// Invariants: it is never on a request's path ([Preloader.Observe] never blocks: what does not fit into its
// queue is dropped and counted). No prefetch is made of an unsafe method, of a request with credentials, with
// fields that differ from client to client, with no-store, a Range or a body, nor for another tenant than the
// one that asked, nor of what the cache is known not to keep. All tables are bounded, whatever the stream; where the key itself is not
// needed only its seeded hash is kept.
//
// Concurrency: Observe and Stats may be called at once from many goroutines. One goroutine owns the
// model; a fixed number of others make the requests.
//
// Sources: Padmanabhan and Mogul, CCR 1996; MITHRIL (SoCC 2017); Sec-Purpose is that of the Fetch standard.
package preload

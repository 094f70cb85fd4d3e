// Package engine says what Penstock asks of the thing that keeps what must outlive the process, or
// what nodes must share: a few small interfaces, and an implementation in memory.
//
//   - [KV]: values by key, each with a revision, watchable; for pins, learned values and jobs.
//   - [Log]: an append-only list of records with a retention; for the decision ledger.
//   - [Blobs]: values of any size; for the results of jobs.
//   - [Engine]: opens them by name, and says how it is ([Status]).
//   - [Memory]: all of it in memory; for runs that keep nothing and for tests. The durable one is
//     engine/natsengine, the only package that knows NATS. engine/enginetest holds both to the same
//     behaviour.
//
// Non-goals: no consensus, replication or file format of Penstock's own, and no way to call the
// engine from the request path: who keeps something does it from a goroutine of its own, with a
// context that ends, and copes with [ErrUnavailable].
//
// Invariants: a write that returned nil survives what the implementation promises (natsengine: a power
// cut; Memory: nothing). Revisions and sequence numbers rise and are never used twice in one bucket or
// log. Values are copied in and out.
//
// Concurrency: everything may be called at once.
package engine

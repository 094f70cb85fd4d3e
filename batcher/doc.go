// Package batcher turns several compatible requests into one upstream call and takes the answer
// apart again. It is the stage between the scheduler, which decides when and with whom a request
// travels, and the upstream client.
//
// A route declares by a [Rule] how its upstream batches: ids joined in the query or the path, a
// JSON array, a JSON-RPC 2.0 batch, a GraphQL array, an input array as embeddings APIs take, or
// Elasticsearch's _mget. docs/batching.md shows each with an example.
//
// Goals: a batched answer equals the unbatched one byte for byte where the API allows it; one bad
// member costs only itself; no member ever sees another member's answer.
//
// Non-goals: the batcher holds no queue, waits for nobody and starts no goroutine. When a batch is
// formed, how large it should be and how long to linger for it is the scheduler's business.
//
// Invariants:
//   - DoBatch gives exactly one result for each member, in their order.
//   - Requests travel together only if everything that their call shares is equal: route, path,
//     query, fixed body and headers, so credentials too. DoBatch checks that again itself.
//   - A failure of the whole call is marked no-store, so that no member's key keeps it.
//
// Concurrency: all methods of [Batcher] may be called at once. [Batcher.Apply] swaps the rules
// atomically; a batch under way keeps the rules that it began with.
//
// Sources: JSON-RPC 2.0 section 6 (batches are matched by id, in any order); RFC 9110 section 15
// for statuses; the dataloader contract (one result for each key) for splitting by order.
package batcher

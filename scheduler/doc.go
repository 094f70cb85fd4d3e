// Package scheduler is the gate in front of one upstream: one queue, one set of permits, one set
// of rate windows. docs/scheduling.md tells operators of it; this page tells builders.
//
// A [Scheduler] is a request.Doer before a request.BatchDoer:
//
//	s := scheduler.New(scheduler.Options{Upstream: "movies", Workers: workers, Priorities: true}, batcher)
//	defer s.Close()
//	resp, err := s.Do(ctx, req) // waits, calls batcher, answers; closing resp.Body frees the permit
//
// # Purpose
//
// It decides who may call next, and early who may not call at all:
//
//   - The more urgent first; each urgency with something queued keeps a small guaranteed share;
//     background work runs only on permits and tokens that nobody else wants.
//   - Inside an urgency fairly between tenants by weight: start-time fair queueing (P. Goyal,
//     H. Vin, H. Cheng 1996), by cost in permit-seconds, estimated from what was measured for the
//     route and settled by what the call took.
//   - A request that is predicted to miss its deadline is refused on arrival, one whose deadline
//     passes or whose client leaves is out of the queue at once.
//   - Overload is found by the age of the oldest request of an urgency (CoDel, RFC 8289, with
//     target and interval scaled to the upstream's service time).
//   - A permit is held until the answer's body has ended; after a cancelled call, for as long as
//     such calls usually take, since the upstream works on.
//   - A batch is formed when a permit is free, from what is queued.
//
// # Non-goals
//
// It doesn't retry, doesn't cache or coalesce, doesn't know HTTP, doesn't choose the number of
// workers or the rates (the tuner does, through knobs), and doesn't limit tenants.
//
// # Invariants
//
//   - Each request that entered is answered exactly once, and holds its permit until it is given
//     back exactly once, by its body's end, by an error, by a timer or by Close.
//   - Permits never idle while an ordinary request waits that all rate windows admit; only a batch
//     that lingers waits without need, and it holds no permit.
//   - Either every rate window gives its token, or none does.
//   - A request that left the queue is never sent; MarkStarted comes before any of it reaches next.
//   - The work for one request is logarithmic in the tenants of its urgency, and constant in what
//     is queued. The queue itself allocates nothing once it has grown.
//
// # What may be called at once
//
// All methods of Scheduler. There is no goroutine that dispatches: whoever changes something (an
// arrival, an end, a timer, Kick) holds the one lock, [Scheduler].mu, and grants what can be granted
// then; a single request is called on its own client's goroutine. Batches run on goroutines of
// their own, with a context that only Close ends, since a member that leaves must not end it.
//
// Lock order: Scheduler.mu, then a rate limiter's own lock. No callback (next, Weights, OnWait,
// OnPromote) is called under mu. Knobs are read lock-free.
//
// # Looks wrong, but is intended
//
//   - An item is woken by a channel that it keeps over its lives. Each life has exactly one signal,
//     and its owner always takes it before the item is freed, except after itemGone, which has none.
//   - Items are kept in a list of the Scheduler, not in a sync.Pool: their channels must stay inside
//     one synctest bubble, and the list is there under the lock anyway.
//   - A flow (a tenant in one urgency) with a finish tag in the past is freed at once: it would
//     start at the present virtual time either way. That is what makes idle tenants cost nothing.
//   - Fast failures and 429s are no samples for the estimates, and calls cut short count double.
package scheduler

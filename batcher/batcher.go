package batcher

import (
	"context"

	"penstock/observe"
	"penstock/request"
)

// DefaultMaxAnswerBytes bounds a batch's answer when Options say nothing.
const DefaultMaxAnswerBytes = 64 << 20

// Options set up a Batcher.
type Options struct {
	// Enabled false makes every request travel alone.
	Enabled bool
	// Rules are the batch rules by route name. Each must have passed Validate; a rule that
	// has not is left out, and its route travels unbatched.
	Rules map[string]Rule
	// MaxItems caps the items of one call for all rules (batching.max_items); 0: no cap.
	MaxItems int
	// MaxAnswerBytes bounds a batch's answer, which is held in memory while it is split;
	// 0: DefaultMaxAnswerBytes.
	MaxAnswerBytes int64
	// Scope is where the metrics go; it carries the label upstream. Nil: nowhere. Apply keeps
	// the Scope that New was given.
	Scope *observe.Scope
}

// Batcher is the batching stage of one upstream.
type Batcher struct {
	next request.Doer
}

var _ request.BatchDoer = (*Batcher)(nil)

// New returns a Batcher that calls next.
func New(o Options, next request.Doer) *Batcher {
	b := &Batcher{next: next}
	b.Apply(o)
	return b
}

// Apply swaps the options at once. Batches under way end by the old rules.
func (b *Batcher) Apply(o Options) {}

// Do passes a lone request straight on.
func (b *Batcher) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	return b.next.Do(ctx, r)
}

// Plan implements [request.BatchDoer].
func (b *Batcher) Plan(r *request.Request) request.BatchPlan { return request.BatchPlan{Max: 1} }

// DoBatch implements [request.BatchDoer].
func (b *Batcher) DoBatch(ctx context.Context, members []*request.Request) []request.Result {
	results := make([]request.Result, len(members))
	for i, m := range members {
		results[i].Response, results[i].Err = b.next.Do(ctx, m)
	}
	return results
}

// Stats is what the batcher did since it was made, by route.
type Stats struct {
	Routes map[string]RouteStats `json:"routes"`
}

// RouteStats counts what became of one route's batches.
type RouteStats struct {
	// Batches is how many batch calls were made, Items how many items they carried.
	Batches uint64 `json:"batches"`
	Items   uint64 `json:"items"`
	// Splits is how many batch calls were halved and tried again.
	Splits uint64 `json:"splits"`
	// Missing is how many members the answers left out, Failed how many were errors of a member.
	Missing uint64 `json:"missing"`
	Failed  uint64 `json:"failed"`
}

// Stats returns the counts by route.
func (b *Batcher) Stats() Stats { return Stats{} }

package batcher

import (
	"context"
	"sync"
	"sync/atomic"

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
	next  request.Doer
	scope *observe.Scope
	rules atomic.Pointer[ruleset]

	mu     sync.Mutex // guards routes
	routes map[string]*routeMetrics
}

var _ request.BatchDoer = (*Batcher)(nil)

// New returns a Batcher that calls next.
func New(o Options, next request.Doer) *Batcher {
	b := &Batcher{next: next, scope: o.Scope, routes: make(map[string]*routeMetrics)}
	if b.scope == nil {
		b.scope = observe.Discard()
	}
	b.Apply(o)
	return b
}

// Apply swaps the options at once. Batches under way end by the old rules; what was planned by
// the old and comes to DoBatch now is grouped anew.
func (b *Batcher) Apply(o Options) {
	s := &ruleset{rules: make(map[string]*compiledRule), maxAnswer: o.MaxAnswerBytes}
	if s.maxAnswer <= 0 {
		s.maxAnswer = DefaultMaxAnswerBytes
	}
	for route, r := range o.Rules {
		if !o.Enabled || o.MaxItems == 1 || r.Validate() != nil {
			continue
		}
		if r.MaxItems == 0 {
			r.MaxItems = DefaultMaxItems
		}
		if o.MaxItems > 1 {
			r.MaxItems = min(r.MaxItems, o.MaxItems)
		}
		s.rules[route] = compile(r, b.metricsOf(route))
	}
	b.rules.Store(s)
}

func (b *Batcher) metricsOf(route string) *routeMetrics {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.routes[route]
	if !ok {
		m = newRouteMetrics(b.scope, route)
		b.routes[route] = m
	}
	return m
}

// Do passes a lone request straight on.
func (b *Batcher) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	return b.next.Do(ctx, r)
}

// Plan implements [request.BatchDoer]. A request without a batch rule, or that its rule can't
// carry, has no Group and travels alone.
func (b *Batcher) Plan(r *request.Request) request.BatchPlan { return b.rules.Load().plan(r) }

// DoBatch implements [request.BatchDoer]. It makes one upstream call as a rule; more, one after
// the other, when a call has to be halved, or when the members turn out not to fit together.
//
// A member's error is an [*request.Error] of ProblemUpstreamInvalid when the answer, or its part
// of it, can't be used; a failure of the call as a whole is every member's, marked no-store.
func (b *Batcher) DoBatch(ctx context.Context, members []*request.Request) []request.Result {
	x := &exchange{
		next: b.next, rules: b.rules.Load(), members: members,
		results: make([]request.Result, len(members)),
	}
	for _, m := range members {
		m.MarkStarted()
	}
	for _, p := range x.rules.parts(members) {
		x.send(ctx, p, p.slots)
	}
	return x.results
}

// Stats returns the counts by route.
func (b *Batcher) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{Routes: make(map[string]RouteStats, len(b.routes))}
	for route, m := range b.routes {
		s.Routes[route] = m.stats()
	}
	return s
}

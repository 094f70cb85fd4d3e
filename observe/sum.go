package observe

import "time"

type requestCounts struct {
	n, errors                      uint64
	hits, stale, coalesced, misses uint64
	bytes                          uint64
	duration                       time.Duration
}

type callCounts struct {
	// by start
	outcomes    Outcomes
	items       uint64
	bytes       uint64
	duration    time.Duration
	inFlight    uint64
	maxInFlight int
	// by end
	ended, endedItems, goodItems uint64
}

func (c *requestCounts) merge(b *requestCounts) {
	c.n += b.n
	c.errors += b.errors
	c.hits += b.hits
	c.stale += b.stale
	c.coalesced += b.coalesced
	c.misses += b.misses
	c.bytes += b.bytes
	c.duration += b.duration
}

func (c *callCounts) merge(b *callCounts) {
	c.outcomes.merge(&b.outcomes)
	c.items += b.items
	c.bytes += b.bytes
	c.duration += b.duration
	c.inFlight += b.inFlight
	c.maxInFlight = max(c.maxInFlight, b.maxInFlight)
	c.ended += b.ended
	c.endedItems += b.endedItems
	c.goodItems += b.goodItems
}

// sum adds up slots of one or several routes.
type sum struct {
	requests       requestCounts
	calls          callCounts
	requestLatency histogram
	callLatency    histogram
	inFlight       int64
}

func (s *sum) read(r *routeWindow, from, to int64) {
	s.inFlight += r.inFlight.Load()
	r.requests.read(from, to, &s.requestLatency, s.requests.merge)
	r.calls.read(from, to, &s.callLatency, s.calls.merge)
}

func (s *sum) merge(b *sum) {
	s.inFlight += b.inFlight
	s.requests.merge(&b.requests)
	s.calls.merge(&b.calls)
	s.requestLatency.plus(&b.requestLatency)
	s.callLatency.plus(&b.callLatency)
}

func (s *sum) signals(span time.Duration) Signals {
	seconds := span.Seconds()
	r, c := &s.requests, &s.calls
	calls := c.outcomes.Total()
	handled := r.hits + r.stale + r.coalesced + r.misses
	return Signals{
		Span: span,
		Requests: RequestSignals{
			Count: r.n, Errors: r.errors, Hits: r.hits, Stale: r.stale, Coalesced: r.coalesced, Misses: r.misses,
			Bytes: r.bytes, InFlight: s.inFlight,
			Rate: float64(r.n) / seconds, Goodput: float64(r.n-r.errors) / seconds,
			ErrorRatio: ratio(r.errors, r.n),
			HitRatio:   ratio(r.hits+r.stale, handled), SavedRatio: ratio(handled-r.misses, handled),
			Mean: mean(r.duration, r.n), P50: s.requestLatency.quantile(.5),
			P95: s.requestLatency.quantile(.95), P99: s.requestLatency.quantile(.99),
		},
		Calls: CallSignals{
			Count: calls, Items: c.items, Outcomes: c.outcomes, Bytes: c.bytes,
			Rate: float64(calls) / seconds, Throughput: float64(c.endedItems) / seconds,
			Goodput: float64(c.goodItems) / seconds, Ended: c.ended,
			MeanInFlight: ratio(c.inFlight, calls), MaxInFlight: c.maxInFlight,
			Mean: mean(c.duration, calls), P50: s.callLatency.quantile(.5),
			P95: s.callLatency.quantile(.95), P99: s.callLatency.quantile(.99),
		},
	}
}

func mean(total time.Duration, n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	return total / time.Duration(n)
}

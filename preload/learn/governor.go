package learn

// governor says which predictions are worth a call. Not safe for concurrent use.
//
// Both banks are filled by what happens and emptied by waste; the emptier they are, the surer a
// prediction must be. So in the long run the wasted calls stay within the budget, and the precision
// over its target, whatever the sources promise.
type governor struct {
	floor     float32 // least probability
	budget    float32 // wasted calls per call that would have been made without us
	precision float32

	calls  float32 // bank of the budget, in calls
	misses float32
	trust  float32 // bank of the precision, in calls
}

const (
	callsCap = 512
	trustCap = 32
	// budgetShare of the budget is given out. On what is outstanding a quarter of the bank may be lent, and the bank is at most
	// half of what was given out: if nothing of it is paid back, 8/9 and an eighth of that make the whole budget.
	budgetShare = 8. / 9
	ceiling     = 0.97
	// trustRegained is how much of lost trust comes back with each call: a wasted prefetch costs half a point,
	// so where all are wasted they are at most one in 500 calls.
	trustRegained = 0.001
)

// miss takes in a request that would have made a call without us, with a probability.
func (g *governor) miss(p float32) {
	g.misses += p
	if g.trust < 0 {
		g.trust += trustRegained // so that it is tried again, in small doses
	}
	g.calls = min(g.calls+p*(1+g.budget), g.cap())
}

// call takes in a call that was made, for a client or a prefetch.
func (g *governor) call() { g.calls-- }

// cap grows with what was seen.
func (g *governor) cap() float32 { return min(max(4, g.budget*g.misses/2), callsCap) }

// issue takes in that a prefetch is made. It counts as wasted until it is used: those that are used are known
// sooner than those that are not, and trust that waits for the bad news buys a great many of them.
func (g *governor) issue(price float32) {
	g.calls -= price
	g.trust = max(g.trust-g.precision*price, -2*trustCap)
}

// withdraw takes an issue back.
func (g *governor) withdraw(price float32) {
	g.calls += price
	g.trust += g.precision * price
}

// used takes in that a prefetch was used.
func (g *governor) used(price float32) { g.trust = min(g.trust+price, trustCap) }

func newGovernor(o Options) governor {
	return governor{floor: float32(o.Floor), budget: budgetShare * float32(o.Budget), precision: float32(o.Precision), calls: 4, trust: trustCap / 2}
}

// threshold is the least probability now. expected is how many calls the outstanding prefetches will
// probably save.
func (g *governor) threshold(expected float32) float32 {
	left := g.calls + min(expected/2, g.cap()/4)
	if left <= 0 {
		return 2
	}
	th := g.floor + (ceiling-g.floor)*(1-min(2*left/g.cap(), 1))
	sure := max(g.floor, g.precision+0.1)
	t := g.floor + (sure-g.floor)*(1-g.trust/trustCap)
	if g.trust < 0 { // what the cells promise is not kept
		t = sure + max(ceiling-sure, 0)*min(-2*g.trust/trustCap, 1)
	}
	return max(th, t)
}

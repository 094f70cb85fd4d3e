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
	// budgetShare of the budget is spent; the rest is for what is outstanding when somebody looks.
	budgetShare = 0.85
	ceiling     = 0.97
)

// miss takes in a request that would have made a call without us.
func (g *governor) miss() {
	g.misses++
	g.calls = min(g.calls+1+g.budget, g.cap())
}

// call takes in a call that was made, for a client or a prefetch.
func (g *governor) call() { g.calls-- }

// cap grows with what was seen.
func (g *governor) cap() float32 { return min(max(4, g.budget*g.misses/2), callsCap) }

// settle takes in that a prefetch was used, or wasted.
func (g *governor) settle(used bool, price float32) {
	if used {
		g.trust = min(g.trust+(1-g.precision)*price, trustCap)
	} else {
		g.trust = max(g.trust-g.precision*price, -trustCap)
	}
}

func newGovernor(o Options) governor {
	return governor{floor: float32(o.Floor), budget: budgetShare * float32(o.Budget), precision: float32(o.Precision), calls: 4, trust: trustCap / 2}
}

// threshold is the least probability now. expected is how many calls the outstanding prefetches will
// probably save.
func (g *governor) threshold(expected float32) float32 {
	left := g.calls + expected/2
	if left <= 0 {
		return 2
	}
	th := g.floor + (ceiling-g.floor)*(1-min(2*left/g.cap(), 1))
	t := g.floor + (max(g.floor, g.precision+0.1)-g.floor)*(1-max(g.trust, 0)/trustCap)
	return max(th, t)
}

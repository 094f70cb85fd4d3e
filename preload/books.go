package preload

import "penstock/preload/learn"

// bindsBy is by how much the threshold in force must be over the knob to count as held up by the budget.
const bindsBy = 0.05

// Books are what the tuner goes by; all count from the start of the process.
type Books struct {
	// Misses are the calls that there would be without prefetching, as far as can be known.
	Misses float64
	// Used, Late and Wasted are how prefetches ended, SavedSeconds the time that clients did not wait.
	Used, Late, Wasted, SavedSeconds float64
	// Wanted predictions were worth a call; for Refused of them the upstream had nothing to spare.
	Wanted, Refused float64
	// Looks are the requests looked at, Thresholds the sum of the thresholds in force at them, 0..1 each, and Bounds
	// at how many of them budget or precision held it over the knob.
	Looks, Thresholds, Bounds float64
}

// Books returns the counts of now.
func (p *Preloader) Books() Books {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := Books{
		Misses: float64(p.model.Misses()), Wanted: float64(p.wanted), Refused: float64(p.refused),
		Looks: float64(p.observed), Thresholds: p.thresholds, Bounds: float64(p.bounds),
	}
	for s := range learn.Sources {
		c := p.model.Counts(s)
		b.Used += float64(c.Ended[learn.Used])
		b.Late += float64(c.Ended[learn.Late])
		for _, f := range []learn.Fate{learn.Evicted, learn.Expired, learn.Failed, learn.Forgotten} {
			b.Wasted += float64(c.Ended[f])
		}
	}
	for i := range p.routes.table.slots {
		if slot := &p.routes.table.slots[i]; slot.live && slot.value != nil {
			b.SavedSeconds += slot.value.counts.Saved.Seconds()
		}
	}
	return b
}

package app

import (
	"time"

	"penstock/configs"
	"penstock/tuner"
)

// preloadPlugs look after the preloader's threshold and budget, of which one at a time is moved.
func (a *App) preloadPlugs(c *configs.Config) []tuner.Plug {
	if !c.Preload.Enabled {
		return nil
	}
	plug := func(knob, kind string, safer int, decide func(tuner.In[tuner.PreloadSeen], tuner.PreloadState) (tuner.Proposal, tuner.PreloadState)) tuner.Plug {
		return tuner.Plug{Knob: knob, Kind: kind, Couple: "preload", Safer: safer, Slow: tuner.PreloadRule(decide, a.measurePreload).Slow()}
	}
	return []tuner.Plug{
		plug("preload.threshold", "preload_threshold", 1, tuner.PreloadThreshold),
		plug("preload.budget", "preload_budget", -1, tuner.PreloadBudget),
	}
}

// measurePreload tells what prefetching brought and cost.
func (a *App) measurePreload(from, to time.Time) tuner.PreloadSeen {
	b := a.preload.Books()
	m := a.preloads.Measure(time.Now(), tuner.PreloadCount{
		Misses: b.Misses, Used: b.Used, Late: b.Late, Wasted: b.Wasted, Saved: b.SavedSeconds,
		Wanted: b.Wanted, Refused: b.Refused, Looks: b.Looks, Thresholds: b.Thresholds, Bounds: b.Bounds,
	}, from, to)
	k := a.mustKnob("preload.budget")
	m.Budget, m.Allowed = k.Value(), k.State().Base
	return m
}

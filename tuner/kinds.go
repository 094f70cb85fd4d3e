package tuner

import "strings"

// controllerOf makes the controllers of a kind of plug as they are without a source of measurements, for a replay. A
// kind that is not known has none, and is left out.
func controllerOf(p Plug, o *Options) (Plug, bool) {
	switch kind, _, _ := strings.Cut(p.Kind, " "); kind {
	case "workers":
		p.Slow = WorkersRule(o.Signals, p.Upstream).Slow()
	case "search":
		p.Fast = NewSearch()
	case "rate":
		p.Fast = NewQuotaController(QuotaOptions{})
	case "batch":
		p.Slow = BatchRule(nil).Slow()
	case "linger":
		p.Slow = LingerRule(nil).Slow()
	case "retry":
		p.Slow = RetryRule(nil).Slow()
	case "codel":
		p.Slow = CoDelRule(nil).Slow()
	case "preload_threshold":
		p.Slow = PreloadRule(PreloadThreshold, nil).Slow()
	case "preload_budget":
		p.Slow = PreloadRule(PreloadBudget, nil).Slow()
	default:
		return p, false
	}
	return p, true
}

package tuner

import "strings"

// controllerOf makes the controllers of a kind of plug as they are without a source of measurements, for a replay. A
// kind that is not known has none, and is left out.
func controllerOf(p Plug, o *Options) (Plug, bool) {
	switch kind, rest, _ := strings.Cut(p.Kind, " "); kind {
	case "workers":
		p.Slow = WorkersRule(o.Signals, p.Upstream).Slow()
	case "search":
		made := Target{Upstream: p.Upstream, Workers: p.Knob, Search: true, Rate: rest}.plugs(o)[0]
		p.Slow, p.Fast = made.Slow, made.Fast
	case "rate":
		p.Fast = &searcher{search{o: o, target: Target{Upstream: p.Upstream, Rate: p.Knob}}}
	case "batch":
		p.Slow = BatchRule(nil).Slow()
	case "linger":
		p.Slow = LingerRule(nil).Slow()
	case "retry":
		p.Slow = RetryRule(nil).Slow()
	case "codel":
		p.Slow = CoDelRule(nil).Slow()
	default:
		return p, false
	}
	return p, true
}

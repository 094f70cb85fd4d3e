package preload

import "penstock/preload/learn"

// register exposes the books.
func (p *Preloader) register() {
	for i := range learn.Sources {
		s := p.o.Scope.With("source", sourceNames[i])
		counter := func(name, help string, f func(learn.Counts) uint64) {
			p.o.Scope.Help(name, help)
			s.CounterFunc(name, func() float64 {
				p.mu.Lock()
				defer p.mu.Unlock()
				return float64(f(p.model.Counts(i)))
			})
		}
		counter("penstock_preload_issued_total", "Prefetches made, by source.", func(c learn.Counts) uint64 { return c.Issued })
		for f, name := range map[learn.Fate]string{learn.Used: "used", learn.Late: "late", learn.Evicted: "evicted", learn.Expired: "expired", learn.Failed: "failed"} {
			counter("penstock_preload_"+name+"_total", fateHelp[f], func(c learn.Counts) uint64 { return c.Ended[f] })
		}
		counter("penstock_preload_predictions_total", "Predictions judged, made or not, by source.", func(c learn.Counts) uint64 { return c.Predicted })
		counter("penstock_preload_true_predictions_total", "Predictions that came true, made or not, by source.", func(c learn.Counts) uint64 { return c.True })
	}
	s := p.o.Scope
	total := func(name, help string, f func(Stats) float64) {
		s.Help(name, help)
		s.CounterFunc(name, func() float64 { return f(p.Stats()) })
	}
	gauge := func(name, help string, f func(Stats) float64) {
		s.Help(name, help)
		s.Gauge(name, func() float64 { return f(p.Stats()) })
	}
	total("penstock_preload_wasted_bytes_total", "Bytes of prefetches that nobody asked for.", func(s Stats) float64 { return float64(s.Totals.WastedBytes) })
	total("penstock_preload_saved_seconds_total", "Upstream time that clients did not wait for.", func(s Stats) float64 { return s.Totals.SavedSeconds })
	total("penstock_preload_dropped_total", "Accesses that the preloader had no time to look at.", func(s Stats) float64 { return float64(s.Dropped) })
	gauge("penstock_preload_precision_ratio", "Share of the settled prefetches that were asked for.", func(s Stats) float64 { return s.Totals.PrecisionRatio })
	gauge("penstock_preload_coverage_ratio", "Share of the calls that clients would have waited for which prefetches answered.", func(s Stats) float64 { return s.Totals.CoverageRatio })
	gauge("penstock_preload_extra_calls_ratio", "Wasted calls for each call that would be made without prefetching.", func(s Stats) float64 { return s.Totals.ExtraCallsRatio })
	gauge("penstock_preload_threshold_ratio", "Least measured probability of a prefetch now; over 1: none is made.", func(s Stats) float64 { return s.Threshold })
	gauge("penstock_preload_standing_down", "1 while no kind of prediction is worth a call.", func(s Stats) float64 {
		if s.StandingDown {
			return 1
		}
		return 0
	})
}

var fateHelp = map[learn.Fate]string{
	learn.Used:    "Prefetches asked for while they were in the cache, by source.",
	learn.Late:    "Prefetches asked for while they were under way, by source.",
	learn.Evicted: "Prefetches that had to leave the cache before anybody asked, by source.",
	learn.Expired: "Prefetches that nobody asked for in time, by source.",
	learn.Failed:  "Prefetches that failed or could not be kept, by source.",
}

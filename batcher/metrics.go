package batcher

import (
	"github.com/VictoriaMetrics/metrics"

	"penstock/observe"
)

// routeMetrics are the metrics of one route, looked up once.
type routeMetrics struct {
	batches, items, splits, missing, failed *metrics.Counter
	size                                    *metrics.PrometheusHistogram
}

// sizeBounds are the upper bounds of penstock_batch_size, in items.
var sizeBounds = []float64{2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

func newRouteMetrics(s *observe.Scope, route string) *routeMetrics {
	s.Help("penstock_batches_total", "Upstream calls made for several requests at once.")
	s.Help("penstock_batch_items_total", "Items that batch calls carried; requests for the same thing are one item.")
	s.Help("penstock_batch_splits_total", "Batch calls that failed, maybe through one member, and were halved and tried again.")
	s.Help("penstock_batch_missing_total", "Members that the answer to their batch left out.")
	s.Help("penstock_batch_member_errors_total", "Members whose part of a batch's answer was an error or unusable.")
	s.Help("penstock_batch_size", "Items in each batch call.")
	s = s.With("route", route)
	return &routeMetrics{
		batches: s.Counter("penstock_batches_total"),
		items:   s.Counter("penstock_batch_items_total"),
		splits:  s.Counter("penstock_batch_splits_total"),
		missing: s.Counter("penstock_batch_missing_total"),
		failed:  s.Counter("penstock_batch_member_errors_total"),
		size:    s.HistogramOf("penstock_batch_size", sizeBounds),
	}
}

func (m *routeMetrics) sent(items int) {
	m.batches.Inc()
	m.items.Add(items)
	m.size.Update(float64(items))
}

// Stats is what the batcher did since the process began, by route.
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
	// Missing is how many members the answers left out, Failed how many got an error of their own
	// out of a batch.
	Missing uint64 `json:"missing"`
	Failed  uint64 `json:"failed"`
}

func (m *routeMetrics) stats() RouteStats {
	return RouteStats{
		Batches: m.batches.Get(), Items: m.items.Get(), Splits: m.splits.Get(),
		Missing: m.missing.Get(), Failed: m.failed.Get(),
	}
}

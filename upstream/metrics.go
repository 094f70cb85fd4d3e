package upstream

import (
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"penstock/observe"
)

// Metrics is where a Client reports to.
type Metrics struct {
	// Scope makes the metrics; it carries the label upstream. Nil: they go nowhere.
	Scope *observe.Scope
	// OnCall is given every attempt when its body has ended or it has failed. Nil: nobody. It runs
	// on the goroutine that read or closed the body, with no lock held.
	OnCall observe.CallFunc
}

// meters holds the metrics of a Client. Those of a route are made at its first call.
type meters struct {
	scope           *observe.Scope
	onCall          observe.CallFunc
	retries         *metrics.Counter
	budgetExhausted *metrics.Counter
	breakerRejected *metrics.Counter
	received, sent  *metrics.Counter
	routes          sync.Map // route name -> *routeMeters
}

// routeMeters holds the metrics of one route.
type routeMeters struct {
	requests map[observe.Outcome]*metrics.Counter
	duration *metrics.PrometheusHistogram
}

var outcomes = []observe.Outcome{
	observe.OutcomeOK, observe.OutcomeClient, observe.OutcomeRefused, observe.OutcomeOverload,
	observe.OutcomeError, observe.OutcomeTimeout, observe.OutcomeDown, observe.OutcomeCanceled,
}

var help = map[string]string{
	"penstock_upstream_requests_total":               "Calls made, retries included, by how they ended.",
	"penstock_upstream_request_duration_seconds":     "Time from a call's sending to the end of its answer's body.",
	"penstock_upstream_retries_total":                "Calls made again after a failure.",
	"penstock_upstream_retry_budget":                 "Retries that could be made at once now.",
	"penstock_upstream_retry_budget_exhausted_total": "Retries not made because the budget was used up.",
	"penstock_upstream_breaker_state":                "0: closed or none, 1: half-open, 2: open.",
	"penstock_upstream_breaker_rejected_total":       "Calls not made because the breaker was open.",
	"penstock_upstream_in_flight":                    "Calls whose answer's body has not ended.",
	"penstock_upstream_connections":                  "Open connections, in use or idle.",
	"penstock_upstream_received_bytes_total":         "Bytes of answers' bodies received.",
	"penstock_upstream_sent_bytes_total":             "Bytes of requests' bodies sent.",
}

func newMeters(m Metrics, c *Client) *meters {
	s := m.Scope
	if s == nil {
		s = observe.Discard()
	}
	for name, text := range help {
		s.Help(name, text)
	}
	s.Gauge("penstock_upstream_in_flight", func() float64 { return float64(c.inFlight.Load()) })
	s.Gauge("penstock_upstream_connections", func() float64 { return float64(c.conns.Load()) })
	s.Gauge("penstock_upstream_retry_budget", func() float64 { return c.budget.left(time.Now()) })
	s.Gauge("penstock_upstream_breaker_state", c.breakerGauge)
	return &meters{
		scope:           s,
		onCall:          m.OnCall,
		retries:         s.Counter("penstock_upstream_retries_total"),
		budgetExhausted: s.Counter("penstock_upstream_retry_budget_exhausted_total"),
		breakerRejected: s.Counter("penstock_upstream_breaker_rejected_total"),
		received:        s.Counter("penstock_upstream_received_bytes_total"),
		sent:            s.Counter("penstock_upstream_sent_bytes_total"),
	}
}

func (m *meters) route(name string) *routeMeters {
	if v, ok := m.routes.Load(name); ok {
		return v.(*routeMeters)
	}
	s := m.scope.With("route", name)
	r := &routeMeters{
		requests: make(map[observe.Outcome]*metrics.Counter, len(outcomes)),
		duration: s.Histogram("penstock_upstream_request_duration_seconds"),
	}
	for _, o := range outcomes {
		r.requests[o] = s.With("outcome", string(o)).Counter("penstock_upstream_requests_total")
	}
	v, _ := m.routes.LoadOrStore(name, r)
	return v.(*routeMeters)
}

// breakerGauge is 0 for closed or disabled, 1 for half-open, 2 for open.
func (c *Client) breakerGauge() float64 {
	switch s, _ := c.settings.Load().breaker.state(); s {
	case BreakerHalfOpen:
		return 1
	case BreakerOpen:
		return 2
	}
	return 0
}

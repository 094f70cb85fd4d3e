package scheduler

import (
	"math"
	"strconv"
	"strings"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"penstock/observe"
	"penstock/request"
)

// The limits that can bind: boundRate + i is rate window i.
const (
	boundNothing = iota
	boundPermits
	boundRate
)

// bindingSpan is the time constant of the shares of time bound by each limit.
const bindingSpan = 30 * time.Second

// bindings says which limit binds now, and for which share of the recent time each did.
type bindings struct {
	now    int
	since  time.Time
	shares []float64 // by limit; decaying, sum 1
}

func (b *bindings) init(windows int, now time.Time) {
	if len(b.shares) == boundRate+windows {
		return
	}
	b.now, b.since = boundNothing, now
	b.shares = make([]float64, boundRate+windows)
	b.shares[boundNothing] = 1
}

func (b *bindings) set(limit int, now time.Time) {
	if limit == b.now {
		return
	}
	b.settle(now)
	b.now = limit
}

func (b *bindings) settle(now time.Time) {
	keep := math.Exp(-now.Sub(b.since).Seconds() / bindingSpan.Seconds())
	for i := range b.shares {
		b.shares[i] *= keep
	}
	b.shares[b.now] += 1 - keep
	b.since = now
}

// share is the share of the recent time that a limit was binding; boundRate stands for all rate
// windows together.
func (b *bindings) share(limit int, now time.Time) float64 {
	b.settle(now)
	if limit < boundRate {
		return b.shares[limit]
	}
	sum := 0.0
	for _, x := range b.shares[boundRate:] {
		sum += x
	}
	return sum
}

// Counts are totals since the scheduler was made.
type Counts struct {
	// Dispatched requests got a permit, alone or in a batch.
	Dispatched uint64
	// Refused, by reason; see Stats.Refused for the names.
	Refused [reasons]uint64
	// Expired requests saw their deadline pass while queued; Cancelled ones were given up.
	Expired, Cancelled uint64
}

// Stats is a snapshot of a Scheduler.
type Stats struct {
	Upstream string `json:"upstream"`
	// Queued is how many requests wait; QueueLength how many may.
	Queued      int `json:"queued"`
	QueueLength int `json:"queue_length"`
	// QueuedByUrgency counts them by urgency; Background those of preloading.
	QueuedByUrgency [request.Urgencies]int `json:"queued_by_urgency"`
	Background      int                    `json:"background"`
	// QueuedByTenant counts them for the tenants that have any.
	QueuedByTenant map[string]int `json:"queued_by_tenant"`
	// Permits is how many calls may be in flight, InFlight how many permits are taken, Held how
	// many of those are held for calls that were cancelled.
	Permits  int `json:"permits"`
	InFlight int `json:"in_flight"`
	Held     int `json:"held"`
	// Binding names the limit that keeps requests waiting now: "none", "permits", or "rate N" for
	// the window Rates[N], "pace" for PaceRate, "quota NAME" for one of Quotas, or "hold". BindingShares is the share of the last half minute or so of each.
	Binding       string             `json:"binding"`
	BindingShares map[string]float64 `json:"binding_shares"`
	Rates         []RateStats        `json:"rates"`
	// Pace is the PaceRate in force, calls per second; 0: none. PaceAhead: only what can wait is held to it.
	Pace      float64 `json:"pace"`
	PaceAhead bool    `json:"pace_ahead"`
	// Hold is for how many seconds nothing is sent, as the upstream's quota is used up; 0: calls may go.
	Hold float64 `json:"hold_seconds"`
	// Quotas are the long windows that are counted.
	Quotas []QuotaStats `json:"quotas"`
	// PredictedWait is how long a new request of each urgency would wait behind all that is queued
	// there, in seconds.
	PredictedWait [request.Urgencies]float64 `json:"predicted_wait_seconds"`
	// NewestFirst are the urgencies that are overloaded and so serve the newest first.
	NewestFirst []request.Urgency `json:"newest_first"`
	// ServiceTime is the mean duration of a call, in seconds; 0: not measured yet.
	ServiceTime float64 `json:"service_seconds"`
	// BatchSize is how many requests a call carries on average.
	BatchSize float64 `json:"batch_size"`

	Dispatched uint64            `json:"dispatched"`
	Refused    map[string]uint64 `json:"refused"`
	Expired    uint64            `json:"expired"`
	Cancelled  uint64            `json:"cancelled"`
}

// RateStats is one rate window.
type RateStats struct {
	Limit  float64 `json:"limit"`
	Per    float64 `json:"per_seconds"`
	Burst  int     `json:"burst"`
	Tokens float64 `json:"tokens"`
	// Share is the part of the whole window that this is, 0..1 (see Share).
	Share float64 `json:"share"`
}

// QuotaStats is one long window.
type QuotaStats struct {
	Name   string  `json:"name"`
	Limit  float64 `json:"limit"`
	Per    float64 `json:"per_seconds"`
	Left   float64 `json:"left"`
	Reset  float64 `json:"reset_seconds"` // to the end of a fixed window; 0: it rolls
	Rate   float64 `json:"even_per_second"`
	Expire bool    `json:"expired"`
}

// quotaStats fills in what the quotas say.
func (s *Scheduler) quotaStats(st *Stats, now time.Time) {
	st.PaceAhead, st.Quotas = s.quotas.Ahead, []QuotaStats{}
	if !s.quotas.Hold.IsZero() {
		st.Hold = s.holdWait(now).Seconds()
	}
	for _, w := range s.quotas.budgets {
		w.settle(now)
		q := QuotaStats{Name: w.Name, Limit: w.Limit, Per: w.Period.Seconds(), Left: max(w.left, 0), Rate: w.rate(now)}
		if w.Fixed {
			q.Reset = w.end.Sub(now).Seconds()
		}
		q.Expire = !w.Expires.IsZero() && now.After(w.Expires)
		st.Quotas = append(st.Quotas, q)
	}
}

// Stats returns a snapshot.
func (s *Scheduler) Stats() Stats {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepShare(now)
	st := Stats{
		Upstream: s.opts.Upstream, Queued: s.queued(), QueueLength: s.opts.QueueLength,
		QueuedByTenant: make(map[string]int), Background: s.q.classes[backgroundClass].all.n,
		Permits: s.opts.Workers.Get(), InFlight: s.inFlight, Held: len(s.held),
		BindingShares: make(map[string]float64), ServiceTime: s.all.call, BatchSize: s.meanBatch,
		Dispatched: s.counts.Dispatched, Refused: make(map[string]uint64),
		Expired: s.counts.Expired, Cancelled: s.counts.Cancelled,
	}
	for u := range s.q.classes {
		c := &s.q.classes[u]
		for _, f := range c.order.flows {
			st.QueuedByTenant[f.tenant] += f.items.n
		}
		if u == backgroundClass {
			continue
		}
		st.QueuedByUrgency[u] = c.all.n
		st.PredictedWait[u] = s.predictNew(uint8(u), now).Seconds()
		if c.newest {
			st.NewestFirst = append(st.NewestFirst, request.Urgency(u))
		}
	}
	for _, b := range s.forming {
		for _, it := range b.members {
			st.QueuedByTenant[it.req.Tenant]++
			if it.class != backgroundClass {
				st.QueuedByUrgency[it.class]++
			}
		}
	}
	s.quotaStats(&st, now)
	s.binding.settle(now)
	st.Binding = s.bindingName(s.binding.now)
	for i, share := range s.binding.shares {
		st.BindingShares[s.bindingName(i)] = share
	}
	for i := range s.windows {
		w := &s.windows[i]
		if w.pace {
			if !w.off {
				st.Pace = w.perSecond()
			}
			continue
		}
		st.Rates = append(st.Rates, RateStats{w.Limit * w.share, w.Per.Seconds(), w.depth(), w.limiter.TokensAt(now), w.share})
	}
	for i, n := range s.counts.Refused {
		st.Refused[reasonNames[i]] = n
	}
	return st
}

// predictNew is how long a new request would wait behind all that its class has queued; 0 if it
// could go now.
func (s *Scheduler) predictNew(class uint8, now time.Time) time.Duration {
	wait, _ := s.limitWait(class, now)
	if s.q.mask<<(15-class) == 0 && s.inFlight < s.opts.Workers.Get() && wait == 0 {
		return 0
	}
	return s.predict(class, s.q.classes[class].cost, now)
}

// bindingName names a limit; the window of PaceRate is not numbered.
func (s *Scheduler) bindingName(limit int) string {
	if i := limit - boundRate; i >= 0 && i < len(s.windows) && s.windows[i].pace {
		return "pace"
	} else if i == len(s.windows) {
		return "hold"
	} else if i > len(s.windows) && i-len(s.windows)-1 < len(s.quotas.budgets) {
		return "quota " + s.quotas.budgets[i-len(s.windows)-1].Name
	}
	return bindingName(limit)
}

func bindingName(limit int) string {
	switch limit {
	case boundNothing:
		return "none"
	case boundPermits:
		return "permits"
	}
	return "rate " + strconv.Itoa(limit-boundRate)
}

// metrics keeps the pointers.
type metrics struct {
	wait               [request.Urgencies]*vm.PrometheusHistogram
	refused            [reasons]*vm.Counter
	expired, cancelled *vm.Counter
}

var help = map[string]string{
	"penstock_queue_length":          "Requests that wait, by urgency.",
	"penstock_queue_wait_seconds":    "How long dispatched requests waited, by urgency.",
	"penstock_queue_refused_total":   "Requests refused or dropped, by reason.",
	"penstock_queue_expired_total":   "Requests whose deadline passed while they waited.",
	"penstock_queue_cancelled_total": "Requests whose client left while they waited.",
	"penstock_permits":               "Calls that may be in flight: the workers.",
	"penstock_permits_held":          "Permits held for cancelled calls that the upstream probably still works on.",
	"penstock_in_flight":             "Permits taken, held ones included.",
	"penstock_binding_ratio":         "Share of the last half minute in which each limit kept requests waiting.",
}

func newMetrics(s *Scheduler, scope *observe.Scope) *metrics {
	for name, text := range help {
		scope.Help(name, text)
	}
	m := &metrics{
		expired:   scope.Counter("penstock_queue_expired_total"),
		cancelled: scope.Counter("penstock_queue_cancelled_total"),
	}
	locked := func(f func() float64) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return f()
		}
	}
	for u := range m.wait {
		us := scope.With("urgency", strconv.Itoa(u))
		m.wait[u] = us.Histogram("penstock_queue_wait_seconds")
		us.Gauge("penstock_queue_length", locked(func() float64 {
			n := s.q.classes[u].all.n
			if u == int(request.LeastUrgent) {
				n += s.q.classes[backgroundClass].all.n
			}
			return float64(n)
		}))
	}
	for i := range m.refused {
		m.refused[i] = scope.With("reason", reasonNames[i]).Counter("penstock_queue_refused_total")
	}
	scope.Gauge("penstock_permits", func() float64 { return float64(s.options.Load().Workers.Get()) })
	scope.Gauge("penstock_in_flight", locked(func() float64 { return float64(s.inFlight) }))
	scope.Gauge("penstock_permits_held", locked(func() float64 { return float64(len(s.held)) }))
	for _, limit := range []int{boundNothing, boundPermits, boundRate} {
		name := strings.TrimSuffix(bindingName(limit), " 0")
		scope.With("limit", name).Gauge("penstock_binding_ratio", locked(func() float64 { return s.binding.share(limit, time.Now()) }))
	}
	return m
}

// waited notes how long a dispatched request waited.
func (s *Scheduler) waited(u request.Urgency, d time.Duration) {
	s.metrics.wait[u].Update(d.Seconds())
	if f := s.options.Load().OnWait; f != nil {
		f(u, d)
	}
}

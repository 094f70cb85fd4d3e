package preload

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"penstock/knob"
	"penstock/observe"
	"penstock/request"
)

// Defaults and bounds.
const (
	DefaultMaxItems    = 10_000
	DefaultThreshold   = 0.5
	DefaultConcurrency = 2
	DefaultBudgetRatio = 0.10
	DefaultTimeout     = 30 * time.Second

	minMaxItems = 16
	maxMaxItems = 1_000_000
	queueLength = 1024
)

// Options sets up a Preloader.
type Options struct {
	// Enabled switches the preloader while it runs; a zero knob means on. Off forgets nothing.
	Enabled knob.Bool
	// MaxItems bounds each table: the keys that it has successors of, the clients, and the requests
	// that it could make again. Default 10,000, at least 16, at most 1,000,000. A tracked key takes about
	// 100 bytes, and one whose request is kept about 1 KB.
	MaxItems int
	// Threshold is the least probability, 0..1, at which a key is fetched; a zero knob means 0.5. Less
	// finds more and wastes more.
	Threshold knob.Float
	// Concurrency is how many prefetches run at once, default 2.
	Concurrency int
	// BudgetRatio is the most wasted prefetches for each observed request, default 0.10: each prefetch
	// takes from the budget, and gives back when it is used. Up to ten may be saved up.
	BudgetRatio float64
	// MinPrecision is the share, 0..1, of prefetches that must turn out to be used; below it the
	// preloader stands down. Default: 0.8 times the Threshold, since that is what the threshold promises.
	MinPrecision float64
	// Timeout bounds one prefetch, default 30 s.
	Timeout time.Duration
	// Scope takes the metrics; nil: none.
	Scope *observe.Scope
}

func (o *Options) ensureDefaults() {
	o.MaxItems = boundedItems(o.MaxItems)
	if o.Enabled.Knob == nil {
		o.Enabled = knob.FixedBool(true)
	}
	if o.Threshold.Knob == nil {
		o.Threshold = knob.FixedFloat(DefaultThreshold)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.BudgetRatio <= 0 {
		o.BudgetRatio = DefaultBudgetRatio
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
}

func boundedItems(n int) int {
	if n == 0 {
		n = DefaultMaxItems
	}
	return min(max(n, minMaxItems), maxMaxItems)
}

// minPrecision is what the books judge by now.
func (o *Options) minPrecision() float64 {
	if o.MinPrecision > 0 {
		return o.MinPrecision
	}
	return 0.8 * o.Threshold.Get()
}

// Access is one request that a client made.
type Access struct {
	// Request is read before Observe returns and not kept.
	Request *request.Request
	// Client tells the clients of a tenant apart (a session id, an address), so that their requests are
	// not taken for one sequence. Empty: the tenant is one client.
	Client string
	// Cache is how the cache handled it.
	Cache request.CacheStatus
}

// Preloader watches accesses and prefetches.
type Preloader struct {
	o      Options
	do     request.Doer
	hash   hasher
	queue  chan observed
	work   chan job
	cancel context.CancelFunc
	done   sync.WaitGroup

	dropped atomic.Uint64
	known   templates

	mu    sync.Mutex // guards model, books and budget; never held around I/O
	model *model
	books *books
}

// observed is an access, made small for the queue.
type observed struct {
	key, session, route uint64
	hit                 bool
}

// job is a prefetch to make.
type job struct {
	key     uint64
	request *request.Request
}

// New returns a Preloader at work; Close ends it. Prefetches go through do, which should be the stage
// that clients' requests enter too, without the measuring.
func New(o Options, do request.Doer) *Preloader {
	o.ensureDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Preloader{
		o: o, do: do, hash: newHasher(), cancel: cancel,
		queue: make(chan observed, queueLength),
		work:  make(chan job, o.Concurrency),
		known: newTemplates(o.MaxItems),
		model: newModel(o.MaxItems),
		books: newBooks(o),
	}
	p.register()
	p.done.Go(func() { p.learn(ctx) })
	for range o.Concurrency {
		p.done.Go(func() { p.fetchAll(ctx) })
	}
	return p
}

// Close stops the preloader and waits for its goroutines; prefetches under way are cancelled.
// Idempotent.
func (p *Preloader) Close() {
	p.cancel()
	p.done.Wait()
}

// SetMaxItems changes MaxItems while the preloader runs. A different number drops what was learned and
// stops the following of prefetches without a fate yet, which count as wasted.
func (p *Preloader) SetMaxItems(n int) {
	n = boundedItems(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == p.model.followers.size {
		return
	}
	p.model = newModel(n)
	p.books.resize(n)
	p.known.resize(n)
}

// Observe takes an access. It never blocks.
func (p *Preloader) Observe(a Access) {
	r := a.Request
	if r == nil || r.Background || !p.o.Enabled.Get() || !prefetchable(r) {
		return
	}
	key := p.hash.key(r.Tenant, r.Key)
	p.known.remember(key, r)
	select {
	case p.queue <- observed{key: key, session: p.hash.key(r.Tenant, a.Client), route: p.hash.route(r.Route), hit: a.Cache.Hit}:
	default:
		p.dropped.Add(1)
	}
}

func (p *Preloader) learn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-p.queue:
			p.step(a)
		}
	}
}

// step learns from one access and starts the prefetches that follow from it.
func (p *Preloader) step(a observed) {
	now := time.Now()
	p.mu.Lock()
	p.books.access(a.key, a.hit, now)
	if a.hit {
		p.books.storable(a.route, true, now)
	}
	next := p.model.learn(a.session, a.key, p.o.Threshold.Get())
	var jobs [maxSuccessors]job
	n := 0
	for _, key := range next {
		if !p.books.wants(key, now) {
			continue
		}
		r := p.known.get(key)
		if r == nil || !p.books.worthwhile(p.hash.route(r.Route), now) {
			continue
		}
		jobs[n] = job{key, r}
		n++
	}
	p.mu.Unlock()
	for _, j := range jobs[:n] {
		p.issue(j, now)
	}
}

// issue hands a job to a fetcher, if one is free: a prefetch that must wait is late already.
func (p *Preloader) issue(j job, now time.Time) {
	p.mu.Lock()
	ok := p.books.issue(j.key, now)
	p.mu.Unlock()
	if !ok {
		return
	}
	select {
	case p.work <- j:
	default:
		p.mu.Lock()
		p.books.withdraw(j.key)
		p.mu.Unlock()
	}
}

func (p *Preloader) fetchAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-p.work:
			f := p.fetch(ctx, j)
			p.mu.Lock()
			if f.err == nil && !f.redundant {
				p.books.storable(p.hash.route(j.request.Route), f.stored, time.Now())
			}
			p.books.fetched(j.key, f, time.Now())
			p.mu.Unlock()
		}
	}
}

// Stats is what the preloader did.
type Stats struct {
	Enabled bool `json:"enabled"`
	// Keys, Sessions and Requests are the sizes of the tables.
	Keys     int `json:"keys"`
	Sessions int `json:"sessions"`
	Requests int `json:"requests"`
	// Observed counts accesses, Dropped those that did not fit into the queue.
	Observed uint64 `json:"observed"`
	Dropped  uint64 `json:"dropped"`
	// Issued counts prefetches. Each ends as one of: Used (asked for while it was fresh), Late (asked for
	// before it had come), Wasted (not asked for in time, or not stored), Redundant (it was in the cache
	// already, so no call was made), Failed.
	Issued    uint64 `json:"issued"`
	Used      uint64 `json:"used"`
	Late      uint64 `json:"late"`
	Wasted    uint64 `json:"wasted"`
	Redundant uint64 `json:"redundant"`
	Failed    uint64 `json:"failed"`
	// Outstanding prefetches have no fate yet.
	Outstanding int `json:"outstanding"`
	// WastedBytes is the size of the wasted answers.
	WastedBytes uint64 `json:"wasted_bytes"`
	// Precision is the share, 0..1, of the recent settled prefetches that were used or late; 0 if there
	// are none.
	Precision float64 `json:"precision"`
	// StandingDown: no prefetches are made because too few were used; RetryAt is when a small dose is
	// tried.
	StandingDown bool      `json:"standing_down"`
	RetryAt      time.Time `json:"retry_at,omitzero"`
}

// Stats returns the figures of now.
func (p *Preloader) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.books.stats()
	s.Enabled = p.o.Enabled.Get()
	s.Keys, s.Sessions = p.model.sizes()
	s.Requests = p.known.len()
	s.Dropped = p.dropped.Load()
	return s
}

func (p *Preloader) register() {
	s := p.o.Scope
	counter := func(name, help string, f func(Stats) uint64) {
		s.CounterFunc(name, func() float64 { return float64(f(p.Stats())) })
		s.Help(name, help)
	}
	counter("penstock_preload_issued_total", "Prefetches made.", func(s Stats) uint64 { return s.Issued })
	counter("penstock_preload_used_total", "Prefetches that were asked for, in time or late.", func(s Stats) uint64 { return s.Used + s.Late })
	counter("penstock_preload_wasted_total", "Prefetches that nobody asked for.", func(s Stats) uint64 { return s.Wasted })
	counter("penstock_preload_failed_total", "Prefetches that failed.", func(s Stats) uint64 { return s.Failed })
	counter("penstock_preload_wasted_bytes_total", "Bytes of prefetches that nobody asked for.", func(s Stats) uint64 { return s.WastedBytes })
	counter("penstock_preload_dropped_total", "Accesses that the preloader had no time to look at.", func(s Stats) uint64 { return s.Dropped })
	s.Gauge("penstock_preload_precision_ratio", func() float64 { return p.Stats().Precision })
	s.Help("penstock_preload_precision_ratio", "Share of the recent prefetches that were asked for.")
	s.Gauge("penstock_preload_standing_down", func() float64 {
		if p.Stats().StandingDown {
			return 1
		}
		return 0
	})
	s.Help("penstock_preload_standing_down", "1 while no prefetches are made because too few were used.")
}

package preload

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"penstock/preload/learn"
	"penstock/request"
)

// Preloader watches accesses and prefetches. Make it with [New] and end it with [Preloader.Close].
type Preloader struct {
	o             Options
	do            request.Doer
	hash          hasher
	sessionHeader string
	begin         time.Time
	queue         chan event
	bodies        chan event // answers that may be lists
	tees          atomic.Int32
	slots         chan struct{} // taken by the prefetches under way
	ctx           context.Context
	cancel        context.CancelFunc
	done          sync.WaitGroup

	dropped atomic.Uint64
	known   templates

	mu          sync.Mutex // guards what follows; never held around I/O
	now         int64
	model       *learn.Model
	links       *links
	routes      *routes
	kinds       *kinds
	strangers   strangers
	outstanding *outstanding
	observed    uint64
	crowded     uint64 // predictions not made since too many were under way
	wanted      uint64 // predictions of what may be fetched that were worth a call
	refused     uint64 // of them those for which the upstream had nothing to spare
	thresholds  float64
	bounds      uint64
}

// job is a prefetch to make.
type job struct {
	prediction learn.Prediction
	request    *request.Request // not to be changed
	route      uint64
	minFresh   time.Duration // freshness of the copy that is to be renewed; 0: there is none
}

// New returns a Preloader at work; Close ends it. Prefetches go through do, which should be the stage
// that clients' requests enter too, without the measuring. saved is what [Preloader.Save] wrote in an
// earlier process, nil or unreadable: it begins anew.
func New(o Options, do request.Doer, saved []byte) *Preloader {
	o.ensureDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Preloader{
		o: o, do: do, hash: newHasher(), sessionHeader: http.CanonicalHeaderKey(o.SessionHeader), begin: time.Now(),
		ctx: ctx, cancel: cancel, queue: make(chan event, queueLength), bodies: make(chan event, bodyQueue), slots: make(chan struct{}, o.Concurrency),
	}
	p.known = newTemplates(o.MaxItems, p.sessionHeader)
	p.restore(saved)
	p.register()
	p.done.Go(p.learn)
	return p
}

// build makes the tables.
func (p *Preloader) build() {
	n := p.o.MaxItems
	p.links, p.routes, p.kinds, p.outstanding = newLinks(p.hash, n), newRoutes(), newKinds(), newOutstanding()
	p.strangers = newStrangers()
	p.model = learn.New(learn.Options{
		Keys: n, Floor: p.o.Threshold.Get(), Budget: p.o.BudgetRatio.Get(), Precision: p.o.MinPrecision,
		KeyOf: func(family uint64, number int64) uint64 { return p.links.keyOf(family, number) }, Ended: p.ended,
	})
}

// Close stops the preloader and waits for its goroutines; prefetches under way are cancelled.
// Idempotent.
func (p *Preloader) Close() {
	p.cancel()
	p.done.Wait()
}

// SetMaxItems changes MaxItems while the preloader runs. A different number drops what was learned and
// stops the following of prefetches without a fate yet.
func (p *Preloader) SetMaxItems(n int) {
	n = boundedItems(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == p.o.MaxItems {
		return
	}
	p.o.MaxItems = n
	p.build()
	p.known.resize(n)
}

// start makes prefetches, each on a goroutine of its own, bounded by the slots.
func (p *Preloader) start(jobs []job) {
	for _, j := range jobs {
		p.done.Go(func() {
			f := p.fetch(p.ctx, j)
			<-p.slots
			p.mu.Lock()
			p.landed(&j, f)
			p.mu.Unlock()
		})
	}
}

// pauseUnkept and pauseFailed are how long a key is left alone whose answer could not be kept, or fetched.
const (
	pauseUnkept = 10 * time.Minute
	pauseFailed = time.Minute
)

// landed takes in how a prefetch ended. It is called with mu held.
func (p *Preloader) landed(j *job, f fetchResult) {
	at := time.Now()
	now := p.clock(at)
	key := j.prediction.Key
	route := p.routes.of(j.route, j.request)
	switch {
	case f.err != nil:
		p.model.Failed(key, now+int64(pauseFailed))
	case f.redundant:
		route.counts.Redundant++
		p.model.Withdraw(key)
		p.outstanding.take(key)
		p.model.Seen(key, now, now+int64(max(f.life, time.Second)))
	case !f.kept:
		p.kinds.note(p.hash.kindOf(j.request), false, at)
		route.counts.Unstored++
		p.outstanding.size(key, f.bytes)
		p.model.Unkept(key, now+int64(pauseUnkept))
	default:
		p.kinds.note(p.hash.kindOf(j.request), true, at)
		route.took(f.took)
		p.outstanding.size(key, f.bytes)
		p.model.Stored(key, now, now+int64(f.life))
		if f.listing != nil {
			f.listing.shape = p.hash.shapeOf(j.request, holes(j.request))
			*p.links.listings.add(key, nil) = f.listing
		}
	}
}

// ended hears of the fate of a prefetch; the model calls it, with mu held.
func (p *Preloader) ended(key uint64, _ learn.Source, f learn.Fate) {
	o := p.outstanding.take(key)
	r := p.routes.known(o.route)
	if r == nil {
		return
	}
	r.counts.Ended[f]++
	switch f {
	case learn.Used:
		r.counts.Saved += r.wait
	case learn.Late:
		r.counts.Saved += min(time.Duration(p.now-o.since), r.wait)
	default:
		r.counts.WastedBytes += uint64(o.bytes)
	}
}

func formatNumber(n int64) string { return strconv.FormatInt(n, 10) }

// Idle reports whether nothing is left to look at and no prefetch is under way: for tests that wait for
// what follows from a request.
func (p *Preloader) Idle() bool {
	if len(p.queue)+len(p.bodies)+len(p.slots) > 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)+len(p.bodies)+len(p.slots) == 0
}

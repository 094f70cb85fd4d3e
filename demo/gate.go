package demo

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// gate is the API's capacity: slots, and a bounded first-in first-out queue for them. Nobody
// leaves the queue before its turn.
type gate struct {
	mu      sync.Mutex // guards what follows
	queue   int
	busy    int
	slots   int
	waiting []chan struct{}
}

func newGate(queue int) *gate { return &gate{queue: queue} }

// enter waits for one of slots slots; false: the queue is full.
func (g *gate) enter(slots int) bool {
	g.mu.Lock()
	g.slots = slots
	g.admit()
	if g.busy < g.slots {
		g.busy++
		g.mu.Unlock()
		return true
	}
	if len(g.waiting) >= g.queue {
		g.mu.Unlock()
		return false
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	<-turn
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	g.busy--
	g.admit()
	g.mu.Unlock()
}

// admit hands free slots to those who wait. The caller holds mu.
func (g *gate) admit() {
	for g.busy < g.slots && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		g.busy++
	}
}

// load reports how many calls are worked on and how many wait.
func (g *gate) load() (busy, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.busy, len(g.waiting)
}

// burstSeconds is how many seconds' worth of quota may be used at once.
const burstSeconds = 2

// bucket is a token bucket that holds burstSeconds' worth of its rate, one token at least.
type bucket struct {
	mu     sync.Mutex // guards what follows
	tokens float64
	at     time.Time // zero: not used yet, and full
}

// take takes one token. It reports how many are left, and how long until the next one comes.
func (b *bucket) take(perSecond float64) (ok bool, left int, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, full := time.Now(), math.Max(1, perSecond*burstSeconds)
	if b.at.IsZero() {
		b.tokens = full
	} else {
		b.tokens = math.Min(full, b.tokens+now.Sub(b.at).Seconds()*perSecond)
	}
	b.at = now
	if ok = b.tokens >= 1; ok {
		b.tokens--
	}
	if b.tokens < 1 {
		wait = time.Duration((1 - b.tokens) / perSecond * float64(time.Second))
	}
	return ok, int(b.tokens), wait
}

// counters are what the API has seen since it began.
type counters struct {
	calls, items, served, refused, limited, failed atomic.Int64
}

// APIStats is what GET /stats answers.
type APIStats struct {
	// Calls is how many calls came, refused ones included; Items how many single questions they
	// held.
	Calls int64 `json:"calls"`
	Items int64 `json:"items"`
	// Served calls were answered, 304 and 404 included.
	Served int64 `json:"served"`
	// Refused calls met a full queue or an outage (503), Limited ones the quota (429), Failed ones
	// bad luck (500).
	Refused int64 `json:"refused"`
	Limited int64 `json:"limited"`
	Failed  int64 `json:"failed"`
	// InFlight and Waiting are how many calls are worked on and wait now.
	InFlight int `json:"in_flight"`
	Waiting  int `json:"waiting"`
	// Phase and Conditions are what holds now.
	Phase      string     `json:"phase"`
	Conditions Conditions `json:"conditions"`
}

// Stats counts what came.
func (a *API) Stats() APIStats {
	busy, waiting := a.gate.load()
	phase, now := a.phase()
	return APIStats{
		Calls: a.count.calls.Load(), Items: a.count.items.Load(), Served: a.count.served.Load(),
		Refused: a.count.refused.Load(), Limited: a.count.limited.Load(), Failed: a.count.failed.Load(),
		InFlight: busy, Waiting: waiting, Phase: phase, Conditions: now,
	}
}

package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"penstock/engine"
)

// holder holds this node's part of one quota. Its own goroutine does all of the work; what others need is under mu.
type holder struct {
	k    *Keeper
	name string
	ctx  context.Context
	quit context.CancelFunc
	wake chan struct{}

	mu       sync.Mutex // guards what follows
	quota    Quota
	inbox    *engine.Entry // the newest change that was not looked at
	last     context.Context
	shown    Status
	replaced bool

	// Of the goroutine alone.
	estimate                  Estimate
	record                    Record
	revision                  uint64    // of record; 0: there is none
	blind                     time.Time // until when a record that can't be read is taken to be in use
	seen                      map[string]sight
	seq                       uint64
	want                      int64
	limit                     float64
	shared                    bool
	held                      int64     // in force
	likely                    int64     // what could be had, as last applied
	renewed                   time.Time // when the last write that went through began
	until                     time.Time
	tried                     time.Time
	wait                      time.Duration // before the next try, after a failure
	lost                      bool          // the lease ran out
	unsure                    bool          // the last write had no answer
	doubt                     time.Time     // when the last such write was given up
	asked                     int64         // the floor that the last write asked for
	writes, overtaken, failed uint64
}

// sight is when a member's entry was first seen as it is.
type sight struct {
	seq uint64
	at  time.Time
}

func newHolder(k *Keeper, q Quota) *holder {
	h := &holder{k: k, name: q.Name, quota: q, wake: make(chan struct{}, 1), seen: make(map[string]sight)}
	h.ctx, h.quit = context.WithCancel(k.ctx)
	return h
}

// replace takes new functions for the quota.
func (h *holder) replace(q Quota) {
	h.mu.Lock()
	h.quota, h.replaced = q, true
	h.mu.Unlock()
}

// bound limits the last write.
func (h *holder) bound(ctx context.Context) {
	h.mu.Lock()
	h.last = ctx
	h.mu.Unlock()
}

// tell leaves a change for the goroutine.
func (h *holder) tell(e engine.Entry) {
	h.mu.Lock()
	h.inbox = &e
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *holder) run() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	h.look(time.Now())
	for {
		select {
		case <-h.ctx.Done():
			h.leave()
			return
		case <-ticker.C:
		case <-h.wake:
		}
		h.look(time.Now())
	}
}

// look takes in what happened and acts on it.
func (h *holder) look(now time.Time) {
	h.mu.Lock()
	q, e, replaced := h.quota, h.inbox, h.replaced
	h.inbox, h.replaced = nil, false
	h.mu.Unlock()
	if e != nil {
		h.observe(*e, now)
	}
	d := q.Demand()
	h.estimate.Add(d, now)
	h.limit, h.want = d.Limit, h.estimate.Want(d.Limit, now)
	switch {
	case d.Limit > 0 && !h.shared:
		h.shared = true
		h.begin(&q, now)
	case d.Limit == 0 && h.shared:
		h.shared = false
		q.Apply(nil, nil)
		h.leave()
	case h.shared && (replaced || e != nil && !h.renewed.IsZero() && abs(h.record.likely(h.k.o.Node)-h.likely) > Whole/20):
		h.apply(&q, nil, now)
	}
	if h.shared && h.due(now) {
		h.take(h.ctx, &q, now)
	}
	if lost := h.shared && now.After(h.until); lost != h.lost {
		if h.lost = lost; lost {
			h.k.o.Log.Warn("lease: the engine does not answer, so the part of the quota that this node has could not be renewed: it goes on with little "+
				"until the engine is back (cluster.quota_cut_off)", "quota", h.name)
		} else {
			h.k.o.Log.Info("lease: the quota is shared again", "quota", h.name, "ratio", float64(h.held)/Whole)
		}
	}
	h.show(now)
}

// begin holds nothing until the first write went through. If the engine is away it begins, a lease later, with what
// would be left to it among ten.
func (h *holder) begin(q *Quota, now time.Time) {
	h.held, h.until, h.renewed, h.wait = 0, now.Add(h.k.o.Lease), time.Time{}, 0
	late := 0.0
	if h.k.o.Hold || h.k.o.CutOffRatio > 0 {
		late = h.k.o.CutOffRatio / 10
	}
	q.Apply([]Part{{From: now, Likely: 1}, {From: h.until, Ratio: late}}, nil)
}

// observe takes in a version of the record.
func (h *holder) observe(e engine.Entry, now time.Time) {
	if e.Revision <= h.revision && !e.Deleted {
		return
	}
	h.revision, h.record = e.Revision, Record{}
	if e.Deleted {
		h.revision = 0
	} else if r, err := parseRecord(e.Value); err == nil {
		h.record, h.blind = r, time.Time{}
	} else {
		// Who wrote that is another version or nobody of ours. By when every lease has ended it is replaced.
		h.k.o.Log.Error("lease: a record can't be read; it is replaced after a lease", "quota", h.name, "error", err)
		h.blind = now.Add(h.k.o.Lease + h.k.o.Lease/10)
	}
	for id, m := range h.record.Members {
		if s, ok := h.seen[id]; !ok || s.seq != m.Seq {
			h.seen[id] = sight{m.Seq, now}
		}
	}
	for id := range h.seen {
		if _, ok := h.record.Members[id]; !ok {
			delete(h.seen, id)
		}
	}
}

// life is how another member is doing.
func (h *holder) life(id string, now time.Time) life {
	o := &h.k.o
	age := now.Sub(h.seen[id].at) - o.Lease - o.Lease/10
	switch {
	case age <= 0:
		return alive
	case age <= o.Forget:
		return ended
	}
	return forgotten
}

// due reports whether to write now: for little there is more time.
func (h *holder) due(now time.Time) bool {
	since := now.Sub(h.tried)
	// Many nodes would only get into each other's way.
	spread := pause * time.Duration(max(1, len(h.record.Members)/crowd))
	if since < max(spread, h.wait) || now.Before(h.blind) {
		return false
	}
	n := h.needs(now)
	return n >= much || n > 0 && since >= patience*spread
}

// needs is how much a write would do, in millionths of the quota; 0: nothing.
func (h *holder) needs(now time.Time) int64 {
	me, ok := h.record.Members[h.k.o.Node]
	if !ok || me.Gone || now.Sub(h.renewed) >= h.k.o.Lease/5 {
		return Whole
	}
	for id, m := range h.record.Members {
		if id != h.k.o.Node && !m.Gone && h.life(id, now) != alive {
			return Whole
		}
	}
	owed, missing := h.record.owed(h.k.o.Node, h.want)
	switch {
	case owed > 0 && h.record.reserved() > h.record.free():
		return Whole
	case owed > h.record.least():
		return owed
	case h.want > me.Held && missing > h.record.least():
		return Whole // nobody else uses it
	case h.want > me.Held && h.want > me.Want+me.Want/5:
		return min(h.want, Whole) - me.Held
	}
	return 0
}

// take takes a turn at the record, again if others' came between.
func (h *holder) take(ctx context.Context, q *Quota, now time.Time) {
	kv := h.k.bucket()
	h.tried = now
	if kv == nil {
		h.failure(errors.New("the bucket could not be opened yet"))
		return
	}
	// What became of a write without an answer is seen before there is another one.
	if h.unsure && h.reread(ctx, kv) != nil {
		h.failure(errors.New("the record could not be read"))
		return
	}
	h.unsure = false
	freed := make(map[int64]float64)
	for range conflicts {
		err := h.turn(ctx, kv, q, freed)
		switch {
		case err == nil:
			h.wait = 0
			return
		case !errors.Is(err, engine.ErrConflict) && !errors.Is(err, engine.ErrExists):
			h.unsure, h.doubt = true, time.Now()
			h.apply(q, nil, h.doubt)
			h.failure(err)
			return
		}
		h.overtaken++
		if err := h.reread(ctx, kv); err != nil {
			h.failure(err)
			return
		}
		if now := time.Now(); now.Before(h.blind) || len(freed) == 0 && h.needs(now) == 0 {
			return
		}
	}
}

func (h *holder) failure(err error) {
	h.failed++
	h.wait = min(max(2*h.wait, backoff), mostBackoff)
	h.k.o.Log.Debug("lease: the record could not be written", "quota", h.name, "error", err)
}

// turn is one try: it shrinks before it says so, and grows only when that was written.
func (h *holder) turn(ctx context.Context, kv engine.KV, q *Quota, freed map[int64]float64) error {
	now := time.Now()
	h.seq = max(h.seq, h.record.Members[h.k.o.Node].Seq) + 1
	next := h.record.Step(turn{
		me: h.k.o.Node, want: h.want, seq: h.seq, cutOff: h.k.o.CutOffRatio,
		life: func(id string) life { return h.life(id, now) },
	})
	me, ok := next.Members[h.k.o.Node]
	if !ok {
		return errors.New("too many nodes share this quota")
	}
	if me.Held < h.held {
		h.held = me.Held
		for per, n := range h.apply(q, nil, now) {
			freed[int64(per)] += n
		}
	}
	h.asked = me.Floor
	mine := next.shareTokens(freed, bursts(q), me.Held-h.held)
	revision, err := h.write(ctx, kv, next)
	if err != nil {
		return err
	}
	h.writes++
	h.record, h.revision = next, revision
	h.seen[h.k.o.Node] = sight{h.seq, now}
	h.held, h.renewed, h.until = me.Held, now, now.Add(h.k.o.Lease)
	add := make(map[time.Duration]float64, len(mine))
	for per, n := range mine {
		add[time.Duration(per)] = n
	}
	h.apply(q, add, time.Now())
	return nil
}

func bursts(q *Quota) map[int64]float64 {
	out := make(map[int64]float64)
	if q.Bursts != nil {
		for per, n := range q.Bursts() {
			out[int64(per)] = n
		}
	}
	return out
}

func (h *holder) write(ctx context.Context, kv engine.KV, r Record) (uint64, error) {
	data, err := r.encode()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if h.revision == 0 {
		return kv.Create(ctx, h.name, data)
	}
	return kv.Update(ctx, h.name, data, h.revision)
}

// reread looks at the record itself.
func (h *holder) reread(ctx context.Context, kv engine.KV) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	e, err := kv.Get(ctx, h.name)
	if errors.Is(err, engine.ErrNotFound) {
		h.observe(engine.Entry{Deleted: true}, time.Now())
		return nil
	}
	if err == nil {
		h.observe(e, time.Now())
	}
	return err
}

// apply puts the part in force, with what follows when the lease is not renewed.
func (h *holder) apply(q *Quota, add map[time.Duration]float64, now time.Time) map[time.Duration]float64 {
	ratio := func(part int64) float64 { return float64(part) / Whole }
	h.likely = h.record.likely(h.k.o.Node)
	parts := []Part{{now, ratio(h.held), ratio(h.likely)}}
	if o := &h.k.o; !o.Hold {
		// A floor above the part is there only once the others have seen the lease end, and made room. For them it
		// may have begun as late as with the last write that had no answer.
		floor, room := h.record.Members[o.Node].Floor, h.until.Add(o.Lease/2)
		if h.unsure {
			floor = min(floor, h.asked)
		}
		if after := h.doubt.Add(o.Lease + o.Lease*6/10); after.After(room) {
			room = after
		}
		parts = append(parts, Part{From: h.until, Ratio: ratio(min(h.held, floor))}, Part{From: room, Ratio: ratio(floor)})
	}
	return q.Apply(parts, add)
}

// leave takes this node out of the record.
func (h *holder) leave() {
	kv := h.k.bucket()
	if _, ok := h.record.Members[h.k.o.Node]; !ok || kv == nil {
		return
	}
	h.mu.Lock()
	ctx := h.last
	h.mu.Unlock()
	if ctx == nil {
		ctx = context.Background()
	}
	for range conflicts {
		next := h.record.Step(turn{me: h.k.o.Node, leaves: true, life: func(string) life { return alive }})
		revision, err := h.write(ctx, kv, next)
		if err == nil {
			h.record, h.revision = next, revision
			return
		}
		if !errors.Is(err, engine.ErrConflict) && !errors.Is(err, engine.ErrExists) || h.reread(ctx, kv) != nil {
			break
		}
	}
	h.k.o.Log.Warn("lease: this node's part of the quota could not be given back; it returns when its lease ends", "quota", h.name)
}

func abs(n int64) int64 { return max(n, -n) }

// show notes how things stand.
func (h *holder) show(now time.Time) {
	s := Status{
		Quota: h.name, Shared: h.shared, OK: h.shared && !now.After(h.until) && !h.renewed.IsZero(), Ratio: 1, Until: h.until,
		Wanted: float64(h.want) / Whole, Nodes: len(h.record.Members), Writes: h.writes, Overtaken: h.overtaken, Failed: h.failed,
	}
	if h.shared {
		s.Floor = float64(h.record.Members[h.k.o.Node].Floor) / Whole
		s.Ratio = float64(h.held) / Whole
		if !s.OK && !h.k.o.Hold {
			s.Ratio = s.Floor
		}
	}
	for _, m := range h.record.Members {
		if m.Gone {
			s.Gone++
		}
	}
	h.mu.Lock()
	h.shown = s
	h.mu.Unlock()
}

func (h *holder) report() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shown
}

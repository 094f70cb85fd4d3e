package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"penstock/request"
)

// errAbandoned is the cause of a flight's cancelled context.
var errAbandoned = errors.New("nobody waits for this call any more")

// flight is one upstream call and all who wait for it. It owns a copy of the request, since the
// client who began it may go away, and runs on a goroutine and a context of its own.
//
// Life: open (waiters gather) -> answered (ready is closed; each waiter got its part) -> ended.
// A flight that is kept whole (storable) can be joined until it has been stored.
type flight struct {
	c *Cache
	// req is the flight's own request; q the policy's view of it.
	req *request.Request
	q   question
	// key is the store's key. A flight without one is never joined and stores nothing; a single
	// one is never joined, but may store.
	key string
	// selectors are the headers by which the upstream may have chosen the answer.
	selectors http.Header
	// validates is the stale entry that req's conditions ask about, nil if none.
	validates *entry

	ctx    context.Context
	cancel context.CancelCauseFunc
	ready  chan struct{}
	// interim carries interim answers to the leader; nil: he wants none. Nobody else gets them, as
	// it is not known yet who may have the answer.
	interim chan interim

	// listed is the key in the table, guarded by the table's shard; single: nobody joins it there.
	listed string
	single bool
	// second: the answer is from the second level.
	second bool
	// superseded, if not nil, is closed when another call has brought an answer for this key. told,
	// guarded as listed is, says that it is closed.
	superseded chan struct{}
	told       bool

	mu      sync.Mutex // guards waiters and dead
	waiters map[*waiter]struct{}
	dead    bool // abandoned and cancelled: nobody may join

	// The answer, read-only once ready is closed.
	outcome
}

// outcome is what a flight came to: err, or renewed, or headers with a body in buf.
type outcome struct {
	err      error
	response *request.Response // its Body is the flight's
	verdict  verdict
	vary     []string
	values   []string
	buf      *buffer
	renewed  *entry // validates, renewed by a 304
	storable bool
	trailers []string // announced names
}

// interim is an answer before the final one.
type interim struct {
	status int
	header http.Header
}

// maxInterims is how many of them may wait for a client; more are dropped.
const maxInterims = 8

// waiter is one request that waits for a flight.
type waiter struct {
	ctx    context.Context
	header http.Header
	// leader began the flight, so that the answer is meant for it in any case. A keeper wants no
	// answer, but that the flight runs until it is stored.
	leader, keeper bool
	// reader is the waiter's part of a shared answer, nil if it may not have one. It is set
	// before ready is closed, or when it joins later.
	reader *reader
}

// newFlight makes a flight led by r. The copy is not conditional on what the client holds if the
// answer may be shared.
func (c *Cache) newFlight(ctx context.Context, r *request.Request, q question, key string, stale *entry) *flight {
	f := &flight{
		c: c, req: r.Clone(), q: q, key: key,
		ready: make(chan struct{}), waiters: make(map[*waiter]struct{}, 1),
	}
	if f.req.Header == nil {
		f.req.Header = make(http.Header)
	}
	if r.Interim != nil {
		f.interim = make(chan interim, maxInterims)
		f.req.Interim = f
	}
	f.selectors = f.req.Header
	f.q.hash = c.tracks.hash(key)
	if key != "" {
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
			delete(f.req.Header, name)
		}
		if stale != nil && stale.validator() && !steered(f.selectors, stale.vary) {
			f.validates = stale
			f.req.Header = f.req.Header.Clone() // selectors stay without the conditions
			stale.addConditions(f.req.Header)
		}
	}
	f.ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return f
}

// WriteInterim takes an interim answer of the upstream's.
func (f *flight) WriteInterim(status int, h http.Header) {
	select {
	case f.interim <- interim{status, h.Clone()}:
	default:
	}
}

// add makes w wait too, and reports whether it may. It may not if the flight was given up, or its
// answer is known and not for w.
func (f *flight) add(w *waiter) (ok, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return false, true
	}
	if f.answered() {
		if f.err != nil || !f.admits(w) {
			return false, false
		}
		if f.renewed == nil {
			if w.reader = f.attach(w); w.reader == nil {
				return false, false
			}
		}
	}
	f.waiters[w] = struct{}{}
	return true, false
}

// answered is meant for use with mu held; it may be called without it.
func (f *flight) answered() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// admits reports whether the answer may go to w. The outcome must be known.
func (f *flight) admits(w *waiter) bool {
	if w.leader {
		return true
	}
	if f.renewed != nil {
		return f.verdict.share && f.renewed.matches(w.header)
	}
	return f.verdict.share && selects(f.vary, f.values, w.header)
}

func (f *flight) attach(w *waiter) *reader {
	return f.buf.attach(w.ctx, func() { f.leave(w) })
}

// leave takes a waiter away. When the last one goes, the call is dropped if it has not begun, and
// else the route decides.
func (f *flight) leave(w *waiter) {
	f.mu.Lock()
	if _, ok := f.waiters[w]; !ok {
		f.mu.Unlock()
		return
	}
	delete(f.waiters, w)
	abandon := len(f.waiters) == 0 && !f.dead && !f.runsOn()
	f.dead = f.dead || abandon
	f.mu.Unlock()
	if abandon {
		f.c.flights.unlist(f)
		f.cancel(errAbandoned)
	}
}

// runsOn reports whether the call goes on without waiters.
func (f *flight) runsOn() bool {
	if f.answered() {
		if f.buf != nil && f.buf.ended() {
			return true // the upstream has done its work; what is left is to store it
		}
		// A stream of events has no end to run to.
		return !f.req.Route.Cancels(f.req.Method) && (f.response == nil || !eventStream(f.response.Header))
	}
	return f.req.Started() && !f.req.Route.Cancels(f.req.Method)
}

// run makes the call and hands its answer out.
func (f *flight) run() {
	defer f.cancel(nil)
	defer context.AfterFunc(f.c.base, func() { f.cancel(errClosed) })()
	defer func() {
		if p := recover(); p != nil {
			f.c.log.Error("cache: a panic in an upstream call", "route", f.req.Route.Name, "request_id", f.req.ID, "panic", p, "stack", string(debug.Stack()))
			f.fail(request.Errorf(request.ProblemInternal, "the request could not be finished; the log has the cause under request_id %s", f.req.ID))
		}
	}()
	if f.fromSecond() {
		return
	}
	asked := time.Now()
	resp, err := f.c.next.Do(f.ctx, f.req)
	if err == nil && resp == nil {
		err = request.Errorf(request.ProblemInternal, "the stage after the cache gave neither an answer nor an error")
	}
	if err != nil {
		f.note(err, 0)
		f.fail(err)
		return
	}
	f.note(nil, resp.Status)
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	answered := time.Now()
	if d := resp.Timing.Upstream; d > 0 && d < answered.Sub(asked) {
		asked = answered.Add(-d) // the time in our own queue does not make an answer older
	}
	f.answer(resp, moment{asked, answered})
}

// fail ends the flight with err for all who wait. After the answer began, the error ends its body.
func (f *flight) fail(err error) {
	f.c.flights.unlist(f)
	f.mu.Lock()
	if f.answered() {
		f.mu.Unlock()
		if f.buf != nil {
			f.buf.finish(err, nil)
		}
		return
	}
	f.err = err
	close(f.ready)
	f.mu.Unlock()
}

// answer hands out headers, then pumps the body, then stores it.
func (f *flight) answer(resp *request.Response, m moment) {
	if resp.Status == http.StatusNotModified && f.validates != nil {
		f.renew(resp, m)
		return
	}
	o := outcome{response: resp, verdict: judge(f.q, resp.Status, resp.Header, m)}
	o.vary = selectingNames(resp.Header, f.selectors, o.verdict.anonymous)
	for name := range resp.Trailer {
		o.trailers = append(o.trailers, name)
	}
	o.values = varyValues(o.vary, f.selectors)
	o.buf = newBuffer(resp.ContentLength)
	limit := f.c.settings.Load().MaxObjectBytes
	o.storable = f.key != "" && o.verdict.store && len(resp.Trailer) == 0 && resp.ContentLength <= limit
	if o.storable && f.c.shareUsedUp(f.req.Tenant) && f.c.store.get(f.key) == nil {
		o.storable = false
		f.c.counters.shareExceeded.Inc()
	}
	f.learn(&o)
	f.headUpdates(&o, m)
	closed := false
	defer func() {
		if !closed { // a panic below
			_ = resp.Body.Close()
		}
	}()
	var kept *entry
	keep := func(unseen int) { kept = f.keep(&o, o.buf.bytes(unseen), m.answered) }
	if o.storable && resp.ContentLength == 0 {
		keep(0) // its headers are all that the client waits for
	}
	f.hand(o)
	err := f.pump(resp, limit, keep)
	closed = true
	_ = resp.Body.Close() // ends the permit, before we work on our own account
	f.buf.finish(err, resp.Trailer)
	f.c.flights.unlist(f)
	f.pack(kept)
}

// learn tells the table how requests for this key are to be joined from now on.
func (f *flight) learn(o *outcome) {
	if f.key == "" {
		return
	}
	if len(o.vary) > 0 && o.verdict.share {
		f.c.memos.vary(f.key, o.vary)
		f.c.flights.relist(f, flightKey(f.req.Method, f.key, f.selectors, o.vary))
	}
	f.remember(o.verdict.share, o.response.Status, o.vary)
	switch {
	case !o.storable:
		f.c.flights.unlist(f)
	case !o.verdict.share && !f.single:
		f.c.flights.isolate(f)
	}
}

// remember notes for the requests to come whether answers for this key, and for its likes, can be
// shared. A failure says nothing of those to come.
func (f *flight) remember(share bool, status int, vary []string) {
	if !failed(status) {
		f.c.habits.learn(f.req, share, vary)
	}
	key := flightKey(f.req.Method, f.key, f.selectors, f.c.varyOf(f.key, f.req))
	if !share {
		f.c.memos.forbid(key)
	} else if f.single {
		f.c.memos.permit(key)
	}
}

// hand gives each waiter its part and wakes all.
func (f *flight) hand(o outcome) {
	f.mu.Lock()
	f.outcome = o
	for w := range f.waiters {
		if !f.admits(w) {
			delete(f.waiters, w) // it goes its own way
			continue
		}
		if w.keeper {
			if !f.storable {
				delete(f.waiters, w)
			}
			continue
		}
		if f.renewed == nil {
			w.reader = f.attach(w)
		}
	}
	if f.buf != nil && !f.storable {
		f.buf.window()
	}
	close(f.ready)
	gone := len(f.waiters) == 0 && !f.dead && !f.runsOn()
	f.dead = f.dead || gone
	f.mu.Unlock()
	if gone {
		f.cancel(errAbandoned)
	}
}

// pump reads the body to its end and returns how that came, io.EOF if all is well. A whole body
// that is to be stored is kept before its last bytes, or its end, can be read: who then asks again
// finds it. keep is told how many bytes it has that no reader sees yet.
func (f *flight) pump(resp *request.Response, limit int64, keep func(unseen int)) error {
	whole := f.storable && resp.ContentLength != 0
	bodyless := f.req.Method == http.MethodHead || resp.Status == http.StatusNotModified
	var n int64
	for {
		if err := f.buf.awaitRoom(f.ctx); err != nil {
			return err
		}
		k, err := resp.Body.Read(f.buf.space())
		n += int64(k)
		if err == nil && n == resp.ContentLength && whole {
			err = atEnd(resp.Body)
		}
		if err == io.EOF && resp.ContentLength > 0 && n != resp.ContentLength && !bodyless {
			err = io.ErrUnexpectedEOF
		}
		if whole && n > limit {
			whole = false
			f.c.flights.unlist(f)
			f.buf.window()
		}
		if whole && err == io.EOF {
			keep(k)
		}
		f.buf.commit(k)
		if err != nil {
			return err
		}
	}
}

// atEnd reads a body of which all that was announced has come.
func atEnd(body io.Reader) error {
	var more [1]byte
	for {
		if n, err := body.Read(more[:]); n > 0 {
			return io.ErrUnexpectedEOF // longer than announced
		} else if err != nil {
			return err
		}
	}
}

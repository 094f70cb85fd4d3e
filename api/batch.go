package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"penstock/request"
)

// batch is one POST /v1/batch on its way: a feeder reads items, each item is a goroutine, the
// handler writes lines. What holds memory back is slots: an item takes one before it is read, and
// gives it back when its line is written, so a client that does not read its answers stops the
// reading of its questions.
type batch struct {
	d      *data
	x      *exchange
	in     intent
	limits Limits
	ctx    context.Context
	cancel context.CancelFunc

	slots chan struct{}
	// working bounds the items that are being answered.
	working chan struct{}
	out     chan *batchLine
	// queue has the items' lines to come in the order of the input; nil: order does not matter.
	queue chan chan *batchLine
	items sync.WaitGroup
	// broken is why the input ended early. Written by the feeder before out is closed.
	broken error
}

// summary is the content of the last line.
type summary struct {
	Items int `json:"items"`
	// OK counts answers below 400, Failed the others and the errors.
	OK     int `json:"ok"`
	Failed int `json:"failed"`
	// Hits counts answers from the cache.
	Hits       int   `json:"hits"`
	DurationMs int64 `json:"duration_ms"`
}

// serveBatch answers POST /v1/batch.
func (d *data) serveBatch(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	b, next, err := d.openBatch(w, r, x)
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	defer b.cancel()
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.status = http.StatusOK
	w.WriteHeader(http.StatusOK)
	b.run(w, next)
}

// openBatch reads what must be right before the answer begins.
func (d *data) openBatch(w http.ResponseWriter, r *http.Request, x *exchange) (*batch, itemSource, error) {
	tenant, err := d.identify(w, r)
	if err != nil {
		return nil, nil, err
	}
	if tenant.Quota != nil { // each item counts, not the whole
		policy, state := tenant.Quota.Look()
		x.policy, x.limit = x.value(policy), x.value(state)
		x.showQuota(w.Header())
	}
	in, err := d.readIntent(r, tenant)
	if err != nil {
		return nil, nil, err
	}
	b := &batch{d: d, x: x, in: in, limits: d.o.Limits().withDefaults()}
	n := b.limits.InFlight + b.limits.Buffer
	switch order := r.URL.Query().Get("order"); order {
	case "", "ready":
	case "input":
		b.queue = make(chan chan *batchLine, n)
	default:
		return nil, nil, request.Errorf(request.ProblemBadRequest, "order must be ready (as answers come) or input (as asked), not %.100q", order)
	}
	var next itemSource
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == "application/x-ndjson" || mediaType == "application/ndjson" {
		next = ndjsonItems(w, r, b.limits)
	} else {
		raw, err := readBody(w, r, b.limits.MaxBodyBytes)
		if err != nil {
			return nil, nil, err
		}
		if next, err = arrayItems(raw); err != nil {
			return nil, nil, err
		}
	}
	b.slots, b.out = make(chan struct{}, n), make(chan *batchLine, n)
	b.working = make(chan struct{}, b.limits.InFlight)
	b.ctx, b.cancel = context.WithCancel(x.Context)
	return b, next, nil
}

// run writes the lines as they come, then the summary. It returns when all goroutines have ended.
func (b *batch) run(w http.ResponseWriter, next itemSource) {
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// The feeder may wait for a line that won't come any more.
	stop := context.AfterFunc(b.ctx, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if b.queue != nil {
		go b.forward()
	}
	go b.feed(next)
	var sum summary
	failed := rc.Flush()
	if errors.Is(failed, http.ErrNotSupported) {
		failed = nil
	}
	for line := range b.out {
		if failed == nil && b.x.Context.Err() == nil {
			sum.count(line)
			if failed = enc.Encode(line); failed == nil && len(b.out) == 0 {
				_ = rc.Flush() // a broken connection shows at the next write
			}
		}
		if failed != nil {
			b.cancel()
		}
		<-b.slots
	}
	if b.broken != nil && failed == nil {
		_ = enc.Encode(b.errorLine(b.x, rawItem{index: sum.Items}, b.broken))
		_ = rc.Flush()
	}
	if failed != nil || b.broken != nil || b.x.Context.Err() != nil {
		panic(http.ErrAbortHandler) // without a summary: the answer is not whole
	}
	sum.DurationMs = time.Since(b.x.arrived).Milliseconds()
	_ = enc.Encode(map[string]summary{"summary": sum})
}

func (s *summary) count(l *batchLine) {
	s.Items++
	if l.Error == nil && l.Status < 400 {
		s.OK++
	} else {
		s.Failed++
	}
	if l.hit {
		s.Hits++
	}
}

// feed reads items and starts them, as long as there are slots. It closes out, or has forward do
// so, when the last one has ended.
func (b *batch) feed(next itemSource) {
	defer func() {
		if b.queue != nil {
			close(b.queue)
			return
		}
		b.items.Wait()
		close(b.out)
	}()
	for index := 0; ; index++ {
		select {
		case b.slots <- struct{}{}:
		case <-b.ctx.Done():
			return
		}
		it, err := next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				// The client has gone, or what it sends is no HTTP any more.
				b.broken = request.Errorf(request.ProblemBadRequest, "the input broke off after %d items: %w", index, err)
				b.cancel()
			}
			return
		}
		it.index = index
		to := b.out
		if b.queue != nil {
			to = make(chan *batchLine, 1)
			b.queue <- to // has room for as many as there are slots
		}
		select {
		case b.working <- struct{}{}:
		case <-b.ctx.Done(): // the item gets its line all the same
		}
		b.items.Go(func() {
			line := b.answer(it)
			select {
			case <-b.working:
			default: // begun after the end of ctx
			}
			to <- line
		})
	}
}

// forward brings the lines into the order of the input.
func (b *batch) forward() {
	for line := range b.queue {
		b.out <- <-line
	}
	close(b.out)
}

// answer asks for one item and makes its line.
func (b *batch) answer(it rawItem) (line *batchLine) {
	x := &exchange{Context: b.ctx, id: b.x.id + "." + strconv.Itoa(it.index), arrived: time.Now()}
	defer func() {
		if fault := recover(); fault != nil {
			b.d.log.ErrorContext(x, "a batch item panicked", "panic", fault, "stack", string(debug.Stack()))
			line = b.errorLine(x, it, errors.New("panic"))
		}
	}()
	over := b.in.tenant.count()
	if it.err != nil {
		return b.errorLine(x, it, it.err)
	}
	c, err := parseCall(it.raw)
	it.id = c.id
	if over != nil {
		return b.errorLine(x, it, over)
	}
	if err != nil {
		return b.errorLine(x, it, err)
	}
	req, err := b.d.build(c, b.in, x.id, x.arrived)
	if err != nil {
		return b.errorLine(x, it, err)
	}
	x.bind(req)
	defer x.release()
	resp, err := b.d.o.Doer.Do(x, req)
	if err != nil {
		return b.errorLine(x, it, err)
	}
	if err := checkStatus(resp); err != nil {
		_ = resp.Body.Close()
		return b.errorLine(x, it, err)
	}
	body, err := request.ReadAll(resp, b.limits.MaxBodyBytes)
	if err != nil {
		return b.errorLine(x, it, err)
	}
	return it.line(resp, body)
}

// errorLine is the line of an item that has no answer.
func (b *batch) errorLine(x *exchange, it rawItem, err error) *batchLine {
	f := classify(x, err)
	if b.ctx.Err() == nil {
		b.d.logFault(x, f, err)
	}
	doc := f.document(x.id, "/v1/batch#"+strconv.Itoa(it.index))
	if f.RetryAfter > 0 {
		doc.RetryAfter = retryAfterSeconds(f.RetryAfter)
	}
	return &batchLine{ID: it.id, Index: it.index, Line: it.number, Status: doc.Status, Error: &doc}
}

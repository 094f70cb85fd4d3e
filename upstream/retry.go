package upstream

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

const (
	// drainBytes and drainTime bound what is read of a discarded answer's body in order to keep
	// its connection; a longer or slower one costs the connection.
	drainBytes = 32 << 10
	drainTime  = 100 * time.Millisecond
)

// run makes attempts until one is to be handed on.
func (x *exchange) run() (*request.Response, error) {
	for retry := 0; ; retry++ {
		resp, f := x.attempt(retry)
		if resp != nil {
			delay, again := time.Duration(0), false
			if x.s.retriesStatus(resp.StatusCode) && !considered(resp.Header) {
				delay, again = x.mayRetry(retry, resp.Header)
			}
			if !again {
				return x.deliver(resp)
			}
			x.discard(resp)
			f = x.wait(delay)
		} else {
			if !f.connection {
				return x.fail(f)
			}
			delay, again := x.mayRetry(retry, nil)
			if !again {
				return x.fail(f)
			}
			f = x.wait(delay)
		}
		if f.err != nil {
			return x.fail(f)
		}
	}
}

// considered reports whether a failure is one that somebody wrote down, such as a page about
// maintenance: it says how long it holds or since when it is so, and not when to try again. To ask
// anew at once would give the same.
func considered(h http.Header) bool {
	if len(h["Retry-After"]) > 0 {
		return false
	}
	if len(h["Last-Modified"])+len(h["Expires"]) > 0 {
		return true
	}
	for _, line := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(line), "max-age") || strings.Contains(strings.ToLower(line), "s-maxage") {
			return true
		}
	}
	return false
}

// mayRetry decides about a retry, pays for it, and says how long to wait first. retry counts from 0.
// header is the answer's, nil if there is none.
func (x *exchange) mayRetry(retry int, header http.Header) (delay time.Duration, ok bool) {
	o := &x.s.opts.Retry
	if retry+1 >= o.MaxAttempts || o.BudgetRatio.Get() <= 0 || !x.repeatable() || x.ctx.Err() != nil {
		return 0, false
	}
	delay = jitter(o.BaseDelay, o.MaxDelay, retry)
	now := time.Now()
	if after, told := request.RetryAfter(header, now); told {
		if after > o.MaxDelay {
			return 0, false
		}
		delay = max(delay, after)
	}
	most := o.MaxDelay
	if deadline, has := x.ctx.Deadline(); has {
		most = min(most, deadline.Sub(now))
		if deadline.Sub(now) <= delay {
			return 0, false
		}
	}
	if !x.s.breaker.closed() {
		return 0, false
	}
	if !x.c.budget.withdraw(now) {
		x.c.meters.budgetExhausted.Inc()
		return 0, false
	}
	if o.Room != nil {
		wait, ok := o.Room(x.r, most)
		if !ok {
			x.c.budget.giveBack()
			return 0, false
		}
		delay = max(delay, wait)
	}
	x.c.meters.retries.Inc()
	return delay, true
}

// repeatable reports whether sending the request twice does no more than once.
func (x *exchange) repeatable() bool {
	if !x.r.Replayable() {
		return false
	}
	if request.IdempotentMethod(x.r.Method) {
		return true
	}
	// A batch of look-ups is often a POST; its members' own method tells what it does.
	if x.r.Items > 0 && request.IdempotentMethod(x.r.Route.Method) {
		return true
	}
	key := x.header["Idempotency-Key"]
	return len(key) > 0 && key[0] != ""
}

// jitter draws evenly from [0, min(most, base*2^retry)].
func jitter(base, most time.Duration, retry int) time.Duration {
	ceiling := most
	if retry < 62 && base <= most>>retry {
		ceiling = base << retry
	}
	return time.Duration(rand.Int64N(int64(ceiling) + 1))
}

// discard ends an attempt whose answer is not handed on.
func (x *exchange) discard(resp *http.Response) {
	if resp.Body != http.NoBody && resp.ContentLength <= drainBytes {
		slow := time.AfterFunc(drainTime, func() { resp.Body.Close() })
		n, _ := io.CopyN(io.Discard, resp.Body, drainBytes)
		slow.Stop()
		x.read.Store(n)
	}
	resp.Body.Close()
	x.report(statusOutcome(x.status), statusVerdict(x.status))
}

// wait sleeps before a retry. Its failure says that the request ended meanwhile.
func (x *exchange) wait(delay time.Duration) failure {
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-x.ctx.Done():
		}
	}
	if x.ctx.Err() != nil {
		f, ok := x.ownFailure()
		if !ok {
			f.err = context.Cause(x.ctx)
		}
		return f
	}
	return failure{}
}

package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync/atomic"
	"time"

	"penstock/observe"
	"penstock/request"
)

// exchange is one request with all its attempts, and the body of its answer. Its attempts follow
// each other; what belongs to the present one is in the second part.
type exchange struct {
	c         *Client
	s         *settings
	r         *request.Request
	routeName string
	meters    *routeMeters
	parent    context.Context // the caller's
	ctx       context.Context // ends with parent, by total, or by end
	cancel    context.CancelFunc
	total     time.Duration
	began     time.Time
	url       *url.URL
	header    http.Header
	stream    *stream // nil: the body is r.Data
	ended     atomic.Bool

	start    time.Time
	inFlight int
	retry    int // tries before this one
	ticket   ticket
	status   int
	answer   http.Header
	quota    *observe.Quota
	reported atomic.Bool

	body   io.ReadCloser // of the answer handed on
	limit  int64         // bytes of body allowed; -1: no bound
	want   int64         // bytes of body announced; -1: unknown
	read   atomic.Int64
	result error // what Read gives from now on; only Read's goroutine uses it
}

func (x *exchange) name() string { return x.c.name }

// attempt makes the call once. It returns an answer, or what went wrong.
func (x *exchange) attempt(retry int) (*http.Response, failure) {
	t, wait, ok := x.s.breaker.allow()
	if !ok {
		x.c.meters.breakerRejected.Inc()
		return nil, x.breakerOpen(wait)
	}
	x.retry = retry
	if retry == 0 {
		x.c.budget.deposit(x.s.opts.Retry.BudgetRatio.Get())
	}
	x.ticket = t
	x.reported.Store(false)
	x.status, x.answer, x.quota = 0, nil, nil
	x.read.Store(0)
	x.inFlight = int(x.c.inFlight.Add(1))
	x.start = time.Now()
	resp, err := x.s.transport.RoundTrip(x.httpRequest())
	if err != nil {
		f := x.callFailure(err)
		x.report(f.outcome, f.verdict)
		return nil, f
	}
	x.status, x.answer = resp.StatusCode, resp.Header
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		f := kindUpgrade.failure(x, nil)
		x.report(f.outcome, f.verdict)
		return nil, f
	}
	incoming(resp.Header)
	if x.c.meters.onCall != nil {
		x.quota = ReadQuota(resp.Header, time.Now())
	}
	// Others wait for a probe, whose body may be a stream without end; and mayRetry wants to know.
	if v := statusVerdict(x.status); v == verdictFailure || x.ticket.isProbe() {
		x.ticket.settle(v)
	}
	return resp, failure{}
}

func (x *exchange) httpRequest() *http.Request {
	req := &http.Request{
		Method: x.r.Method, URL: x.url, Host: x.s.base.host, Header: x.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	switch {
	case x.stream != nil && x.stream.length != 0:
		req.Body, req.ContentLength = x.stream, x.stream.length
	case len(x.r.Data) > 0:
		data := x.r.Data
		req.Body, req.ContentLength = request.NewBody(data), int64(len(data))
		// net/http itself sends anew what a connection that had just been closed did not take.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	}
	ctx := x.ctx
	if hear := x.r.Interim; hear != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code != http.StatusContinue {
				h := http.Header(header)
				incoming(h)
				hear.WriteInterim(code, h)
			}
			return nil
		}})
	}
	return req.WithContext(ctx)
}

func (x *exchange) breakerOpen(wait time.Duration) failure {
	return failure{outcome: observe.OutcomeDown, err: &request.Error{
		Problem: request.ProblemBreakerOpen, ProxyStatus: "destination_unavailable", Upstream: x.name(), RetryAfter: wait,
		Timing: request.Timing{Upstream: time.Since(x.began)},
		Detail: fmt.Sprintf("upstream %q failed too often and is given a rest; try again in %s (settings: breaker.failure_ratio, breaker.open_for)", x.name(), wait.Round(time.Millisecond)),
	}}
}

// report tells observe and the breaker how the attempt ended. Only the first report counts.
func (x *exchange) report(o observe.Outcome, v verdict) {
	if !x.reported.CompareAndSwap(false, true) {
		return
	}
	x.ticket.settle(v)
	x.c.inFlight.Add(-1)
	took := time.Since(x.start)
	m := x.c.meters
	x.meters.requests[o].Inc()
	x.meters.duration.Update(took.Seconds())
	m.received.AddInt64(x.read.Load())
	if x.stream != nil {
		m.sent.AddInt64(x.stream.read.Load())
	} else {
		m.sent.AddInt64(int64(len(x.r.Data)))
	}
	if m.onCall != nil {
		m.onCall(observe.Call{
			Upstream: x.name(), Route: x.routeName, Start: x.start, Duration: took, Status: x.status,
			Outcome: o, InFlight: x.inFlight, Retry: x.retry, Items: max(1, x.r.Items), Bytes: x.read.Load(), Header: x.answer,
			Quota: x.quota,
		})
	}
}

// end releases what the exchange holds. It may be called more than once.
func (x *exchange) end() {
	if !x.ended.CompareAndSwap(false, true) {
		return
	}
	x.cancel()
	if x.stream != nil {
		x.stream.Close()
	}
	x.s.transport.release()
}

// fail ends the exchange without an answer.
func (x *exchange) fail(f failure) (*request.Response, error) {
	x.end()
	return nil, f.err
}

// deliver hands the answer on.
func (x *exchange) deliver(resp *http.Response) (*request.Response, error) {
	answer := &request.Response{
		Status: resp.StatusCode, Header: resp.Header, Trailer: resp.Trailer, ContentLength: resp.ContentLength,
		Timing: request.Timing{Upstream: time.Since(x.began)},
	}
	if x.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		answer.ContentLength = 0 // whatever the header says that the body would have been
	}
	x.body, x.limit, x.want = resp.Body, x.s.opts.MaxResponseBytes, answer.ContentLength
	if x.limit >= 0 && answer.ContentLength > x.limit {
		x.report(observe.OutcomeError, verdictNone)
		resp.Body.Close()
		x.end()
		return nil, x.tooLarge()
	}
	if resp.Body == http.NoBody {
		x.report(statusOutcome(x.status), statusVerdict(x.status))
		x.end()
		answer.Body = http.NoBody
		return answer, nil
	}
	answer.Body = x
	return answer, nil
}

func (x *exchange) tooLarge() error {
	err := request.AnswerTooLarge(x.limit)
	err.Upstream = x.name()
	err.Timing.Upstream = time.Since(x.began)
	return err
}

// Read reads the answer's body. Its errors but io.EOF are as those of [Client.Do].
func (x *exchange) Read(p []byte) (int, error) {
	if x.result != nil {
		return 0, x.result
	}
	if len(p) == 0 {
		return 0, nil
	}
	had := x.read.Load()
	if x.limit >= 0 && int64(len(p)) > x.limit-had+1 {
		p = p[:x.limit-had+1] // one more than allowed, to see whether there is more
	}
	late := x.ctx.Err() != nil
	n, err := x.body.Read(p)
	if x.limit >= 0 && had+int64(n) > x.limit {
		n = int(x.limit - had)
		x.read.Add(int64(n))
		x.result = x.tooLarge()
		x.report(observe.OutcomeError, verdictNone)
		x.body.Close()
		x.end()
		return n, x.result
	}
	x.read.Add(int64(n))
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		x.report(statusOutcome(x.status), statusVerdict(x.status))
	case x.reported.Load(): // closed by another goroutine
	default:
		f := x.bodyFailure(err, late)
		x.report(f.outcome, f.verdict)
		err = f.err
	}
	x.result = err
	x.end()
	return n, err
}

// Close ends the call, whether or not the body has ended.
func (x *exchange) Close() error {
	if x.want >= 0 && x.read.Load() >= x.want {
		x.report(statusOutcome(x.status), statusVerdict(x.status))
	} else if v := statusVerdict(x.status); v == verdictFailure {
		x.report(statusOutcome(x.status), v)
	} else {
		x.report(observe.OutcomeCanceled, verdictNone)
	}
	err := x.body.Close()
	x.end()
	return err
}

// statusOutcome classes a status for observe.
func statusOutcome(status int) observe.Outcome {
	switch {
	case status < 400:
		return observe.OutcomeOK
	case status == http.StatusTooManyRequests:
		return observe.OutcomeRefused
	case status == http.StatusRequestTimeout:
		return observe.OutcomeTimeout
	case status == http.StatusTooEarly:
		return observe.OutcomeError
	case status < 500:
		return observe.OutcomeClient
	case status == http.StatusServiceUnavailable || status == 529:
		return observe.OutcomeOverload
	case status == http.StatusGatewayTimeout:
		return observe.OutcomeTimeout
	}
	return observe.OutcomeError
}

// statusVerdict is what a status tells the breaker. 429 tells nothing: the quota, not the upstream,
// has given out.
func statusVerdict(status int) verdict {
	switch {
	case status == http.StatusTooManyRequests:
		return verdictNone
	case status >= 500 && status != http.StatusNotImplemented:
		return verdictFailure
	}
	return verdictSuccess
}

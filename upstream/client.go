package upstream

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"penstock/observe"
	"penstock/request"
)

// Client makes the calls to one upstream. It implements [request.Doer].
type Client struct {
	name     string
	settings atomic.Pointer[settings]
	meters   *meters
	budget   *budget // lives on across reloads
	inFlight atomic.Int64
	conns    atomic.Int64
	closed   atomic.Bool
}

var _ request.Doer = (*Client)(nil)

// New makes a Client. It reads the credentials and the TLS files, and connects to nothing. The
// error joins every fault found.
func New(o Options, m Metrics) (*Client, error) {
	c := &Client{name: o.Name, budget: newBudget()}
	s, err := newSettings(o, nil, &c.conns)
	if err != nil {
		return nil, err
	}
	c.settings.Store(s)
	c.meters = newMeters(m, c)
	return c, nil
}

// Prepare validates o and reads the credentials and TLS files anew; nothing changes until commit
// is called, which can't fail. Calls in flight keep their settings. Connections live on if
// nothing that shapes them has changed, and so does the breaker's state if its options and the
// host are the same. The retry budget always does.
func (c *Client) Prepare(o Options) (commit func(), err error) {
	if o.Name != c.name {
		return nil, fmt.Errorf("upstream %q can't be renamed to %q by a reload; it is another upstream", c.name, o.Name)
	}
	s, err := newSettings(o, c.settings.Load(), &c.conns)
	if err != nil {
		return nil, err
	}
	return func() {
		if old := c.settings.Swap(s); old.transport != s.transport {
			old.transport.retire()
		}
		if c.closed.Load() {
			s.transport.retire()
		}
	}, nil
}

// Do makes the call, and makes it again as [Retry] says. See [request.Doer] for what it returns.
// It closes r.Stream, at the latest when the answer's body has ended or was closed.
func (c *Client) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	x, err := c.begin(ctx, r)
	if err != nil {
		if r.Stream != nil {
			r.Stream.Close()
		}
		return nil, err
	}
	return x.run()
}

// begin checks r and makes all that its attempts share.
func (c *Client) begin(ctx context.Context, r *request.Request) (*exchange, error) {
	s := c.settings.Load()
	if c.closed.Load() {
		return nil, &request.Error{Problem: request.ProblemShuttingDown, Upstream: c.name, Detail: fmt.Sprintf("upstream %q was removed or the service is shutting down", c.name)}
	}
	if err := checkMethod(r.Method); err != nil {
		return nil, err
	}
	u, err := s.base.url(r.Path, s.query(r.RawQuery))
	if err != nil {
		return nil, err
	}
	header, err := s.outgoing(r)
	if err != nil {
		return nil, err
	}
	setTrace(header, observe.TraceOf(ctx))
	x := &exchange{c: c, s: s, r: r, parent: ctx, url: u, header: header, began: time.Now(), total: s.opts.Timeouts.Total}
	x.routeName = request.ProxyRoute
	if r.Route != nil {
		x.routeName = r.Route.Name
		if r.Route.Timeout > 0 {
			x.total = r.Route.Timeout
		}
	}
	if ctx.Err() != nil {
		return nil, x.abandoned()
	}
	x.meters = c.meters.route(x.routeName)
	x.ctx, x.cancel = context.WithTimeoutCause(ctx, x.total, errTotal)
	if r.Stream != nil {
		x.stream = newStream(x.ctx, r.Stream, r.StreamLength)
	}
	s.transport.acquire()
	return x, nil
}

// checkMethod refuses what is not a method, CONNECT, which asks for a tunnel, and TRACE, whose
// answer would show the injected credentials.
func checkMethod(m string) error {
	switch {
	case m == http.MethodConnect || m == http.MethodTrace:
		return &request.Error{Problem: request.ProblemMethodNotAllowed, Detail: "the method " + m + " is not passed on to upstreams"}
	case !validToken(m):
		return &request.Error{Problem: request.ProblemBadRequest, Detail: "the method is not a token (RFC 9110, section 9.1)"}
	}
	return nil
}

// Close closes the idle connections, and those in use when their calls have ended. Calls begun
// later are refused. It may be called more than once.
func (c *Client) Close() {
	c.closed.Store(true)
	c.settings.Load().transport.retire()
}

// State is a snapshot of a Client.
type State struct {
	// Upstream is the name.
	Upstream string
	// Breaker is the breaker's state, and BreakerSince when it came to it.
	Breaker      BreakerState
	BreakerSince time.Time
	// BreakerRetryAfter is how long an open breaker stays so; 0 if it is not open.
	BreakerRetryAfter time.Duration
	// InFlight is how many calls there are whose answer's body has not ended.
	InFlight int
	// RetryBudget is how many retries could be made at once now.
	RetryBudget float64
	// RetriesDenied is how many retries the budget did not pay for, in all.
	RetriesDenied uint64
	// Connections is how many connections are open, in use or idle.
	Connections int
}

// State returns a snapshot.
func (c *Client) State() State {
	b := c.settings.Load().breaker
	st := State{
		Upstream:    c.name,
		InFlight:    int(c.inFlight.Load()),
		RetryBudget: c.budget.left(time.Now()), RetriesDenied: c.meters.budgetExhausted.Get(),
		Connections: int(c.conns.Load()),
	}
	st.Breaker, st.BreakerSince = b.state()
	if st.Breaker == BreakerOpen {
		st.BreakerRetryAfter = b.wait()
	}
	return st
}

package api

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"time"

	"penstock/request"
)

// Lane answers fresh hits of the proxy path ahead of net/http's server, which costs more than the cache
// itself: it parses into maps that a hit hardly looks at, starts timers, and sorts headers. What the
// lane does not know by heart goes on to net/http, byte by byte as it came.
//
// It lives in the Read of a connection. net/http's server reads from a connection that has no
// request in work, the lane sees the bytes first, answers what it can straight into the connection,
// and reads on; the first request that it can't answer is what Read returns. So the server's
// goroutine, its timeouts and its shutdown hold for the lane's requests too.
//
// It takes only what it understands beyond doubt: GET and HEAD in HTTP/1.1 with CRLF, a path of plain
// characters, fields of plain characters, no body, none of the fields that steer a connection. Nothing
// is refused here: what is odd is net/http's to judge. A tenant with a quota goes there too, since its
// requests are counted there.
type Lane struct {
	d         *data
	o         LaneOptions
	recaller  request.Recaller
	recognize func(*http.Request) (Tenant, error)
}

// LaneOptions are the settings of a Lane.
type LaneOptions struct {
	// IdleTimeout is how long a connection may wait for its next request, HeaderTimeout how long a
	// request may take to arrive, as in http.Server; 0: for ever.
	IdleTimeout, HeaderTimeout time.Duration
	// Closed says that all requests are to go to net/http, as when the service drains; nil: never.
	// It is called for each request.
	Closed func() bool
}

// recognizer is what Tenants must be able to do for the lane: to tell who asks without counting.
type recognizer interface {
	Recognize(r *http.Request) (Tenant, error)
}

// NewLane returns the lane of a handler made by [NewData]; nil, which is a lane that takes nothing, if
// its Doer knows nothing by heart.
func NewLane(h http.Handler, o LaneOptions) *Lane {
	d, ok := h.(*data)
	if !ok {
		return nil
	}
	l := &Lane{d: d, o: o}
	if l.recaller, ok = d.o.Doer.(request.Recaller); !ok {
		return nil
	}
	if d.o.Tenants == nil {
		l.recognize = func(*http.Request) (Tenant, error) { return Tenant{}, nil }
	} else if r, ok := d.o.Tenants.(recognizer); ok {
		l.recognize = r.Recognize
	} else {
		return nil
	}
	return l
}

// Wrap returns c with the lane in its Read. The server that gets it must call [AtRest].
func (l *Lane) Wrap(c net.Conn) net.Conn {
	if l == nil {
		return c
	}
	return &laneConn{Conn: c, lane: l, resting: true, writing: make(chan struct{}, 1)}
}

// AtRest tells a connection that the server has answered all that it read from it. The server's
// ConnState calls it with http.StateIdle.
func AtRest(c net.Conn) {
	if lc, ok := c.(*laneConn); ok {
		lc.resting = true
		lc.plain = lc.plain || lc.due > 0 // it left a part of a body
	}
}

const (
	laneBuffer = 4 << 10
	// maxLaneHead is the longest request that the lane looks at.
	maxLaneHead = 8 << 10
	// rearmShare is the part of the idle timeout by which its end may come too early: a deadline
	// is not set for each request.
	rearmShare = 8
)

// laneConn is a connection with the lane in its Read. Its fields belong to whoever reads; net/http
// orders its own reads.
type laneConn struct {
	net.Conn
	lane *Lane
	// buf is what came and was not handed on yet.
	buf []byte
	// due is how much of what comes next belongs to the request that net/http has in work.
	due int64
	// resting: net/http has no request in work and holds no byte of the next one.
	resting bool
	// plain: net/http may hold bytes beyond the request that it works on, so that the lane does not
	// know any more where requests begin.
	plain bool
	armed time.Time // when the lane set the deadline for idle connections last
	slow  bool      // the deadline is one for a request that is arriving
	turn  *laneTurn

	writing chan struct{} // has room for one, who writes an answer or closes: Close must not cut one
}

// Read gives net/http what is not the lane's.
func (c *laneConn) Read(p []byte) (int, error) {
	switch {
	case c.plain:
	case c.due > 0:
		n, err := c.readRaw(p[:min(int64(len(p)), c.due)])
		c.due -= int64(n)
		return n, err
	case c.resting:
		return c.look(p)
	case len(p) == 1:
		return c.watch(p)
	}
	n, err := c.readRaw(p)
	c.plain = c.plain || n > 0
	return n, err
}

// readRaw reads what is there already, or else from the connection.
func (c *laneConn) readRaw(p []byte) (int, error) {
	if len(c.buf) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.buf)
	c.drop(n)
	return n, nil
}

// watch is for net/http's look whether the client is still there, while it works on a request: a read
// of one byte, which it ends by a deadline. If the byte were given to it, requests would begin where
// the lane does not see it, so what comes is kept until net/http rests.
func (c *laneConn) watch(p []byte) (int, error) {
	for len(c.buf) < maxLaneHead {
		if err := c.fill(); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); len(c.buf) == 0 || ok && timeout.Timeout() {
				return 0, err
			}
			break // the client has said all that it has to say, but waits for answers
		}
	}
	n, err := c.readRaw(p)
	c.plain = true
	return n, err
}

// look answers requests until there is one that is net/http's.
func (c *laneConn) look(p []byte) (int, error) {
	for {
		end := bytes.Index(c.buf, headEnd)
		if end >= 0 {
			end += len(headEnd)
			answered, err := c.serve(c.buf[:end])
			if err != nil {
				return 0, err
			}
			if answered {
				c.drop(end)
				c.rearm()
				continue
			}
			c.resting = false
			if length, ok := bodyLength(c.buf[:end]); ok {
				c.due = int64(end) + length
			} else {
				c.plain = true
			}
			return c.Read(p)
		}
		if len(c.buf) >= maxLaneHead || bareNewline(c.buf) {
			return c.surrender(p)
		}
		if err := c.await(); err != nil {
			if len(c.buf) > 0 {
				return c.surrender(p) // the error comes again at the next read
			}
			return 0, err
		}
	}
}

var headEnd = []byte("\r\n\r\n")

// bareNewline reports whether a line ends without CR, which net/http may take for the end of a line.
func bareNewline(b []byte) bool {
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			return true
		}
	}
	return false
}

// surrender leaves the rest of the connection to net/http.
func (c *laneConn) surrender(p []byte) (int, error) {
	c.resting, c.plain = false, true
	return c.Read(p)
}

// await reads on. A request that has begun to arrive must not take for ever.
func (c *laneConn) await() error {
	if len(c.buf) > 0 && !c.slow && c.lane.o.HeaderTimeout > 0 {
		c.slow = true
		if err := c.SetReadDeadline(time.Now().Add(c.lane.o.HeaderTimeout)); err != nil {
			return err
		}
	}
	return c.fill()
}

// fill reads into the buffer, which must not be full.
func (c *laneConn) fill() error {
	if c.buf == nil {
		c.buf = make([]byte, 0, laneBuffer)
	}
	if len(c.buf) == cap(c.buf) {
		c.buf = append(make([]byte, 0, maxLaneHead), c.buf...)
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

func (c *laneConn) drop(n int) {
	rest := copy(c.buf, c.buf[n:])
	c.buf = c.buf[:rest]
}

// rearm gives the connection time for its next request, as net/http does between requests.
func (c *laneConn) rearm() {
	now := c.turn.x.arrived
	if !c.slow && now.Sub(c.armed) < c.lane.o.IdleTimeout/rearmShare {
		return
	}
	c.armed, c.slow = now, false
	until := time.Time{}
	if c.lane.o.IdleTimeout > 0 {
		until = now.Add(c.lane.o.IdleTimeout)
	}
	_ = c.SetReadDeadline(until) // the next read shows what is wrong with the connection
}

// closeGrace is how long an answer under way may keep a connection from being closed.
const closeGrace = time.Second

// Close waits for the answer that is being written, for a moment.
func (c *laneConn) Close() error {
	select {
	case c.writing <- struct{}{}:
	default:
		_ = c.SetWriteDeadline(time.Now().Add(closeGrace))
		c.writing <- struct{}{}
	}
	defer func() { <-c.writing }()
	return c.Conn.Close()
}

// CloseWrite lets net/http close its side first where it wants to.
func (c *laneConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

package api

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/request"
)

// serve answers the request of that head, if the lane can. An error ends the connection.
func (c *laneConn) serve(head []byte) (answered bool, err error) {
	l := c.lane
	if l.o.Closed != nil && l.o.Closed() {
		return false, nil
	}
	if c.turn == nil {
		c.turn = new(laneTurn)
		c.turn.r.RemoteAddr = c.RemoteAddr().String()
	}
	t := c.turn
	if !t.read(string(head)) {
		return false, nil
	}
	resp := l.recall(t)
	if resp == nil {
		return false, nil
	}
	defer resp.Body.Close()
	t.write(l.d, resp)
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	return true, t.send(c.Conn)
}

// recall asks the cache as serveProxy does. What that would refuse is left to it.
func (l *Lane) recall(t *laneTurn) *request.Response {
	d, r, x := l.d, &t.r, &t.x
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		return nil // each request is logged there
	}
	tenant, err := l.recognize(r)
	if err != nil || tenant.Quota != nil {
		return nil
	}
	*x = exchange{Context: context.Background(), arrived: time.Now()}
	req, err := d.proxyRequest(r, x)
	if err != nil {
		return nil
	}
	if _, err = d.takeHeaders(r.Header, req, tenant); err != nil {
		return nil
	}
	id := r.Header[headerRequestID]
	d.stripHeaders(r, req)
	resp := l.recaller.Recall(req, x.arrived)
	if resp == nil {
		return nil
	}
	if x.id = ""; len(id) == 1 && len(id[0]) <= maxRequestIDBytes && visible(id[0]) {
		x.id = id[0]
	}
	return resp
}

// laneBody takes a body as it is handed out: in one piece, which is not copied.
type laneBody struct{ piece []byte }

// Write implements io.Writer.
func (b *laneBody) Write(p []byte) (int, error) {
	b.piece = p
	return len(p), nil
}

// maxJoined is the longest body that is copied behind its head, to be written by one call.
const maxJoined = 16 << 10

// write makes the answer: what copyHeader and setLength would make of it, without a map.
func (t *laneTurn) write(d *data, resp *request.Response) {
	b := append(t.out[:0], "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(resp.Status), 10), ' ')
	b = append(append(b, http.StatusText(resp.Status)...), "\r\n"...)
	bodyless := t.r.Method == http.MethodHead || noBody(resp.Status)
	for name, lines := range resp.Header {
		switch name {
		case "Cache-Status", "Server-Timing", "Via", headerRequestID, "Age":
			continue // with what we say ourselves
		case "Content-Type":
			if resp.Status == http.StatusNotModified {
				continue // as net/http does
			}
		case "Content-Length":
			if !bodyless || resp.Status == http.StatusNoContent {
				continue
			}
		}
		if request.HopByHop(name) || forCaches(name) {
			continue
		}
		for _, line := range lines {
			b = appendField(b, name, line)
		}
	}
	if !bodyless {
		b = strconv.AppendInt(append(b, "Content-Length: "...), resp.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	if len(resp.Header["Date"]) == 0 {
		b = appendField(b, "Date", t.x.arrived.UTC().Format(http.TimeFormat))
	}
	t.out = append(t.appendOwn(b, d, resp), "\r\n"...)
	t.body.piece = nil
	if held, ok := resp.Body.(io.WriterTo); ok && !bodyless {
		_, _ = held.WriteTo(&t.body)
	}
}

// appendOwn writes what Penstock has to say.
func (t *laneTurn) appendOwn(b []byte, d *data, resp *request.Response) []byte {
	c := &resp.Cache
	for _, line := range resp.Header["Cache-Status"] {
		b = appendField(b, "Cache-Status", line)
	}
	b = append(appendCacheStatus(append(b, "Cache-Status: "...), c), "\r\n"...)
	if c.HasAge {
		b = strconv.AppendInt(append(b, "Age: "...), max(0, int64(c.Age/time.Second)), 10)
		b = append(b, "\r\n"...)
	}
	for _, line := range resp.Header["Server-Timing"] {
		b = appendField(b, "Server-Timing", line)
	}
	if d.o.ServerTiming() {
		b = appendField(b, "Server-Timing", serverTiming(c, resp.Timing))
	}
	for _, line := range resp.Header["Via"] {
		b = appendField(b, "Via", line)
	}
	b = append(append(b, "Via: "...), via[0]...)
	b = append(b, "\r\n"+headerRequestID+": "...)
	if t.x.id != "" {
		b = append(b, t.x.id...)
	} else {
		b = appendID(b, t.x.arrived)
	}
	return append(b, "\r\n"...)
}

// appendField writes a header line. A line break in a value must not become one of the answer's.
func appendField(b []byte, name, value string) []byte {
	if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// send writes the answer to the client.
func (t *laneTurn) send(w net.Conn) error {
	if len(t.body.piece) <= maxJoined {
		t.out = append(t.out, t.body.piece...)
		_, err := w.Write(t.out)
		return err
	}
	pieces := net.Buffers{t.out, t.body.piece}
	_, err := pieces.WriteTo(w)
	return err
}

package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recording is a connection whose client has said all it will ever say: Read gives it piece by piece and then io.EOF, and what
// the server writes is kept.
type recording struct {
	piece int

	mu     sync.Mutex // guards all below
	said   []byte
	heard  bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (c *recording) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.said[:min(len(c.said), c.piece)])
	c.said = c.said[n:]
	return n, nil
}

func (c *recording) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard.Write(p)
}

func (c *recording) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *recording) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *recording) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (c *recording) SetDeadline(time.Time) error      { return nil }
func (c *recording) SetReadDeadline(time.Time) error  { return nil }
func (c *recording) SetWriteDeadline(time.Time) error { return nil }

// converse has a server read all of said, in pieces, and gives what it answered.
func converse(l *pipes, said []byte, piece int) []byte {
	c := &recording{piece: piece, said: said, closed: make(chan struct{})}
	l.conns <- c
	<-c.closed
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard.Bytes()
}

// told is one answer, without what differs from one call to the next.
type told struct {
	status string
	header http.Header
	body   string
}

var anyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// parse takes a stream of answers apart. No body of these tests begins as an answer does, so what follows a head tells
// whether it has one.
func parse(stream []byte) (list []told, err error) {
	for len(stream) > 0 {
		method := http.MethodGet
		if end := bytes.Index(stream, headEnd); end >= 0 && (end+len(headEnd) == len(stream) || bytes.HasPrefix(stream[end+len(headEnd):], []byte("HTTP/1."))) {
			method = http.MethodHead
		}
		r := bufio.NewReaderSize(bytes.NewReader(stream), len(stream)+16)
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		stream = stream[len(stream)-r.Buffered():]
		t := told{resp.Status, resp.Header, anyID.ReplaceAllString(string(body), "ID")}
		t.header.Set("Length", fmt.Sprint(resp.ContentLength))
		for _, name := range []string{"X-Request-Id", "Date", "Server-Timing"} {
			t.header.Del(name)
		}
		if resp.StatusCode == http.StatusNoContent {
			t.header.Del("Content-Length") // RFC 9110, section 8.6, says none; net/http lets it pass
			t.header.Del("Length")
		}
		list = append(list, t)
	}
	return list, nil
}

// FuzzLaneConversation: whatever bytes a client sends, in whatever pieces they come, a server with the lane answers as the same
// server without it. A request that one of them sees and the other does not would be a way to smuggle it.
func FuzzLaneConversation(f *testing.F) {
	hit, miss, inner := head("GET", "/hit"), head("GET", "/miss"), head("GET", "/hit-smuggled")
	length := fmt.Sprint(len(inner))
	for _, text := range []string{
		hit, miss, hit + miss + hit, head("HEAD", "/hit-304") + head("GET", "/hit-204") + hit,
		head("POST", "/x", "Content-Length: "+length) + inner + hit,
		head("POST", "/x", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner) + hit,
		head("GET", "/hit", "Content-Length: "+length, "Transfer-Encoding: chunked") + inner + hit,
		head("GET", "/hit", "Content-Length: "+length, "Content-Length: 0") + inner + hit,
		head("GET", "/hit", "Content-Length: +5") + inner, head("GET", "/hit", "Content-Length: 0") + hit,
		head("GET", "/hit", "Content-Length : "+length) + inner, head("GET", "/hit", "content-length:\t"+length+" ") + inner + hit,
		head("GET", "/hit", "Transfer-Encoding: xchunked") + inner, head("GET", "/hit", "Transfer-Encoding:\x0bchunked") + inner,
		head("GET", "/hit", " folded: x") + hit, head("GET", "/hit", "A: b\n c: d") + hit, head("GET", "/hit", "A: b\r c: d") + hit,
		"GET /proxy/movies/hit HTTP/1.1\nHost: h\n\n" + hit, "\r\n" + hit, "\r\n\r\n" + hit, "GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\n" + hit,
		"GET /proxy/movies/hit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + hit, "get /proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\r\n" + hit,
		"GET  /proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\r\n", "GET /proxy/movies/hit HTTP/1.1 \r\nHost: h\r\n\r\n" + hit, "GET /proxy/movies/hit\r\n\r\n" + hit,
		head("GET", "/hit", "Connection: close") + hit, head("GET", "/hit", "Connection: upgrade", "Upgrade: websocket") + hit,
		head("POST", "/x", "Expect: 100-continue", "Content-Length: "+length) + inner + hit, head("GET", "/hit", "Host: other") + hit,
		"GET /proxy/movies/hit HTTP/1.1\r\nhost:h\r\nHOST:\r\n\r\n" + hit, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hit,
		head("GET", "/hit", "X-Deadline-Ms: 0"), head("GET", "/hit", "Range: bytes=0-1") + hit, head("GET", "//hit") + head("GET", "/hit/") + head("GET", "/./hit"),
	} {
		f.Add([]byte(text), byte(255))
		f.Add([]byte(text), byte(7))
	}
	with, without := newPipes(), newPipes()
	for _, s := range []*http.Server{
		serveLane(f, with, new(heart), LaneOptions{}),
		serveLane(f, without, new(heart), LaneOptions{Closed: func() bool { return true }}),
	} {
		// A client that has said all is not gone: it would be by chance that a failure is still told to it.
		next := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		})
	}
	f.Fuzz(func(t *testing.T, said []byte, piece byte) {
		if bytes.Contains(bytes.ToLower(said), []byte("x-request-id")) {
			return // it is shown as it came, and taken out above
		}
		a, errA := parse(converse(with, slices.Clone(said), int(piece)+1))
		b, errB := parse(converse(without, slices.Clone(said), int(piece)+1))
		if len(a) == len(b)+1 && strings.HasPrefix(a[len(b)].status, "400") {
			// Less than four bytes and an end are no request to net/http, but where they are the first that it sees of a connection.
			b, errB = parse(converse(without, append(slices.Clone(said), "xxxx"...), int(piece)+1))
		}
		if (errA == nil) != (errB == nil) || len(a) != len(b) {
			t.Fatalf("%q:\n lane   %d answers, %v\n server %d answers, %v", said, len(a), errA, len(b), errB)
		}
		for i := range a {
			if a[i].status != b[i].status || a[i].body != b[i].body || !maps.EqualFunc(a[i].header, b[i].header, slices.Equal) {
				t.Fatalf("%q, answer %d:\n lane   %s %v %.200q\n server %s %v %.200q", said, i,
					a[i].status, a[i].header, a[i].body, b[i].status, b[i].header, b[i].body)
			}
		}
	})
}

// TestTheFuzzedConversationsUseTheLane: a comparison in which the lane takes nothing would prove nothing.
func TestTheFuzzedConversationsUseTheLane(t *testing.T) {
	l, o := newPipes(), new(heart)
	serveLane(t, l, o, LaneOptions{})
	list, err := parse(converse(l, []byte(strings.Repeat(head("GET", "/hit")+head("GET", "/miss"), 3)), 5))
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if len(list) != 6 || o.recalled.Load() == 0 || o.asked.Load() < 3 {
		t.Errorf("%d answers, %d by the lane, %d by the server", len(list), o.recalled.Load(), o.asked.Load())
	}
}

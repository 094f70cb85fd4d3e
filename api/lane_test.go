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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// heart knows answers by heart by the path's last part: "hit..." is stored. It counts who was asked.
type heart struct {
	recalled, asked atomic.Int64
}

func stored(r *request.Request) *request.Response {
	name := r.Path[strings.LastIndexByte(r.Path, '/')+1:]
	body := "body of " + r.Path + "?" + r.RawQuery
	if strings.HasPrefix(name, "hit-large") {
		body = strings.Repeat(body, 4<<10)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"max-age=60"}, "Etag": {`"1"`}, "Vary": {"Accept", "Origin"},
		"Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Via": {"1.1 other"}, "Cache-Status": {"other; hit"}, "Surrogate-Key": {"a b"},
		"X-Request-Id": {"theirs"}, "Server-Timing": {"db;dur=3"}, "X-Break": {"a\r\nb: c"}}
	resp := &request.Response{Status: 200, Header: h, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body)),
		Cache: request.CacheStatus{Hit: true, HasTTL: true, TTL: 42 * time.Second, HasAge: true, Age: 18 * time.Second}}
	switch {
	case strings.HasPrefix(name, "hit-304"):
		resp.Status, resp.Body, resp.ContentLength = http.StatusNotModified, http.NoBody, 0
	case strings.HasPrefix(name, "hit-204"):
		resp.Status, resp.Body, resp.ContentLength = http.StatusNoContent, http.NoBody, 0
	case r.Method == http.MethodHead:
		h["Content-Length"] = []string{fmt.Sprint(len(body))}
		resp.Body = http.NoBody
	}
	return resp
}

func (o *heart) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	o.asked.Add(1)
	resp := stored(r)
	if r.Stream == nil && len(r.Data) > 0 {
		resp.Header = http.Header{"X-Body": {string(r.Data)}}
	}
	return resp, nil
}

func (o *heart) Recall(r *request.Request, _ time.Time) *request.Response {
	if !strings.Contains(r.Path, "/hit") || len(r.Header["Range"]) > 0 {
		return nil
	}
	o.recalled.Add(1)
	return stored(r)
}

// Recognize lets the tests' tenants into the lane.
func (h headerTenants) Recognize(r *http.Request) (Tenant, error) { return h.Identify(r) }

// laneListener puts the lane into what it accepts.
type laneListener struct {
	net.Listener
	lane *Lane
}

func (l laneListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.lane.Wrap(c), nil
}

func serveLane(t testing.TB, l net.Listener, o *heart, options LaneOptions, change ...func(*DataOptions)) *http.Server {
	t.Helper()
	h, err := NewData(DataOptions{Doer: o, Routes: newTable(t), Tenants: headerTenants{}})
	if err != nil {
		t.Fatal(err)
	}
	d := h.(*data)
	for _, f := range change {
		f(&d.o)
	}
	lane := NewLane(h, options)
	if lane == nil {
		t.Fatal("there is no lane")
	}
	s := &http.Server{Handler: h, IdleTimeout: options.IdleTimeout, ReadHeaderTimeout: options.HeaderTimeout,
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				AtRest(c)
			}
		}}
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(laneListener{l, lane}); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		done.Wait()
	})
	return s
}

// dialLane starts a server with the lane and returns one connection to it.
func dialLane(t *testing.T, options LaneOptions) (*heart, net.Conn, *bufio.Reader) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := new(heart)
	serveLane(t, l, o, options)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return o, c, bufio.NewReader(c)
}

func send(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// receive reads the answer to a request of that method.
func receive(t *testing.T, r *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp, string(body)
}

func head(method, path string, fields ...string) string {
	return method + " /proxy/movies" + path + " HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

// TestLaneAnswersAsTheServerDoes asks for the same twice: by the lane, and with a field that keeps the
// request off it.
func TestLaneAnswersAsTheServerDoes(t *testing.T) {
	o, c, r := dialLane(t, LaneOptions{})
	for _, q := range []struct {
		method, path string
		fields       []string
	}{
		{"GET", "/hit", nil},
		{"GET", "/hit?a=b&c=d", []string{"Accept: */*", "User-Agent: x"}},
		{"HEAD", "/hit", nil},
		{"GET", "/hit-large", nil},
		{"GET", "/hit-304", []string{`If-None-Match: "1"`}},
		{"GET", "/hit-204", nil},
		{"GET", "/hit", []string{"x-tenant: acme", "priority: u=1", "X-Deadline-Ms: 100"}},
		{"GET", "/hit", []string{"accept: a", "accept: b", "X-Odd-Name: v"}},
	} {
		before := o.recalled.Load()
		send(t, c, head(q.method, q.path, q.fields...))
		got, body := receive(t, r, q.method)
		if o.recalled.Load() != before+1 {
			t.Errorf("%s %s %q did not go by the lane", q.method, q.path, q.fields)
		}
		send(t, c, head(q.method, q.path, append(q.fields, "Te: trailers")...))
		want, wantBody := receive(t, r, q.method)
		if got.StatusCode != want.StatusCode || got.ContentLength != want.ContentLength || body != wantBody || got.Status != want.Status {
			t.Errorf("%s %s: %s, length %d, %d bytes; the server: %s, length %d, %d bytes", q.method, q.path,
				got.Status, got.ContentLength, len(body), want.Status, want.ContentLength, len(wantBody))
		}
		if len(got.Header["X-Request-Id"]) != 1 || len(got.Header["X-Request-Id"][0]) != 36 {
			t.Errorf("X-Request-Id is %q", got.Header["X-Request-Id"])
		}
		delete(got.Header, "X-Request-Id")
		delete(want.Header, "X-Request-Id")
		if q.path == "/hit-204" {
			delete(want.Header, "Content-Length") // RFC 9110, section 8.6: none on 204
		}
		if !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
			t.Errorf("%s %s:\n lane   %v\n server %v", q.method, q.path, got.Header, want.Header)
		}
	}
}

func TestLaneKeepsTheClientsRequestID(t *testing.T) {
	_, c, r := dialLane(t, LaneOptions{})
	send(t, c, head("GET", "/hit", "X-Request-Id: mine"))
	if resp, _ := receive(t, r, "GET"); resp.Header.Get("X-Request-Id") != "mine" {
		t.Errorf("X-Request-Id is %q", resp.Header["X-Request-Id"])
	}
}

// TestLaneAndServerShareAConnection mixes both, one after another and pipelined.
func TestLaneAndServerShareAConnection(t *testing.T) {
	for _, pipelined := range []bool{false, true} {
		o, c, r := dialLane(t, LaneOptions{IdleTimeout: time.Minute, HeaderTimeout: time.Minute})
		var paths []string
		for i := range 60 {
			path := fmt.Sprintf("/hit%d", i)
			if i%3 == 1 {
				path = fmt.Sprintf("/miss%d", i)
			}
			paths = append(paths, path)
			if !pipelined {
				send(t, c, head("GET", path))
				if _, body := receive(t, r, "GET"); body != "body of "+path+"?" {
					t.Fatalf("asked for %s, got %q", path, body)
				}
			}
		}
		if pipelined {
			var all strings.Builder
			for _, path := range paths {
				all.WriteString(head("GET", path))
			}
			send(t, c, all.String())
			for _, path := range paths {
				if _, body := receive(t, r, "GET"); body != "body of "+path+"?" {
					t.Fatalf("asked for %s, got %q", path, body)
				}
			}
		} else if o.recalled.Load() != 40 || o.asked.Load() != 20 {
			t.Errorf("%d by the lane and %d by the server, want 40 and 20", o.recalled.Load(), o.asked.Load())
		}
	}
}

func TestLaneReadsWhatArrivesInPieces(t *testing.T) {
	o, c, r := dialLane(t, LaneOptions{HeaderTimeout: time.Minute})
	for _, path := range []string{"/hit", "/miss", "/hit"} {
		for _, b := range []byte(head("GET", path, "Accept: text/plain")) {
			send(t, c, string(b))
		}
		if _, body := receive(t, r, "GET"); body != "body of "+path+"?" {
			t.Fatalf("asked for %s, got %q", path, body)
		}
	}
	if o.recalled.Load() == 0 {
		t.Error("nothing went by the lane")
	}
}

// TestLaneLeavesTheOddToTheServer sends what the lane must not judge, each on a connection of its own.
func TestLaneLeavesTheOddToTheServer(t *testing.T) {
	for text, status := range map[string]int{
		"GET /proxy/movies/hit HTTP/1.0\r\n\r\n":                                                      200,
		"GET /proxy/movies/hit HTTP/1.1\nHost: h\n\n":                                                 200,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\n":                                             200,
		"GET /proxy/movies/hit HTTP/1.1\r\n\r\n":                                                      400,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                                400,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost : a\r\n\r\n":                                          400,
		"GET http://h/proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\r\n":                                   200,
		"GET /proxy/movies/%68it HTTP/1.1\r\nHost: h\r\n\r\n":                                         200,
		"GET /proxy/movies/../hit HTTP/1.1\r\nHost: h\r\n\r\n":                                        400,
		"GET /proxy/nobody/hit HTTP/1.1\r\nHost: h\r\n\r\n":                                           404,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab":                    200,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":    200,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n":                      200,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n":                             200,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n":                                400,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nX-Deadline-Ms: no\r\n\r\n":                      400,
		"GET /proxy/movies/hit HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("x", 20<<10) + "\r\n\r\n": 200,
		"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n":                                                    200,
		"PURGE /proxy/movies/hit HTTP/1.1\r\nHost: h\r\n\r\n":                                         200,
		"\r\n\r\n": 400,
	} {
		o, c, r := dialLane(t, LaneOptions{HeaderTimeout: time.Minute})
		send(t, c, text)
		if resp, _ := receive(t, r, "GET"); resp.StatusCode != status {
			t.Errorf("%.80q: %d, want %d", text, resp.StatusCode, status)
		}
		if o.recalled.Load() > 0 {
			t.Errorf("%.80q went by the lane", text)
		}
	}
}

func TestABodyDoesNotConfuseTheLane(t *testing.T) {
	_, c, r := dialLane(t, LaneOptions{})
	inner := head("GET", "/hit-smuggled")
	for _, framed := range []string{
		head("POST", "/x", "Content-Length: "+fmt.Sprint(len(inner))) + inner,
		head("POST", "/x", "Expect: 100-continue", "Content-Length: "+fmt.Sprint(len(inner))) + inner,
		head("GET", "/hit", "Content-Length: "+fmt.Sprint(len(inner))) + inner,
		head("POST", "/x", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
	} {
		send(t, c, framed+head("GET", "/hit-1")+head("GET", "/miss-1"))
		resp, _ := receive(t, r, "POST")
		if resp.StatusCode == http.StatusContinue {
			resp, _ = receive(t, r, "POST")
		}
		if resp.StatusCode != 200 {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		for _, path := range []string{"/hit-1", "/miss-1"} {
			if _, body := receive(t, r, "GET"); body != "body of "+path+"?" {
				t.Fatalf("got %q: the body was taken for a request", body)
			}
		}
	}
}

func TestLaneIsClosedWhileDraining(t *testing.T) {
	var closed atomic.Bool
	o, c, r := dialLane(t, LaneOptions{Closed: closed.Load})
	send(t, c, head("GET", "/hit"))
	receive(t, r, "GET")
	closed.Store(true)
	send(t, c, head("GET", "/hit"))
	receive(t, r, "GET")
	if o.recalled.Load() != 1 || o.asked.Load() != 1 {
		t.Errorf("%d by the lane and %d by the server, want 1 and 1", o.recalled.Load(), o.asked.Load())
	}
}

func TestLaneCountsNobodysQuota(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := new(heart)
	q := new(countedQuota)
	serveLane(t, l, o, LaneOptions{}, func(d *DataOptions) { d.Tenants = quotaTenants{q} })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, head("GET", "/hit"))
	receive(t, bufio.NewReader(c), "GET")
	if o.asked.Load()+o.recalled.Load() != 1 || q.taken.Load() > 1 {
		t.Errorf("answered %d times, counted %d times", o.asked.Load()+o.recalled.Load(), q.taken.Load())
	}
}

type countedQuota struct{ taken atomic.Int64 }

func (q *countedQuota) Take() (policy, state string, wait time.Duration) {
	q.taken.Add(1)
	return "p", "s", 0
}
func (q *countedQuota) Look() (policy, state string) { return "p", "s" }

type quotaTenants struct{ q *countedQuota }

func (t quotaTenants) Identify(*http.Request) (Tenant, error)  { return Tenant{Quota: t.q}, nil }
func (t quotaTenants) Recognize(*http.Request) (Tenant, error) { return Tenant{Quota: t.q}, nil }

// pipes is a listener whose connections live in memory, for virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

func TestLaneKeepsTheServersTimeouts(t *testing.T) {
	options := LaneOptions{IdleTimeout: time.Minute, HeaderTimeout: 10 * time.Second}
	ended := func(c net.Conn, start time.Time) time.Duration {
		_, _ = io.Copy(io.Discard, c)
		return time.Since(start)
	}
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		serveLane(t, l, new(heart), options)

		c := l.dial()
		go func() { _, _ = io.WriteString(c, head("GET", "/hit")) }()
		receive(t, bufio.NewReader(c), "GET")
		if d := ended(c, time.Now()); d < options.IdleTimeout*7/8 || d > options.IdleTimeout+time.Second {
			t.Errorf("an idle connection lasted %v", d)
		}

		c = l.dial()
		send(t, c, "GET /proxy/movies/hit HTTP/1.1\r\n")
		if d := ended(c, time.Now()); d > 2*options.HeaderTimeout {
			t.Errorf("half a first request was waited for %v", d)
		}

		c = l.dial()
		go func() { _, _ = io.WriteString(c, head("GET", "/hit")) }()
		receive(t, bufio.NewReader(c), "GET")
		time.Sleep(30 * time.Second)
		send(t, c, "GET /proxy/movies/hit HTTP/1.1\r\n")
		if d := ended(c, time.Now()); d > 2*options.HeaderTimeout {
			t.Errorf("half a later request was waited for %v", d)
		}

		// One byte now and then must not keep a request alive.
		c = l.dial()
		start := time.Now()
		var drip sync.WaitGroup
		drip.Go(func() {
			for _, b := range []byte(head("GET", "/hit", "A: "+strings.Repeat("x", 200))) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if d := ended(c, start); d > 2*options.HeaderTimeout+2*time.Second {
			t.Errorf("a request of single bytes was waited for %v", d)
		}
		_ = c.Close()
		drip.Wait()
	})
}

func TestShutdownDoesNotCutAnAnswerOfTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := serveLane(t, l, new(heart), LaneOptions{})
		c := l.dial()
		time.Sleep(10 * time.Second) // old enough to count as idle
		send(t, c, head("GET", "/hit-large"))
		synctest.Wait() // the lane is writing, and nobody reads yet
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		if _, body := receive(t, bufio.NewReader(c), "GET"); !strings.HasPrefix(body, "body of /hit-large") {
			t.Errorf("got %.40q", body)
		}
		_ = c.Close()
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownDoesNotWaitForAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := serveLane(t, l, new(heart), LaneOptions{})
		c := l.dial()
		defer c.Close()
		time.Sleep(10 * time.Second)
		send(t, c, head("GET", "/hit-large"))
		synctest.Wait()
		start := time.Now()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > closeGrace+time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// FuzzLaneHead: what the lane takes, net/http takes too, and understands in the same way.
func FuzzLaneHead(f *testing.F) {
	f.Add(head("GET", "/hit?a=b", "Accept: */*", "x-a: 1", "X-A: 2"))
	f.Add(head("HEAD", "/a//b/", "User-Agent:\tx ", "Cookie:"))
	f.Add("GET /proxy/movies/x HTTP/1.1\r\nhost:[::1]:80\r\nConnection: Keep-Alive\r\n\r\n")
	f.Add("GET /proxy/a:b@c/x?y?z HTTP/1.1\r\nHost: a.b\r\n\r\n")
	turn := new(laneTurn)
	f.Fuzz(func(t *testing.T, text string) {
		end := strings.Index(text, "\r\n\r\n")
		if end < 0 || !turn.read(text[:end+4]) {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader([]byte(text[:end+4]))))
		if err != nil {
			t.Fatalf("the lane takes what net/http refuses (%v): %q", err, text)
		}
		got := &turn.r
		want.Header.Del("Connection")
		if got.Method != want.Method || got.Host != want.Host || got.URL.Path != want.URL.Path || got.URL.RawQuery != want.URL.RawQuery ||
			got.URL.EscapedPath() != want.URL.EscapedPath() || want.ContentLength != 0 || want.Close {
			t.Fatalf("%q:\n lane   %s %s %+v\n server %s %s %+v", text, got.Method, got.Host, got.URL, want.Method, want.Host, want.URL)
		}
		if !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
			t.Fatalf("%q:\n lane   %v\n server %v", text, got.Header, want.Header)
		}
	})
}

func TestLaneAllocatesLittle(t *testing.T) {
	h, err := NewData(DataOptions{Doer: new(heart), Routes: newTable(t)})
	if err != nil {
		t.Fatal(err)
	}
	turn := new(laneTurn)
	turn.r.RemoteAddr = "127.0.0.1:1"
	text := []byte(head("GET", "/hit", "User-Agent: wrk", "Accept: */*"))
	resp := stored(&request.Request{Path: "/hit"})
	n := testing.AllocsPerRun(200, func() {
		if !turn.read(string(text)) {
			t.Fatal("not for the lane")
		}
		turn.x.arrived = time.Now()
		delete(resp.Header, "X-Break")
		turn.write(h.(*data), resp)
	})
	if n > 2 {
		t.Errorf("%v allocations, want at most 2", n)
	}
}

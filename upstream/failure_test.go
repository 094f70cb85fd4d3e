package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/request"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// quiet takes the log lines of servers that are spoken to wrongly.
var quiet = log.New(io.Discard, "", 0)

// shortTimeout is for tests in which a timeout is what is waited for.
const shortTimeout = 50 * time.Millisecond

// rawServer answers each connection with text and closes it.
func rawServer(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				io.WriteString(conn, text)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

var once = Retry{MaxAttempts: 1}

func TestFailuresBeforeTheAnswerAreTold(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, tc := range map[string]struct {
		base, token, outcome string
		problem              request.Problem
	}{
		"refused":           {closed.URL, "connection_refused", "down", request.ProblemUpstreamDown},
		"https to http":     {"https" + strings.TrimPrefix(plain.URL, "http"), "tls_protocol_error", "down", request.ProblemUpstreamDown},
		"unknown authority": {secure.URL, "tls_certificate_error", "down", request.ProblemUpstreamDown},
		"closed at once":    {rawServer(t, ""), "connection_terminated", "down", request.ProblemUpstreamDown},
		"garbage":           {rawServer(t, "SSH-2.0-OpenSSH_9.6\r\n\r\n"), "http_protocol_error", "error", request.ProblemUpstreamInvalid},
		"bad header":        {rawServer(t, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "http_protocol_error", "error", request.ProblemUpstreamInvalid},
		"half a header":     {rawServer(t, "HTTP/1.1 200 OK\r\nX: 1\r\n"), "connection_terminated", "down", request.ProblemUpstreamDown},
		"endless header":    {rawServer(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n"), "http_response_header_section_size", "error", request.ProblemUpstreamInvalid},
		"switching":         {rawServer(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "http_upgrade_failed", "error", request.ProblemUpstreamInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c, rec := newClient(t, Options{BaseURL: tc.base, Retry: once})
			_, err := c.Do(context.Background(), get("/"))
			e := wantProblem(t, err, tc.problem, tc.token)
			if e.Upstream != "movies" || !strings.Contains(e.Detail, `"movies"`) {
				t.Errorf("the upstream is not named: %+v", e)
			}
			if rec.outcomes() != tc.outcome || c.State().InFlight != 0 {
				t.Errorf("reported %q, want %q; %+v", rec.outcomes(), tc.outcome, c.State())
			}
		})
	}
}

func TestTransportErrorsAreClassed(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tc := range []struct {
		err     error
		token   string
		problem request.Problem
	}{
		{dial(&net.DNSError{Err: "no such host", Name: "movies.test", IsNotFound: true}), "dns_error", request.ProblemUpstreamDown},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "movies.test", IsTimeout: true}), "dns_timeout", request.ProblemUpstreamTimeout},
		{dial(os.ErrDeadlineExceeded), "connection_timeout", request.ProblemUpstreamTimeout},
		{dial(syscall.EHOSTUNREACH), "destination_ip_unroutable", request.ProblemUpstreamDown},
		{dial(syscall.EADDRNOTAVAIL), "destination_unavailable", request.ProblemUpstreamDown},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, "tls_alert_received", request.ProblemUpstreamDown},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "movies.test"}, "tls_certificate_error", request.ProblemUpstreamDown},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, "connection_terminated", request.ProblemUpstreamDown},
		{errors.New("http2: client connection lost"), "connection_terminated", request.ProblemUpstreamDown},
		{errors.New("stream error: stream ID 1; PROTOCOL_ERROR"), "http_protocol_error", request.ProblemUpstreamInvalid},
	} {
		c, _ := newClient(t, Options{Retry: once, RoundTripper: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, tc.err })})
		_, err := c.Do(context.Background(), get("/"))
		wantProblem(t, err, tc.problem, tc.token)
		if !errors.Is(err, tc.err) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
}

func TestHangingUpstreamsTimeOut(t *testing.T) {
	for name, tc := range map[string]struct {
		o       Options
		timeout time.Duration
		setting string
	}{
		"header": {Options{Timeouts: Timeouts{ResponseHeader: shortTimeout}}, 0, "timeouts.response_header"},
		"total":  {Options{Timeouts: Timeouts{Total: shortTimeout}}, 0, "timeouts.total"},
		"route":  {Options{}, shortTimeout, "route's timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			c, rec := serve(t, tc.o, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			r := get("/")
			r.Route.Timeout = tc.timeout
			_, err := c.Do(context.Background(), r)
			e := wantProblem(t, err, request.ProblemUpstreamTimeout, "http_response_timeout")
			if !strings.Contains(e.Detail, tc.setting) || e.Timing.Upstream < shortTimeout {
				t.Errorf("%+v", e)
			}
			if rec.outcomes() != "timeout" {
				t.Errorf("reported %q; a slow upstream must not be asked again", rec.outcomes())
			}
		})
	}
}

func TestTotalTimeoutCoversTheBody(t *testing.T) {
	c, rec := serve(t, Options{Timeouts: Timeouts{Total: shortTimeout}}, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("some"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	wantProblem(t, err, request.ProblemUpstreamTimeout, "http_response_timeout")
	if string(b) != "some" || rec.outcomes() != "timeout" {
		t.Errorf("%q, reported %q", b, rec.outcomes())
	}
	if _, again := resp.Body.Read(make([]byte, 1)); again != err {
		t.Errorf("reading on gave %v", again)
	}
}

func TestBrokenBodiesAreErrorsNotEnds(t *testing.T) {
	for name, tc := range map[string]struct{ text, token string }{
		"short":           {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome", "http_response_incomplete"},
		"unended chunks":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n", "http_response_incomplete"},
		"malformed chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nzz\r\n", "http_response_transfer_coding"},
	} {
		t.Run(name, func(t *testing.T) {
			c, rec := newClient(t, Options{BaseURL: rawServer(t, tc.text)})
			resp, err := c.Do(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			wantProblem(t, err, request.ProblemUpstreamInvalid, tc.token)
			if string(b) != "some" || rec.outcomes() != "error" {
				t.Errorf("%q, reported %q", b, rec.outcomes())
			}
		})
	}
}

func TestAnswersOverTheLimitFail(t *testing.T) {
	c, rec := serve(t, Options{MaxResponseBytes: 1000}, func(w http.ResponseWriter, r *http.Request) {
		size := 1000
		if strings.HasPrefix(r.URL.Path, "/over") {
			size++
		}
		if strings.HasSuffix(r.URL.Path, "chunked") {
			w.(http.Flusher).Flush()
		}
		w.Write(make([]byte, size))
	})
	for _, path := range []string{"/at", "/at-chunked"} {
		if _, body := do(t, c, get(path)); len(body) != 1000 {
			t.Errorf("%s: %d bytes", path, len(body))
		}
	}
	_, err := c.Do(context.Background(), get("/over"))
	e := wantProblem(t, err, request.ProblemAnswerTooLarge, "http_response_body_size")
	if e.Upstream != "movies" || !strings.Contains(e.Detail, "max_response_bytes") {
		t.Errorf("%+v", e)
	}
	resp, err := c.Do(context.Background(), get("/over-chunked"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	wantProblem(t, err, request.ProblemAnswerTooLarge, "http_response_body_size")
	if len(b) != 1000 {
		t.Errorf("%d bytes were passed", len(b))
	}
	resp.Body.Close()
	head := get("/over")
	head.Method = http.MethodHead
	do(t, c, head)
	if got := rec.outcomes(); got != "ok ok error error ok" {
		t.Errorf("reported %q", got)
	}
}

type brokenStream struct {
	err    error
	closed chan struct{}
}

func (b *brokenStream) Read([]byte) (int, error) { return 0, b.err }
func (b *brokenStream) Close() error             { close(b.closed); return nil }

func TestBrokenUploadsAreNotTheUpstreamsFault(t *testing.T) {
	c, rec := serve(t, Options{Breaker: Breaker{MinCalls: 1}}, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	for name, tc := range map[string]struct {
		err     error
		problem request.Problem
	}{
		"reset":     {errors.New("reset"), request.ProblemBadRequest},
		"too large": {&http.MaxBytesError{Limit: 7}, request.ProblemBodyTooLarge},
		"too short": {io.EOF, request.ProblemBadRequest},
		"typed":     {request.Errorf(request.ProblemForbidden, "no"), request.ProblemForbidden},
	} {
		r := get("/")
		s := &brokenStream{err: tc.err, closed: make(chan struct{})}
		r.Method, r.Stream, r.StreamLength = "PUT", s, 10
		_, err := c.Do(context.Background(), r)
		if e := (*request.Error)(nil); !errors.As(err, &e) || e.Problem != tc.problem {
			t.Errorf("%s: %v", name, err)
		}
		<-s.closed
	}
	if got := rec.outcomes(); strings.ReplaceAll(got, "cancelled", "") != "   " || c.State().Breaker != BreakerClosed {
		t.Errorf("reported %q, breaker %s", got, c.State().Breaker)
	}
}

func TestStreamIsClosedAlsoWhenNothingWasSent(t *testing.T) {
	c, _ := newClient(t, Options{})
	r := get("/../x")
	s := &brokenStream{closed: make(chan struct{})}
	r.Stream, r.StreamLength = s, 1
	if _, err := c.Do(context.Background(), r); err == nil {
		t.Fatal("sent")
	}
	<-s.closed
}

func TestSlowClientsDoNotOpenTheBreaker(t *testing.T) {
	o := Options{Breaker: Breaker{MinCalls: 1}, Timeouts: Timeouts{Total: shortTimeout}}
	c, rec := serve(t, o, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
			return
		}
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	upload := get("/")
	sender, w := io.Pipe()
	upload.Method, upload.Stream, upload.StreamLength = "PUT", sender, 10
	_, err := c.Do(context.Background(), upload)
	wantProblem(t, err, request.ProblemBadRequest, "")
	w.Close()

	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	<-resp.Body.(*exchange).ctx.Done() // the client does something else until the time is over
	_, err = io.Copy(io.Discard, resp.Body)
	wantProblem(t, err, request.ProblemUpstreamTimeout, "")
	resp.Body.Close()
	if got := rec.outcomes(); got != "cancelled cancelled" || c.State().Breaker != BreakerClosed {
		t.Errorf("reported %q, breaker %s", got, c.State().Breaker)
	}
}

// lockedStream is as a server's request body: Close waits for Read.
type lockedStream struct {
	mu      sync.Mutex
	release chan struct{}
	closed  chan struct{}
}

func (l *lockedStream) Read([]byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	<-l.release
	return 0, io.ErrUnexpectedEOF
}

func (l *lockedStream) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.closed)
	return nil
}

func TestStalledUploadCantHoldACallBeyondItsTime(t *testing.T) {
	c, _ := serve(t, Options{Timeouts: Timeouts{Total: shortTimeout}}, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	r := get("/")
	s := &lockedStream{release: make(chan struct{}), closed: make(chan struct{})}
	r.Method, r.Stream, r.StreamLength = "POST", s, -1
	_, err := c.Do(context.Background(), r)
	wantProblem(t, err, request.ProblemBadRequest, "")
	if n := c.State().InFlight; n != 0 {
		t.Errorf("%d in flight", n)
	}
	close(s.release) // the client's connection goes
	<-s.closed
}

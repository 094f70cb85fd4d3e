package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/request"
)

func TestProxyKeepsMethodPathAndQueryAsSent(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got))
	check := func(method, target, path, query, key string) {
		t.Helper()
		got = nil
		if w := ask(h, method, target, ""); w.Code != 200 {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
		if got.Method != method || got.Path != path || got.RawQuery != query || got.Key != key {
			t.Errorf("%s %s: got %s %s ? %s, key %q", method, target, got.Method, got.Path, got.RawQuery, got.Key)
		}
		if got.Route.Name != request.ProxyRoute || got.ID == "" || got.Arrived.IsZero() {
			t.Errorf("incomplete request %+v", got)
		}
	}
	check("GET", "/proxy/movies/a/b", "/a/b", "", "movies /a/b")
	check("HEAD", "/proxy/movies/a/b", "/a/b", "", "movies /a/b")
	check("GET", "/proxy/movies/a%2Fb/%C3%A9?x=1&&y=%20+;z", "/a%2Fb/%C3%A9", "x=1&&y=%20+;z", "movies /a%2Fb/%C3%A9?x=1&&y=%20+;z")
	check("GET", "/proxy/movies", "/", "", "movies /")
	check("GET", "/proxy/movies/", "/", "", "movies /")
	check("GET", "/proxy/movies//double//", "//double//", "", "movies //double//")
	check("GET", "/proxy/movies/..a/b../...", "/..a/b../...", "", "movies /..a/b../...")
	check("POST", "/proxy/movies/a", "/a", "", "")
	check("OPTIONS", "/proxy/movies/a", "/a", "", "")
	check("M-SEARCH", "/proxy/movies/a", "/a", "", "")
	check("PROPFIND", "/proxy/movies/a", "/a", "", "")
}

func TestProxyRefusesDotSegmentsInEveryForm(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}"))
	for _, path := range []string{"/../x", "/a/../b", "/a/./b", "/..", "/.", "/%2e%2e/x", "/%2E./x", "/.%2e", "/a%2f..%2fb", "/a%2F%2e%2e",
		`/a\..\b`, "/a%5c..%5cb", "/..;x=1/b", "/a/..%3bx", "/%252e%252e/x", "/%25252e%25252e/x", "/a%252f..%252fb", "/%2e"} {
		r := httptest.NewRequest("GET", "/proxy/movies/x", nil)
		u, err := r.URL.Parse("http://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := http.NewRequest("GET", "http://example.com/proxy/movies"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		*u = *parsed.URL
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 400 {
			t.Errorf("%s: got %d", path, w.Code)
			continue
		}
		wantProblem(t, w, request.ProblemBadRequest)
	}
}

func TestProxyRefusesTunnelsTraceAndUpgrades(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}"))
	for _, m := range []string{"CONNECT", "TRACE"} {
		r := httptest.NewRequest("GET", "/proxy/movies/x", nil)
		r.Method = m
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		wantProblem(t, w, request.ProblemMethodNotAllowed)
		if w.Header().Get("Allow") != proxyMethods {
			t.Errorf("%s: Allow is %q", m, w.Header().Get("Allow"))
		}
	}
	wantProblem(t, ask(h, "GET", "/proxy/movies/x", "", "Connection", "Upgrade", "Upgrade", "websocket"), request.ProblemBadRequest)
	if w := ask(h, "GET", "/proxy/movies/x", "", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"); w.Code != 200 {
		t.Errorf("an offer of HTTP/2 was not ignored: %d", w.Code)
	}
}

func TestProxyDropsHopByHopAndItsOwnHeadersOnTheWayIn(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got))
	ask(h, "POST", "/proxy/movies/x", "body", "Connection", "close, X-Hop", "X-Hop", "1", "Keep-Alive", "1", "Proxy-Authorization", "x",
		"Proxy-Connection", "x", "Te", "gzip, Trailers", "Trailer", "X-T", "Transfer-Encoding", "chunked", "Upgrade", "h2c", "Expect", "100-continue",
		"X-Tenant", "acme", "X-Deadline-Ms", "5000", "Priority", "u=6", "Authorization", "Bearer x", "Range", "bytes=0-1", "If-None-Match", `"1"`,
		"Accept-Encoding", "br", "Prefer", "return=minimal", "Via", "1.0 front", "Content-Length", "4")
	want := map[string]string{"Te": "trailers", "Priority": "u=6", "Authorization": "Bearer x", "Range": "bytes=0-1", "If-None-Match": `"1"`,
		"Accept-Encoding": "br", "Prefer": "return=minimal", "Via": "1.0 front, 1.1 penstock"}
	for name, values := range got.Header {
		if v := strings.Join(values, ", "); want[name] != v {
			t.Errorf("%s: %q was sent on, want %q", name, v, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not sent on: %v", want)
	}
	if got.Tenant != "acme" || got.Urgency() != 6 || got.Deadline.IsZero() || string(got.Data) != "body" {
		t.Errorf("tenant %q, urgency %v, deadline %v, data %q", got.Tenant, got.Urgency(), got.Deadline, got.Data)
	}
}

func TestProxyDropsHopByHopHeadersOnTheWayOutAndChangesNoSharedHeader(t *testing.T) {
	shared := reply(200, "{}", "Connection", "X-Hop, x-request-id", "X-Hop", "1", "Keep-Alive", "1", "Proxy-Authenticate", "x", "Upgrade", "x",
		"Via", "1.1 origin", "Cache-Status", "Origin; hit", "Server-Timing", "db;dur=1", "Set-Cookie", "a=1", "Set-Cookie", "b=2",
		"Server", "origin", headerRequestID, "of the origin")
	shared.Cache = request.CacheStatus{Fwd: "stale", FwdStatus: 503, Detail: "stale-if-error", TTL: -1500 * time.Millisecond, HasTTL: true, Age: 90 * time.Second, HasAge: true}
	shared.Timing = request.Timing{Queue: 3 * time.Millisecond, Batch: 5500 * time.Microsecond, Upstream: 210 * time.Millisecond}
	before := shared.Header.Clone()
	h := newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return shared, nil })
	w := ask(h, "GET", "/proxy/movies/x", "", headerRequestID, "mine")
	for name, want := range map[string]string{
		"Connection": "", "X-Hop": "", "Keep-Alive": "", "Proxy-Authenticate": "", "Upgrade": "",
		"Via": "1.1 origin|1.1 penstock", "Server": "origin", "Set-Cookie": "a=1|b=2", headerRequestID: "mine", "Age": "90",
		"Cache-Status":  "Origin; hit|penstock; fwd=stale; fwd-status=503; ttl=-2; detail=stale-if-error",
		"Server-Timing": "db;dur=1|cache;desc=stale, queue;dur=3, batch;dur=5.5, upstream;dur=210",
	} {
		if got := strings.Join(w.Header()[name], "|"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, values := range before {
		if strings.Join(values, "|") != strings.Join(shared.Header[name], "|") {
			t.Errorf("the shared %s was changed to %q", name, shared.Header[name])
		}
	}
}

func TestProxyTellsOfTheClientOnlyIfToldTo(t *testing.T) {
	var got *request.Request
	ask(newDataHandler(t, keep(&got)), "GET", "/proxy/movies/x", "", "X-Forwarded-For", "1.2.3.4")
	if v := got.Header.Get("X-Forwarded-For"); v != "1.2.3.4" || got.Header.Get("X-Forwarded-Host") != "" {
		t.Errorf("told %q of the client", v)
	}
	h := newDataHandler(t, keep(&got), func(o *DataOptions) { o.ForwardClient = func() bool { return true } })
	ask(h, "GET", "/proxy/movies/x", "", "X-Forwarded-For", "1.2.3.4")
	if v := got.Header.Get("X-Forwarded-For"); v != "1.2.3.4, 192.0.2.1" || got.Header.Get("X-Forwarded-Host") != "example.com" || got.Header.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("got %q %v", v, got.Header)
	}
}

func TestProxyHoldsSmallBodiesAndStreamsLargeOnes(t *testing.T) {
	type seen struct {
		data, stream string
		length       int64
		key          string
		err          error
	}
	var got seen
	h := newDataHandler(t, func(_ context.Context, r *request.Request) (*request.Response, error) {
		got = seen{data: string(r.Data), key: r.Key}
		if r.Stream != nil {
			b, err := io.ReadAll(r.Stream)
			got.stream, got.length, got.err = string(b), r.StreamLength, err
			_ = r.Stream.Close()
			if err != nil {
				return nil, errors.New("the transport hides the cause")
			}
		}
		return reply(200, "{}"), nil
	}, withLimits(Limits{MaxBodyBytes: 100_000}))
	body := strings.Repeat("abcdefgh", 20_000)
	send := func(size int, known bool) *httptest.ResponseRecorder {
		got = seen{}
		r := httptest.NewRequest("GET", "/proxy/movies/x", strings.NewReader(body[:size]))
		if !known {
			r.ContentLength = -1
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, known := range []bool{true, false} {
		for _, size := range []int{1, holdBytes - 1, holdBytes} {
			if w := send(size, known); w.Code != 200 || got.data != body[:size] || got.stream != "" || got.key != "" {
				t.Errorf("size %d, known %v: status %d, %d held, %d streamed", size, known, w.Code, len(got.data), len(got.stream))
			}
		}
		for _, size := range []int{holdBytes + 1, 100_000} {
			if w := send(size, known); w.Code != 200 || got.data != "" || got.stream != body[:size] || got.err != nil {
				t.Errorf("size %d, known %v: status %d, %d held, %d streamed, %v", size, known, w.Code, len(got.data), len(got.stream), got.err)
			}
		}
		doc := wantProblem(t, send(100_001, known), request.ProblemBodyTooLarge)
		if !strings.Contains(doc.Detail, "server.max_body_bytes") {
			t.Errorf("the detail does not name the setting: %s", doc.Detail)
		}
	}
	if w := send(0, false); w.Code != 200 || got.key == "" {
		t.Errorf("an empty body of unknown length: %d, key %q", w.Code, got.key)
	}
}

func TestProxyRefusesABodyThatBreaksOff(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}"))
	r := httptest.NewRequest("POST", "/proxy/movies/x", strings.NewReader("abc"))
	r.ContentLength = 10
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	wantProblem(t, w, request.ProblemBadRequest)
}

func TestTraceIsContinuedOrStartedAnew(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var got *request.Request
	h := newDataHandler(t, keep(&got))
	sent := func(v ...string) string {
		var header []string
		for _, v := range v {
			header = append(header, "Traceparent", v)
		}
		ask(h, "GET", "/proxy/movies/x", "", append(header, "Tracestate", "a=1")...)
		return got.Header.Get("Traceparent")
	}
	if v := sent(good); v != good || got.Header.Get("Tracestate") != "a=1" {
		t.Errorf("a good trace became %q", v)
	}
	if v := sent(); v != "" {
		t.Errorf("a trace %q out of nothing", v)
	}
	if v := sent("cc" + good[2:] + "-more"); v != "cc"+good[2:]+"-more" {
		t.Errorf("a trace of a later version became %q", v)
	}
	for _, bad := range []string{"", "x", strings.ToUpper(good), "ff" + good[2:], good + "-more", good[:54], strings.Replace(good, "00f067aa0ba902b7", "0000000000000000", 1),
		strings.Replace(good, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1)} {
		if v := sent(bad); !validTraceparent(v) || v == bad || got.Header.Get("Tracestate") != "" {
			t.Errorf("%q became %q", bad, v)
		}
	}
	if v := sent(good, good); !validTraceparent(v) || v == good {
		t.Errorf("two traces became %q", v)
	}
}

func TestRequestIDIsHonouredIfFit(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got))
	for id, fit := range map[string]bool{"abc-1": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "": false, "é": false} {
		w := ask(h, "GET", "/proxy/movies/x", "", headerRequestID, id)
		if w.Header().Get(headerRequestID) != got.ID || (got.ID == id) != fit {
			t.Errorf("%q: request %q, answer %q", id, got.ID, w.Header().Get(headerRequestID))
		}
	}
}

package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"penstock/request"
)

func TestBodiesAreFramedRight(t *testing.T) {
	type arrival struct {
		length  int64
		coding  string
		body    string
		hasCL   bool
		expects string
	}
	var got arrival
	c, _ := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = arrival{r.ContentLength, strings.Join(r.TransferEncoding, ","), string(b), r.Header.Get("Content-Length") != "", r.Header.Get("Expect")}
	})
	stream := func(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
	for name, tc := range map[string]struct {
		method string
		set    func(*request.Request)
		want   arrival
	}{
		"no body":         {"GET", func(*request.Request) {}, arrival{}},
		"empty post":      {"POST", func(*request.Request) {}, arrival{hasCL: true}},
		"data":            {"POST", func(r *request.Request) { r.Data = []byte("12345") }, arrival{length: 5, body: "12345", hasCL: true}},
		"data, expecting": {"PUT", func(r *request.Request) { r.Data = []byte("1"); r.Header.Set("Expect", "100-continue") }, arrival{length: 1, body: "1", hasCL: true}},
		"stream":          {"POST", func(r *request.Request) { r.Stream, r.StreamLength = stream("123"), 3 }, arrival{length: 3, body: "123", hasCL: true}},
		"chunked stream":  {"POST", func(r *request.Request) { r.Stream, r.StreamLength = stream("123"), -1 }, arrival{length: -1, coding: "chunked", body: "123"}},
		"empty stream":    {"POST", func(r *request.Request) { r.Stream = stream("") }, arrival{hasCL: true}},
		"expected stream": {"POST", func(r *request.Request) {
			r.Stream, r.StreamLength = stream("123"), 3
			r.Header.Set("Expect", "100-continue")
		}, arrival{length: 3, body: "123", hasCL: true, expects: "100-continue"}},
	} {
		r := get("/")
		r.Method = tc.method
		tc.set(r)
		do(t, c, r)
		if got != tc.want {
			t.Errorf("%s: arrived %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestTrailersComeAfterTheBody(t *testing.T) {
	c, _ := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
	})
	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if v, announced := resp.Trailer["X-Sum"]; !announced || len(v) != 0 {
		t.Fatalf("before the body: %v", resp.Trailer)
	}
	if resp.Header.Get("Trailer") != "" {
		t.Error("the Trailer field is hop-by-hop and came through")
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("after the body: %v", resp.Trailer)
	}
}

func TestFlushedBytesArriveBeforeTheEnd(t *testing.T) {
	goOn := make(chan struct{})
	c, rec := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-goOn
		io.WriteString(w, " second")
	})
	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 64)
	n, err := resp.Body.Read(b)
	if err != nil || string(b[:n]) != "first" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if st := c.State(); st.InFlight != 1 || st.Connections != 1 || len(rec.all()) != 0 {
		t.Errorf("while streaming: %+v, %v", st, rec.all())
	}
	close(goOn)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != " second" {
		t.Fatalf("%q, %v", rest, err)
	}
	calls := rec.all()
	if len(calls) != 1 || calls[0].Bytes != 12 || calls[0].Status != 200 || calls[0].Outcome != "ok" || calls[0].InFlight != 1 || calls[0].Route != "movie" {
		t.Errorf("reported %+v", calls)
	}
	if c.State().InFlight != 0 {
		t.Error("the call is still counted in flight")
	}
}

func TestAnswersPassAsTheyAre(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, "content")
	z.Close()
	large := strings.Repeat("x", 100<<10)
	c, rec := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/range":
			http.ServeContent(w, r, "", testTime, strings.NewReader("0123456789"))
		case "/gzip":
			if r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("Accept-Encoding %q was added", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/early":
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "late")
		case "/large":
			w.Header().Set("X-Large", large)
		case "/404":
			http.Error(w, "none", 404)
		case "/501":
			http.Error(w, "not me", http.StatusNotImplemented)
		default:
			t.Errorf("the redirect was followed to %s", r.URL.Path)
		}
	})
	call := func(method, path string, header ...string) (*request.Response, string) {
		r := get(path)
		r.Method = method
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return do(t, c, r)
	}
	if resp, body := call("GET", "/range", "Range", "bytes=2-4"); resp.Status != 206 || body != "234" || resp.ContentLength != 3 || resp.Header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("range: %d %q %v", resp.Status, body, resp.Header)
	}
	if resp, body := call("HEAD", "/range"); resp.Status != 200 || body != "" || resp.ContentLength != 0 || resp.Header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %q %d %v", resp.Status, body, resp.ContentLength, resp.Header)
	}
	if resp, body := call("GET", "/gzip"); body != packed.String() || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("gzip: %q %v", body, resp.Header)
	}
	for path, status := range map[string]int{"/204": 204, "/304": 304, "/redirect": 302, "/404": 404, "/501": 501, "/early": 200} {
		if resp, _ := call("GET", path); resp.Status != status {
			t.Errorf("%s: %d", path, resp.Status)
		}
	}
	if resp, _ := call("GET", "/large"); resp.Header.Get("X-Large") != large {
		t.Error("a header of 100 KiB was not passed")
	}
	if n := len(rec.all()); n != 10 {
		t.Errorf("%d calls reported, want 10", n)
	}
	if st := c.State(); st.InFlight != 0 || st.Connections != 1 {
		t.Errorf("%+v, want one kept connection", st)
	}
}

func TestHTTP2OverTLSIsUsedUnlessDisabled(t *testing.T) {
	proto := make(chan string, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto <- r.Proto
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "1")
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for disable, want := range map[bool]string{false: "HTTP/2.0", true: "HTTP/1.1"} {
		c, _ := newClient(t, Options{BaseURL: srv.URL, TLS: TLS{CAFile: ca}, Pool: Pool{DisableHTTP2: disable}})
		r := get("/x")
		r.Method, r.Data = "POST", []byte("hello")
		resp, body := do(t, c, r)
		if got := <-proto; got != want || body != "hello" || resp.Trailer.Get("X-Sum") != "1" {
			t.Errorf("disable %v: %s %q %v", disable, got, body, resp.Trailer)
		}
	}
}

func TestClosingTheBodyEarlyCancelsTheCall(t *testing.T) {
	gone := make(chan struct{})
	c, rec := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<10))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-gone
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("reading a closed body gave %v", err)
	}
	if got := rec.outcomes(); got != "cancelled" {
		t.Errorf("reported %q", got)
	}
}

func TestEndOfTheCallersContextIsNotTheUpstreamsFault(t *testing.T) {
	arrived := make(chan struct{}, 1)
	c, rec := serve(t, Options{Breaker: Breaker{MinCalls: 1}}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	why := errors.New("the last waiter has gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { <-arrived; cancel(why) }()
	if _, err := c.Do(ctx, get("/")); !errors.Is(err, why) {
		t.Errorf("before the header: %v", err)
	}
	ctx, cancel = context.WithCancelCause(context.Background())
	resp, err := c.Do(ctx, get("/body"))
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	cancel(why)
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, why) {
		t.Errorf("in the body: %v", err)
	}
	resp.Body.Close()
	if _, err := c.Do(ctx, get("/")); !errors.Is(err, why) {
		t.Errorf("before the start: %v", err)
	}
	late, stop := context.WithTimeout(context.Background(), shortTimeout)
	defer stop()
	_, err = c.Do(late, get("/"))
	<-arrived
	if wantProblem(t, err, request.ProblemDeadline, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap the cause", err)
	}
	if got := rec.outcomes(); got != "cancelled cancelled cancelled" {
		t.Errorf("reported %q", got)
	}
	if s := c.State(); s.Breaker != BreakerClosed || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBodyMayBeClosedWhileItIsRead(t *testing.T) {
	c, rec := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	resp, err := c.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	first, ended := make(chan struct{}), make(chan error)
	go func() {
		resp.Body.Read(make([]byte, 1))
		close(first)
		_, err := resp.Body.Read(make([]byte, 1))
		ended <- err
	}()
	<-first
	resp.Body.Close()
	if err := <-ended; err == nil || err == io.EOF {
		t.Errorf("Read gave %v", err)
	}
	if got := rec.outcomes(); got != "cancelled" || c.State().InFlight != 0 {
		t.Errorf("reported %q", got)
	}
}

func TestManyCallsAtOnceShareThePool(t *testing.T) {
	c, rec := serve(t, Options{Pool: Pool{MaxPerHost: 4}}, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				path := "/" + strconv.Itoa(i)
				resp, err := c.Do(context.Background(), get(path))
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != path {
					t.Errorf("%q, %v", b, err)
				}
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if st := c.State(); st.InFlight != 0 || st.Connections > 4 || len(rec.all()) != 160 {
		t.Errorf("%+v after %d calls", st, len(rec.all()))
	}
}

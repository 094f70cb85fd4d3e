package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"penstock/request"
)

// streamed is an answer whose body is a pipe.
func streamed(length int64, header ...string) (*request.Response, *io.PipeWriter) {
	pr, pw := io.Pipe()
	resp := reply(200, "", header...)
	resp.Body, resp.ContentLength = pr, length
	return resp, pw
}

func TestAStreamedAnswerIsFlushedAsItComes(t *testing.T) {
	resp, upstream := streamed(-1, "Content-Type", "text/event-stream")
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
	got, err := s.Client().Get(s.URL + "/proxy/movies/events") // the header comes before the first byte
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	lines := bufio.NewReader(got.Body)
	for _, line := range []string{"data: 1\n", "data: 2\n"} {
		if _, err := io.WriteString(upstream, line); err != nil {
			t.Fatal(err)
		}
		if read, err := lines.ReadString('\n'); read != line || err != nil {
			t.Fatalf("got %q, %v", read, err)
		}
	}
	_ = upstream.Close()
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestAnAnswerThatBreaksOffBreaksTheConnection(t *testing.T) {
	check := func(name string, length int64, end error) {
		resp, upstream := streamed(length)
		s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
		go func() {
			_, _ = io.WriteString(upstream, "half")
			_ = upstream.CloseWithError(end)
		}()
		got, err := s.Client().Get(s.URL + "/proxy/movies/x")
		if err != nil {
			return // the connection broke before the header was out: as good
		}
		defer got.Body.Close()
		if b, err := io.ReadAll(got.Body); err == nil {
			t.Errorf("%s: a clean end after %q", name, b)
		}
	}
	check("unknown length", -1, errors.New("reset"))
	check("known length", 100, errors.New("reset"))
	check("too short", 100, io.EOF)
}

func TestTrailersPassAnnouncedOrNot(t *testing.T) {
	resp, upstream := streamed(-1)
	resp.Trailer = http.Header{"X-Sum": nil}
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
	go func() {
		_, _ = io.WriteString(upstream, "body")
		resp.Trailer["X-Sum"] = []string{"42"}
		resp.Trailer["X-Late"] = []string{"yes"}
		_ = upstream.Close()
	}()
	got, err := s.Client().Get(s.URL + "/proxy/movies/x")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if _, ok := got.Trailer["X-Sum"]; !ok {
		t.Error("the trailer was not announced")
	}
	if b, err := io.ReadAll(got.Body); string(b) != "body" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if got.Trailer.Get("X-Sum") != "42" || got.Trailer.Get("X-Late") != "yes" {
		t.Errorf("trailers %v", got.Trailer)
	}
}

func TestTrailersPassWithABodyHeldInMemory(t *testing.T) {
	resp := reply(200, "body", "Content-Length", "4")
	resp.Trailer = http.Header{"X-Sum": {"42"}}
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
	got, err := s.Client().Get(s.URL + "/proxy/movies/x")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if b, err := io.ReadAll(got.Body); string(b) != "body" || err != nil || got.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q, %v, %v", b, err, got.Trailer)
	}
}

func TestHeadRangesAndEmptyAnswersKeepTheirHeaders(t *testing.T) {
	check := func(method string, resp *request.Response, wantBody string, want map[string]string, wantLength int64) {
		t.Helper()
		s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
		r, _ := http.NewRequest(method, s.URL+"/proxy/movies/x", nil)
		got, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		b, err := io.ReadAll(got.Body)
		if err != nil || string(b) != wantBody || got.StatusCode != resp.Status || got.ContentLength != wantLength {
			t.Errorf("%s %d: %d %q %v, length %d", method, resp.Status, got.StatusCode, b, err, got.ContentLength)
		}
		for name, v := range want {
			if got.Header.Get(name) != v {
				t.Errorf("%s %d: %s is %q, want %q", method, resp.Status, name, got.Header.Get(name), v)
			}
		}
	}
	head := reply(200, "", "Content-Length", "1234", "Etag", `"1"`)
	check("HEAD", head, "", map[string]string{"Etag": `"1"`, "Content-Length": "1234"}, 1234)
	unknown := reply(200, "never seen")
	check("HEAD", unknown, "", nil, -1)
	check("GET", reply(206, "bc", "Content-Range", "bytes 1-2/9"), "bc", map[string]string{"Content-Range": "bytes 1-2/9"}, 2)
	check("GET", reply(304, "", "Etag", `"1"`), "", map[string]string{"Etag": `"1"`}, 0)
	check("DELETE", reply(204, ""), "", nil, 0)
	check("GET", reply(200, "abc", "Content-Length", "99"), "abc", nil, 3) // a length that lies is put right
	check("GET", reply(503, "busy", "Retry-After", "7"), "busy", map[string]string{"Retry-After": "7"}, 4)
}

func TestNoContentTypeIsMadeUp(t *testing.T) {
	resp := reply(200, "<html>")
	delete(resp.Header, "Content-Type")
	s := serve(t, newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) { return resp, nil }))
	got, err := s.Client().Get(s.URL + "/proxy/movies/x")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if v, ok := got.Header["Content-Type"]; ok {
		t.Errorf("Content-Type %q", v)
	}
}

func TestTheClientsHangUpCancelsTheRequest(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	s := serve(t, newDataHandler(t, func(ctx context.Context, _ *request.Request) (*request.Response, error) {
		close(started)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/proxy/movies/x", nil)
	go func() {
		<-started
		cancel()
	}()
	if resp, err := s.Client().Do(r); err == nil {
		resp.Body.Close()
		t.Error("an answer came")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
}

func TestALargeBodyStreamsBothWaysAtOnce(t *testing.T) {
	// The upstream echoes each piece before it has seen the whole body.
	s := serve(t, newDataHandler(t, func(_ context.Context, r *request.Request) (*request.Response, error) {
		resp := reply(200, "")
		resp.Body, resp.ContentLength = r.Stream, -1
		return resp, nil
	}))
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	resp, err := s.Client().Post(s.URL+"/proxy/movies/echo", "text/plain", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !slices.Equal(b, []byte(body)) {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
}

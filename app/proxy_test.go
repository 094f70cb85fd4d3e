package app

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wire is an upstream that shows what came over the wire, by path.
func wire(release <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d %q te=%q conn=%q tenant=%q auth=%q", r.Method, r.RequestURI, r.ContentLength, body,
			r.Header.Get("Te"), r.Header.Get("Connection"), r.Header.Get("X-Tenant"), r.Header.Get("Authorization"))
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprint(w, "data: 2\n\n")
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Cache-Control", "max-age=60")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, strings.Repeat("x", 5000))
		_ = z.Close()
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func TestTheProxyPathPassesEveryKindOfRequest(t *testing.T) {
	h := open(t, smallest, wire(nil))
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/echo/a%2Fb?x=1&x=%20&y", "hello", `POST /echo/a%2Fb?x=1&x=%20&y 5 "hello"`},
		{"PUT", "/echo/x", strings.Repeat("y", 100_000), `PUT /echo/x 100000 "yyy`},
		{"DELETE", "/echo/x", "", `DELETE /echo/x 0 ""`},
		{"PATCH", "/echo/x", "p", `PATCH /echo/x 1 "p"`},
		{"OPTIONS", "/echo/x", "", `OPTIONS /echo/x 0 ""`},
		{"PROPFIND", "/echo/x", "", `PROPFIND /echo/x 0 ""`},
		{"M-SEARCH", "/echo/x", "", `M-SEARCH /echo/x 0 ""`},
		{"GET", "/echo/%E4%BD%A0?q=a+b", "", `GET /echo/%E4%BD%A0?q=a+b 0 ""`},
	} {
		h.do(c.method, h.dataURL("/proxy/movies"+c.path), c.body).expect(t, 200, c.want)
	}
	h.get("/proxy/movies/empty").expect(t, 204)
	if a := h.do("HEAD", h.dataURL("/proxy/movies/file"), "").expect(t, 200); a.body != "" || a.header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: length %q, body %q", a.header.Get("Content-Length"), a.body)
	}
}

func TestTheProxyPathStripsWhatIsNotForTheUpstream(t *testing.T) {
	h := open(t, smallest, wire(nil))
	req, _ := http.NewRequest("GET", h.dataURL("/proxy/movies/echo/x"), nil)
	req.Header.Set("X-Tenant", "shop")
	req.Header.Set("Connection", "x-secret")
	req.Header.Set("X-Secret", "1")
	req.Header.Set("Te", "gzip")
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if want := `te="" conn="" tenant=""`; !strings.Contains(string(b), want) {
		t.Errorf("got %s, want %s", b, want)
	}
}

func TestRangesTrailersRedirectsAndEncodingsPassThrough(t *testing.T) {
	h := open(t, smallest, wire(nil))
	ask := func(path string, header ...string) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequest("GET", h.dataURL("/proxy/movies"+path), nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := h.client.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	for range 2 { // the second time with the whole in the cache
		if resp, b := ask("/file", "Range", "bytes=2-4"); resp.StatusCode != 206 || b != "234" {
			t.Errorf("range: %d %q", resp.StatusCode, b)
		}
		if resp, b := ask("/file"); resp.StatusCode != 200 || b != "0123456789" {
			t.Errorf("whole: %d %q", resp.StatusCode, b)
		}
	}
	for range 2 {
		if resp, b := ask("/trailers"); b != "body" || resp.Trailer.Get("X-Sum") != "42" {
			t.Errorf("trailers: %q %v", b, resp.Trailer)
		}
	}
	if resp, _ := ask("/redirect"); resp.StatusCode != 302 || resp.Header.Get("Location") != "/elsewhere" {
		t.Errorf("redirect: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	for range 2 {
		resp, b := ask("/gzip", "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(strings.NewReader(b))
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("gzip: %v, %q", err, resp.Header.Get("Content-Encoding"))
		}
		if plain, err := io.ReadAll(z); err != nil || len(plain) != 5000 {
			t.Errorf("gzip: %d bytes, %v", len(plain), err)
		}
	}
}

func TestStreamedAnswersArriveAsTheyAreSent(t *testing.T) {
	release := make(chan struct{})
	h := open(t, smallest, wire(release))
	resp, err := h.client.Get(h.dataURL("/proxy/movies/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if first, err := lines.ReadString('\n'); err != nil || first != "data: 1\n" {
		t.Fatalf("first event: %q, %v", first, err)
	}
	close(release) // only now does the upstream go on
	if rest, err := io.ReadAll(lines); err != nil || !strings.Contains(string(rest), "data: 2") {
		t.Errorf("the rest: %q, %v", rest, err)
	}
}

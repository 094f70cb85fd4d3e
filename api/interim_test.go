package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"penstock/request"
)

func TestProxyPassesInterimAnswersOn(t *testing.T) {
	h := newDataHandler(t, func(_ context.Context, r *request.Request) (*request.Response, error) {
		r.Interim.WriteInterim(100, http.Header{"X-A": {"never"}})
		r.Interim.WriteInterim(103, http.Header{"Link": {"</a.css>"}, "Keep-Alive": {"1"}})
		r.Interim.WriteInterim(102, nil)
		return reply(200, "{}"), nil
	})
	srv := httptest.NewServer(h)
	defer srv.Close()
	var codes []int
	var link string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		codes = append(codes, code)
		link += h.Get("Link") + h.Get("Keep-Alive") + h.Get("X-Request-Id")
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/proxy/movies/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if len(codes) != 2 || codes[0] != 103 || codes[1] != 102 || link != "</a.css>" {
		t.Errorf("interim answers %v, %q", codes, link)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Link") != "" || resp.Header.Get("X-Request-Id") == "" {
		t.Errorf("final answer %d %v", resp.StatusCode, resp.Header)
	}
}

func TestTagsForCachesStayInside(t *testing.T) {
	h := newDataHandler(t, replies(200, "{}", "Surrogate-Key", "a b", "Cache-Tag", "c", "X-A", "1"))
	w := ask(h, "GET", "/proxy/movies/a", "")
	if len(w.Header()["Surrogate-Key"])+len(w.Header()["Cache-Tag"]) != 0 || w.Header().Get("X-A") != "1" {
		t.Errorf("%v", w.Header())
	}
}

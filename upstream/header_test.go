package upstream

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/request"
)

func TestHopByHopFieldsAreDroppedBothWays(t *testing.T) {
	var got http.Header
	var host string
	c, _ := serve(t, Options{Headers: map[string]string{"x-static": "ours", "Accept-Language": "de"}}, func(w http.ResponseWriter, r *http.Request) {
		got, host = r.Header.Clone(), r.Host
		h := w.Header()
		h.Set("Connection", "X-Hop, x-other-hop")
		h.Set("X-Hop", "1")
		h.Set("X-Other-Hop", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Proxy-Authenticate", "Basic")
		h.Set("Upgrade", "h2c")
		h.Set("X-End", "1")
		h["Set-Cookie"] = []string{"a=1", "b=2"}
	})
	r := get("/")
	r.Header = http.Header{
		"Connection": {"keep-alive, X-Private", "Te"}, "X-Private": {"1"}, "Keep-Alive": {"1"}, "Proxy-Connection": {"1"},
		"Proxy-Authorization": {"s3cret"}, "Te": {"gzip, trailers"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"websocket"}, "Trailer": {"X"},
		"Content-Length": {"99"}, "Host": {"evil.test"}, "Http2-Settings": {"x"}, "X-Static": {"theirs"}, "Accept-Language": {"en"},
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Cookie": {"a=1"}, "x-lower": {"1"},
	}
	resp, _ := do(t, c, r)
	want := http.Header{
		"Te": {"trailers"}, "X-Static": {"ours"}, "Accept-Language": {"de"}, "Cookie": {"a=1"}, "X-Lower": {"1"},
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	for name, v := range want {
		if strings.Join(got[name], ",") != v[0] {
			t.Errorf("%s arrived as %q, want %q", name, got[name], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("arrived: %v\nwanted: %v", got, want)
	}
	if host != c.settings.Load().base.host {
		t.Errorf("Host arrived as %q", host)
	}
	for _, name := range []string{"Connection", "X-Hop", "X-Other-Hop", "Keep-Alive", "Proxy-Authenticate", "Upgrade"} {
		if v, ok := resp.Header[name]; ok {
			t.Errorf("%s: %q came back", name, v)
		}
	}
	if resp.Header.Get("X-End") != "1" || len(resp.Header["Set-Cookie"]) != 2 {
		t.Errorf("end-to-end fields were lost: %v", resp.Header)
	}
}

func TestUserAgentOfTheClientPasses(t *testing.T) {
	var got string
	c, _ := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) { got = r.UserAgent() })
	r := get("/")
	r.Header.Set("User-Agent", "theirs/1")
	if do(t, c, r); got != "theirs/1" {
		t.Errorf("User-Agent arrived as %q", got)
	}
}

func TestFaultyHeadersAreTheClientsFault(t *testing.T) {
	c, rec := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {})
	for _, h := range []http.Header{{"X": {"a\r\nEvil: 1"}}, {"X": {"a\x00"}}, {"Bad Name": {"1"}}, {"": {"1"}}} {
		r := get("/")
		r.Header = h
		_, err := c.Do(context.Background(), r)
		wantProblem(t, err, request.ProblemBadRequest, "")
	}
	for m, p := range map[string]request.Problem{
		"CONNECT": request.ProblemMethodNotAllowed, "TRACE": request.ProblemMethodNotAllowed, "G T": request.ProblemBadRequest, "": request.ProblemBadRequest,
	} {
		r := get("/")
		r.Method = m
		_, err := c.Do(context.Background(), r)
		wantProblem(t, err, p, "")
	}
	if n := len(rec.all()); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestCredentialsReplaceWhatTheClientSent(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_KEY", "s3cret&1")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\n t0ken \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var auth, query string
	o := Options{Name: "movies", Credentials: []Credential{
		{Header: "authorization", Prefix: "Bearer ", File: file},
		{Query: "api_key", Env: "PENSTOCK_TEST_KEY"},
	}}
	c, _ := serve(t, o, func(w http.ResponseWriter, r *http.Request) {
		auth, query = strings.Join(r.Header["Authorization"], ","), r.URL.RawQuery
	})
	for sent, want := range map[string]string{
		"":                             "api_key=s3cret%261",
		"a=1&b":                        "a=1&b&api_key=s3cret%261",
		"api_key=x&a=%20":              "a=%20&api_key=s3cret%261",
		"a=1&api%5Fkey=x&&api_key&c=d": "a=1&c=d&api_key=s3cret%261",
		"a=1;api_key=x&API_KEY=y":      "API_KEY=y&api_key=s3cret%261",
	} {
		r := get("/")
		r.RawQuery = sent
		r.Header["Authorization"] = []string{"theirs", "theirs too"}
		do(t, c, r)
		if auth != "Bearer t0ken" || query != want {
			t.Errorf("query %q arrived as %q with Authorization %q, want %q", sent, query, auth, want)
		}
	}

	// A reload reads the file anew; a faulty one changes nothing.
	o.BaseURL = c.settings.Load().opts.BaseURL
	if err := os.WriteFile(file, []byte("next"), 0o600); err != nil {
		t.Fatal(err)
	}
	commit, err := c.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	if do(t, c, get("/")); auth != "Bearer t0ken" {
		t.Errorf("before commit: %q", auth)
	}
	commit()
	if do(t, c, get("/")); auth != "Bearer next" {
		t.Errorf("after commit: %q", auth)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(o); err == nil || !strings.Contains(err.Error(), "upstreams.movies.credentials[0]") {
		t.Errorf("a missing file gave %v", err)
	}
}

func TestUnusableCredentialsNameTheSettingNotTheSecret(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_EMPTY", "")
	t.Setenv("PENSTOCK_TEST_BREAK", "s3cret\nX: 1")
	_, err := New(Options{Name: "movies", BaseURL: "http://a.test", Credentials: []Credential{
		{Header: "X-A", Env: "PENSTOCK_TEST_ABSENT"}, {Query: "b", Env: "PENSTOCK_TEST_EMPTY"},
		{Header: "X-C", Env: "PENSTOCK_TEST_BREAK"}, {Header: "X-D", File: filepath.Join(t.TempDir(), "none")},
	}}, Metrics{})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"credentials[0]", "credentials[1]", "credentials[2]", "credentials[3]", "PENSTOCK_TEST_ABSENT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("shows the secret: %v", err)
	}
}

// Whatever the client sends, the parameter is there once, with our value.
func FuzzQueryCredential(f *testing.F) {
	for _, q := range []string{"", "a=1", "api_key=x", "%61pi_key=x&&b", "a;api_key=1", "api_key", "=&api_key=&", "%zz&api_key=1"} {
		f.Add(q)
	}
	s := &settings{secretParams: []secretParam{{name: "api_key", encoded: "api_key=ours"}}}
	f.Fuzz(func(t *testing.T, raw string) {
		v, _ := url.ParseQuery(escapeInvalid(s.query(raw), validQueryByte))
		if got := v["api_key"]; len(got) != 1 || got[0] != "ours" {
			t.Fatalf("%q became %q: %q", raw, s.query(raw), got)
		}
	})
}

package upstream

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"penstock/request"
)

func TestPathsArriveAsTheyWereEncoded(t *testing.T) {
	var seen atomic.Value
	c, _ := serve(t, Options{BaseURL: "/api/v1/"}, func(w http.ResponseWriter, r *http.Request) { seen.Store(r.RequestURI) })
	for _, tc := range []struct{ path, query, want string }{
		{"", "", "/api/v1"},
		{"/", "", "/api/v1/"},
		{"/movies/1", "a=1&b=%20x", "/api/v1/movies/1?a=1&b=%20x"},
		{"/a%2Fb", "", "/api/v1/a%2Fb"},
		{"/a%2fb%5Cc", "", "/api/v1/a%2fb%5Cc"},
		{"/caf%C3%A9/%E2%82%AC", "", "/api/v1/caf%C3%A9/%E2%82%AC"},
		{"/x;v=1/(y)!$&'*+,:@=~", "", "/api/v1/x;v=1/(y)!$&'*+,:@=~"},
		{"/100%25", "", "/api/v1/100%25"},
		{"/a/./b", "", "/api/v1/a/./b"},
		{"/a//b", "", "/api/v1/a//b"},
		{"/https://other.test/x", "", "/api/v1/https://other.test/x"},
		{"/v1...2/..x/x../.hidden", "", "/api/v1/v1...2/..x/x../.hidden"},
		{"/a b|c\"d", "q=a b#c", "/api/v1/a%20b%7Cc%22d?q=a%20b%23c"},
		{"/caf\xc3\xa9", "q=\xc3\xa9", "/api/v1/caf%C3%A9?q=%C3%A9"},
		{"/q", "x=1\r\nHost: evil", "/api/v1/q?x=1%0D%0AHost:%20evil"},
		{"/q", "u=http://a/../..&b=%2e%2e;c", "/api/v1/q?u=http://a/../..&b=%2e%2e;c"},
	} {
		r := get(tc.path)
		r.RawQuery = tc.query
		do(t, c, r)
		if got := seen.Load(); got != tc.want {
			t.Errorf("path %q query %q arrived as %q, want %q", tc.path, tc.query, got, tc.want)
		}
	}
}

var escapes = []string{
	"/..", "/../x", "/a/../../x", "/%2e%2e/x", "/.%2E/x", "/a/%2e%2e%2fx", "/..%2fx", "/a%2f..%2f..%2fx", `/..\x`, "/..%5cx",
	"/a/..;/x", "/a/..;jsessionid=1/x", "/%2e%2e%3b/x", "/%252e%252e/x", "/%25252e%25252e%25252fx", "/..%00/x", "/a%00", "/.. /x", "/..%20/x",
	"/..%09/x", "/%c0%ae%c0%ae/x", "/..%c0%afx", "//evil.test/x", "///x", "http://evil.test/", "evil", "*", "@evil.test/", ":80/x", "?x", "/a?b", "/a#b",
	`/a\b`, `\\evil.test\x`, "/a\nb", "/a\x00b", "/%zz", "/%", "/%2", "/%2525252525252e",
}

func TestPathsThatTryToEscapeAreRefused(t *testing.T) {
	c, rec := serve(t, Options{BaseURL: "/api/v1"}, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the upstream was called with %q", r.RequestURI)
	})
	for _, p := range escapes {
		_, err := c.Do(context.Background(), get(p))
		if err == nil {
			t.Errorf("path %q was let through", p)
			continue
		}
		if e, ok := err.(*request.Error); !ok || e.Problem != request.ProblemBadRequest {
			t.Errorf("path %q: %v", p, err)
		}
	}
	if n := len(rec.all()); n != 0 {
		t.Errorf("%d calls were reported", n)
	}
}

// Whatever path is let through stays on the host and below the base path, also for a server that
// decodes it twice, and net/url reads it back as the same.
func FuzzURLStaysBelowBase(f *testing.F) {
	for _, p := range escapes {
		f.Add(p, "a=1")
	}
	f.Add("/movies/a%2Fb", "x=%20&y=;")
	f.Add("/caf\xc3\xa9/[x]", " #\r\n")
	bases := []string{"http://movies.test:8080", "https://movies.test/api/v1/"}
	f.Fuzz(func(t *testing.T, p, query string) {
		for _, raw := range bases {
			b, err := parseBase(raw)
			if err != nil {
				t.Fatal(err)
			}
			u, err := b.url(p, query)
			if err != nil {
				continue
			}
			line := u.RequestURI()
			if strings.ContainsAny(line, " #\\\r\n\x00") && strings.ContainsAny(strings.SplitN(line, "?", 2)[0], " #\\\r\n\x00") {
				t.Fatalf("request line of %q: %q", p, line)
			}
			if u.Host != b.host || u.Scheme != b.scheme || u.EscapedPath() != u.RawPath {
				t.Fatalf("path %q became %q (escaped %q)", p, u, u.EscapedPath())
			}
			back, err := url.ParseRequestURI(line)
			if err != nil || back.Host != "" || back.Path != u.Path {
				t.Fatalf("a server reads %q as %+v, %v", line, back, err)
			}
			plain := u.Path
			for range 3 {
				clean := path.Clean(strings.ReplaceAll(plain, `\`, "/"))
				basePath, _ := url.PathUnescape(b.path)
				if clean != basePath && !strings.HasPrefix(clean, basePath+"/") {
					t.Fatalf("path %q leaves the base: %q", p, clean)
				}
				next, err := url.PathUnescape(plain)
				if err != nil {
					break
				}
				plain = next
			}
		}
	})
}

func TestBaseURLsThatCantServeAreRefused(t *testing.T) {
	for _, raw := range []string{
		"", "movies", "/x", "ftp://a", "http://", "http:///x", "http://:80", "http://u:s3cret@a", "http://a?x=1", "http://a#f", "http://a#",
		"http://a/../b", "http://a/%2e%2e/b", "http://a b", "mailto:x@y", "http://a/x%zz",
	} {
		_, err := parseBase(raw)
		if err == nil {
			t.Errorf("%q was taken", raw)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}

package cache

import (
	"context"
	"testing"

	"penstock/request"
)

// RFC 9111, section 4.4: what an unsafe method's answer points to is invalidated, on the same origin
// only.
func TestRFC9111Section4_4WhatIsOfTheSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		base, path, reference, to, query string
	}{
		{"http://api.test/v1", "/a/b", "http://api.test/v1/c?x=1#f", "/c", "x=1"},
		{"http://api.test/v1/", "/a/b", "http://API.test:80/v1/c", "/c", ""},
		{"https://api.test", "/a/b", "https://api.test:443/c", "/c", ""},
		{"http://api.test/v1", "/a/b", "/v1/c", "/c", ""},
		{"http://api.test/v1", "/a/b", "c", "/a/c", ""},
		{"http://api.test/v1", "/a/b", "?x=1", "/a/b", "x=1"},
		{"http://api.test/v1", "/a/b", "/v1", "/", ""},
		{"http://api.test/v1", "/a/b", "//api.test/v1/%C3%A9%2F", "/%C3%A9%2F", ""},
		{"http://api.test", "/a%2Fb/c", "d", "/a%2Fb/d", ""},
		{"", "/a/b", "/c?x=1", "/c", "x=1"},
		{"http://api.test/v1", "/a/b", "/v1c/d", "", ""},
		{"http://api.test/v1", "/a/b", "/c", "", ""},
		{"http://api.test/v1", "/a/b", "../../../c", "", ""},
		{"http://api.test", "/a/b", "https://api.test/c", "", ""},
		{"http://api.test", "/a/b", "http://api.test:8080/c", "", ""},
		{"http://api.test", "/a/b", "http://elsewhere.test/c", "", ""},
		{"http://api.test", "/a/b", "//elsewhere.test/c", "", ""},
		{"http://api.test", "/a/b", "http://me@api.test/c", "", ""},
		{"http://api.test", "/a/b", "http://[::1/c", "", ""},
		{"http://api.test", "/a/b", "", "", ""},
		{"", "/a/b", "https://elsewhere.test/c", "", ""},
	} {
		to, query, ok := sameOrigin(tc.base, tc.path, tc.reference)
		if !ok {
			to, query = "", ""
		}
		if to != tc.to || query != tc.query {
			t.Errorf("%s%s -> %s: %q ? %q, want %q ? %q", tc.base, tc.path, tc.reference, to, query, tc.to, tc.query)
		}
	}
}

func TestRFC9111Section4_4AbsoluteLocationsAreInvalidated(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Method == "POST" {
			return reply(201, "", "Location", "http://api.test/v1/b", "Content-Location", "http://elsewhere.test/v1/c"), nil
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}}
	c := newCache(t, testOptions(), o)
	route := httpRoute()
	route.BaseURL = "http://api.test/v1"
	ask := func(path string) answer {
		r := get(route, proxyKey("up", path, ""))
		r.Path = path
		return do(t, c, r)
	}
	for _, path := range []string{"/a", "/b", "/c"} {
		ask(path)
	}
	post := &request.Request{Route: route, Method: "POST", Path: "/a"}
	do(t, c, post)
	for path, hit := range map[string]bool{"/a": false, "/b": false, "/c": true} {
		if a := ask(path); a.Cache.Hit != hit {
			t.Errorf("%s: %+v", path, a.Cache)
		}
	}
}

func FuzzSameOrigin(f *testing.F) {
	f.Add("/a", "//x/b?c#d")
	f.Add("/%2F", "../../..")
	f.Fuzz(func(t *testing.T, path, reference string) {
		if path == "" || path[0] != '/' {
			return
		}
		if to, _, ok := sameOrigin("http://api.test/v1", path, reference); ok && (to == "" || to[0] != '/') {
			t.Errorf("%q from %q: %q", reference, path, to)
		}
	})
}

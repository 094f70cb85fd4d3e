package cache

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// RFC 9111, section 4.3.5: freshening responses with HEAD.
func TestSection4_3_5(t *testing.T) {
	for name, tc := range map[string]struct {
		head  []string
		fresh bool
	}{
		"the same state renews the copy":      {[]string{"Cache-Control", "max-age=600", "Etag", `"1"`, "X-New", "1"}, true},
		"another entity tag ends it":          {[]string{"Cache-Control", "max-age=600", "Etag", `"2"`}, false},
		"another length ends it":              {[]string{"Cache-Control", "max-age=600", "Content-Length", "7"}, false},
		"another time of last change ends it": {[]string{"Cache-Control", "max-age=600", "Last-Modified", date}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{}
				o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
					if r.Method == http.MethodHead {
						return reply(200, "", tc.head...), nil
					}
					return reply(200, "x", "Cache-Control", "max-age=600", "Etag", `"1"`, "Content-Length", "1", "Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"), nil
				}
				c := newCache(t, testOptions(), o)
				do(t, c, get(httpRoute(), "k"))
				time.Sleep(5 * time.Minute)
				h := get(httpRoute(), "k", "Cache-Control", "no-cache")
				h.Method = http.MethodHead
				do(t, c, h)
				resp := do(t, c, get(httpRoute(), "k"))
				if resp.Cache.Hit != tc.fresh || resp.body != "x" {
					t.Fatalf("hit %v, want %v; %q", resp.Cache.Hit, tc.fresh, resp.body)
				}
				if tc.fresh && (resp.Cache.Age > time.Minute || resp.Header.Get("X-New") == "") {
					t.Errorf("the copy was not renewed: age %v, %v", resp.Cache.Age, resp.Header)
				}
			})
		})
	}
}

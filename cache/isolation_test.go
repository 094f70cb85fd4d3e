package cache

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/request"
)

// mirror answers with who asked: whatever an attacker gets of it must be his own.
func mirror(header ...string) *origin {
	o := &origin{}
	o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
		who := r.Header.Get("Authorization") + "|" + r.Header.Get("Cookie") + "|" + r.Header.Get("X-Who")
		return reply(200, who, header...), nil
	}
	return o
}

// TestNobodyReadsAnothersAnswer has a victim fill the cache, and attackers ask in every way that might
// find it.
func TestNobodyReadsAnothersAnswer(t *testing.T) {
	victim := []string{"Authorization", "victim", "Cookie", "id=victim"}
	attacks := map[string][]string{
		"no credentials":             nil,
		"others":                     {"Authorization", "attacker", "Cookie", "id=attacker"},
		"the cookie only":            {"Cookie", "id=attacker"},
		"a stale copy will do":       {"Authorization", "attacker", "Cache-Control", "max-stale"},
		"only from the cache":        {"Authorization", "attacker", "Cache-Control", "only-if-cached"},
		"a condition that matches":   {"Authorization", "attacker", "If-None-Match", "*"},
		"the victim's entity tag":    {"Authorization", "attacker", "If-None-Match", `"1"`},
		"a part":                     {"Authorization", "attacker", "Range", "bytes=0-3"},
		"a part of a certain state":  {"Authorization", "attacker", "Range", "bytes=0-3", "If-Range", `"1"`},
		"two Authorization fields":   {"Authorization", "attacker", "Authorization", "victim"},
		"both joined":                {"Authorization", "attacker, victim"},
		"two Cookie fields":          {"Authorization", "attacker", "Cookie", "id=attacker", "Cookie", "id=victim"},
		"the separator of our keys":  {"Authorization", "attacker\x00C", "Cookie", "\x00N1"},
		"the selecting field absent": {"Authorization", "attacker", "Accept-Language", ""},
	}
	answers := map[string][]string{
		"private":                     {"Cache-Control", "private, max-age=60", "Etag", `"1"`},
		"max-age without leave":       {"Cache-Control", "max-age=60", "Etag", `"1"`},
		"nothing said":                {"Etag", `"1"`},
		"Set-Cookie":                  {"Cache-Control", "public, max-age=60", "Set-Cookie", "id=victim", "Etag", `"1"`},
		"varies by the credentials":   {"Cache-Control", "public, max-age=60", "Vary", "authorization,COOKIE", "Etag", `"1"`},
		"varies by everything":        {"Cache-Control", "public, max-age=60", "Vary", "*", "Etag", `"1"`},
		"varies, in two lines":        {"Cache-Control", "public, max-age=60", "Vary", "Accept", "Vary", "Authorization, Cookie", "Etag", `"1"`},
		"no-cache with a private one": {"Cache-Control", `no-cache, private="X"`, "Etag", `"1"`},
	}
	for said, header := range answers {
		for how, attack := range attacks {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				o := mirror(header...)
				c := newCache(t, testOptions(), o)
				for range 2 {
					do(t, c, get(httpRoute(), "k", victim...))
				}
				r := get(httpRoute(), "k", attack...)
				r.Method = method
				resp, err := c.Do(t.Context(), r)
				if err != nil {
					continue // only-if-cached
				}
				if body := readBody(t, resp); resp.Status == 200 && strings.Contains(body, "victim") && how != "two Authorization fields" && how != "both joined" && how != "two Cookie fields" {
					t.Errorf("%s, asked with %s: got %q", said, how, body)
				}
				if resp.Cache.Hit {
					t.Errorf("%s, asked with %s by %s: a hit", said, how, method)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestARoutesTTLKeepsTenantsCredentialsApart: under CacheTTL the upstream has no say, so the key must.
func TestARoutesTTLKeepsTenantsCredentialsApart(t *testing.T) {
	o := mirror("Cache-Control", "public, max-age=60")
	c := newCache(t, testOptions(), o)
	users := [][]string{nil, {"Authorization", "a"}, {"Authorization", "b"}, {"Cookie", "a"}, {"Authorization", "a", "Cookie", "a"}, {"Authorization", ""}}
	for range 3 {
		for _, u := range users {
			r := get(ttlRoute(time.Hour), "k", u...)
			want := r.Header.Get("Authorization") + "|" + r.Header.Get("Cookie") + "|"
			if got := do(t, c, r).body; got != want {
				t.Errorf("%q got %q", u, got)
			}
		}
	}
	o.wantCalls(t, int64(len(users)))
}

// TestFlightKeysOfDifferentQuestionsDiffer makes keys that would collide if their parts were only
// joined.
func TestFlightKeysOfDifferentQuestionsDiffer(t *testing.T) {
	type question struct {
		method, key string
		header      http.Header
		vary        []string
	}
	questions := []question{
		{"GET", "k", nil, nil},
		{"HEAD", "k", nil, nil},
		{"GET", "k", http.Header{"Cookie": {"a"}}, nil},
		{"GET", "k", http.Header{"Authorization": {"a"}}, nil},
		{"GET", "k", http.Header{"Authorization": {"a"}, "Cookie": {"b"}}, nil},
		{"GET", "k", http.Header{"Authorization": {"a", "b"}}, nil},
		{"GET", "k", http.Header{"Authorization": {"ab"}}, nil},
		{"GET", "k", http.Header{"Authorization": {"a,b"}}, nil},
		{"GET", "k", nil, []string{"Accept"}},
		{"GET", "k", http.Header{"Accept": {""}}, []string{"Accept"}},
		{"GET", "k", http.Header{"Accept": {"a"}}, []string{"Accept"}},
		{"GET", "k", http.Header{"Accept": {"a"}, "X": {"b"}}, []string{"Accept", "X"}},
		{"GET", "k", http.Header{"Accept": {"a=b"}}, []string{"Accept"}},
		{"GET", "kH", nil, nil},
	}
	seen := map[string]question{}
	for _, q := range questions {
		key := flightKey(q.method, q.key, q.header, q.vary)
		if before, taken := seen[key]; taken {
			t.Errorf("%+v and %+v share a flight", before, q)
		}
		seen[key] = q
	}
}

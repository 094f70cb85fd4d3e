package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// TestSoak lets an upstream fail at random for ten minutes of virtual time: errors, broken bodies,
// delays and refusals, under crowds of several users. No client sees an error while there is a usable
// copy, none gets a copy that is too old, and none another's answer.
func TestSoak(t *testing.T) {
	const (
		fresh  = 5 * time.Second
		window = 40 * time.Second
		keys   = 12
	)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex                 // guards broken: refreshes run beside the test
		broken := make([]time.Time, keys) // until when the key fails
		good := make(map[string]time.Time)
		o := &origin{}
		o.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
			var i int
			_, _ = fmt.Sscanf(r.Key, "key%d", &i)
			private := i%3 == 2
			mu.Lock()
			fails := time.Now().Before(broken[i])
			mu.Unlock()
			if fails {
				switch i % 4 {
				case 0:
					return reply(503, "no"), nil
				case 1:
					return nil, request.Errorf(request.ProblemUpstreamDown, "down")
				case 2:
					return nil, request.Errorf(request.ProblemUpstreamTimeout, "slow")
				default:
					return reply(500, "garbage", "Cache-Control", "max-age=600"), nil
				}
			}
			control := fmt.Sprintf("max-age=%d, stale-if-error=%d, stale-while-revalidate=2", int(fresh.Seconds()), int(window.Seconds()))
			if private {
				control = "private, " + control
			}
			resp := reply(200, fmt.Sprintf("%s|%s|%d", r.Key, r.Header.Get("Cookie"), time.Now().UnixNano()), "Cache-Control", control)
			return resp, nil
		}
		options := testOptions()
		options.RefreshAhead, options.ErrorBackoff, options.ErrorBackoffMax = 0.1, time.Second, 10*time.Second
		c := newCache(t, options, o)
		served, failures, stale := 0, 0, 0
		for start := time.Now(); time.Since(start) < 10*time.Minute; {
			if rng.IntN(20) == 0 {
				mu.Lock()
				broken[rng.IntN(keys)] = time.Now().Add(time.Duration(rng.IntN(90)) * time.Second)
				mu.Unlock()
			}
			i, user := rng.IntN(keys), fmt.Sprintf("u%d", rng.IntN(3))
			r := get(httpRoute(), fmt.Sprintf("key%d", i))
			private := i%3 == 2
			if private {
				r.Header.Set("Cookie", user)
			}
			resp, err := c.Do(t.Context(), r)
			served++
			usable := !private && time.Since(good[r.Key]) < fresh+window
			if err != nil || resp.Status != 200 {
				failures++
				if usable {
					t.Fatalf("%s: error %v although a copy of %v ago is there", r.Key, err, time.Since(good[r.Key]))
				}
				time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
				continue
			}
			var who string
			var made int64
			parts := strings.Split(readBody(t, resp), "|")
			who = parts[1]
			_, _ = fmt.Sscan(parts[2], &made)
			age := time.Since(time.Unix(0, made))
			switch {
			case parts[0] != r.Key || private && who != user:
				t.Fatalf("%s asked for %s and got %q", user, r.Key, parts)
			case age >= fresh+window:
				t.Fatalf("%s: a copy of %v, allowed are %v", r.Key, age, fresh+window)
			}
			if age > fresh {
				stale++
			}
			if at := time.Unix(0, made); at.After(good[r.Key]) {
				good[r.Key] = at
			}
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
		if stale == 0 || failures == 0 || served < 1000 {
			t.Errorf("nothing was tried: %d served, %d stale, %d failures", served, stale, failures)
		}
		t.Logf("%d served, %d of them stale, %d failures without a copy, %d calls", served, stale, failures, o.calls.Load())
	})
}

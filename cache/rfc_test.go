package cache

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// exchange is one request of a case, after some time, and what must become of it.
type exchange struct {
	after  time.Duration
	method string   // "": GET
	asks   []string // header name, value, ...
	// hit: answered from the store. status is of the answer, 0: 200, or -1: a problem. calls are those of the upstream so far, 0: as before and
	// one more if it is no hit.
	hit    bool
	status int
	// has and lacks are fields of the answer, "Name: part"; toUpstream is a field of the call.
	has, lacks, toUpstream string
}

// TestBySection goes through what RFC 9111, 9110, 5861, 9211 and 9213 ask of a shared cache, exchange by exchange. A failure names the section.
// The policy's decisions alone are in TestRFC9111, and the longer stories in files named after their section.
func TestBySection(t *testing.T) {
	miss, hit := exchange{}, exchange{hit: true}
	again := func(asks ...string) exchange { return exchange{asks: asks} }
	with := func(e exchange, asks ...string) exchange { e.asks = asks; return e }
	later := func(e exchange, d time.Duration) exchange { e.after = d; return e }
	problem := exchange{status: -1}
	const s = time.Second
	for _, tc := range []struct {
		section, what string
		answer        []string // the header of every answer; "Status" stands for itself
		exchanges     []exchange
	}{
		{"RFC 9111, 3", "a fresh answer is stored", []string{"Cache-Control", "max-age=60"}, []exchange{miss, hit, later(hit, 59*s), later(miss, 2*s)}},
		{"RFC 9111, 3", "a status that is not understood, with explicit freshness", []string{"Status", "299", "Cache-Control", "max-age=60"}, []exchange{{status: 299}, {status: 299, hit: true}}},
		{"RFC 9111, 3", "HEAD stores nothing for GET", []string{"Cache-Control", "max-age=60"}, []exchange{{method: "HEAD"}, miss, hit}},
		{"RFC 9111, 3", "neither freshness nor a validator", nil, []exchange{miss, miss}},
		{"RFC 9111, 3.1", "fields of a connection are not stored", []string{"Cache-Control", "max-age=60", "Connection", "X-Hop", "X-Hop", "1", "Proxy-Authenticate", "Basic"},
			[]exchange{miss, {hit: true, lacks: "Proxy-Authenticate"}}},
		{"RFC 9111, 3.2", "a 304 replaces stored fields", []string{"Cache-Control", "max-age=1", "Etag", `"1"`, "X-Count", "N"},
			[]exchange{miss, {after: 2 * s, has: "X-Count: 2", toUpstream: `If-None-Match: "1"`}, {hit: true, has: "X-Count: 2"}}},
		{"RFC 9111, 3.3", "a part is not stored", []string{"Status", "206", "Cache-Control", "max-age=60", "Content-Range", "bytes 0-0/2"}, []exchange{{status: 206}, {status: 206}}},
		{"RFC 9111, 3.4", "a part of a stored whole is answered from it", []string{"Cache-Control", "max-age=60"},
			[]exchange{miss, {asks: []string{"Range", "bytes=0-1"}, hit: true, status: 206, has: "Content-Range: bytes 0-1/"}}},
		{"RFC 9111, 3.5", "Authorization without leave", []string{"Cache-Control", "max-age=60"}, []exchange{again("Authorization", "a"), again("Authorization", "a"), miss}},
		{"RFC 9111, 3.5", "Authorization, public", []string{"Cache-Control", "public, max-age=60"}, []exchange{again("Authorization", "a"), with(hit, "Authorization", "b"), hit}},
		{"RFC 9111, 3.5", "Authorization, must-revalidate", []string{"Cache-Control", "must-revalidate, max-age=60"}, []exchange{again("Authorization", "a"), hit}},
		{"RFC 9111, 3.5", "Authorization, s-maxage", []string{"Cache-Control", "s-maxage=60"}, []exchange{again("Authorization", "a"), hit}},
		{"RFC 9111, 3.5", "what was stored for all is not for who has Authorization", []string{"Cache-Control", "max-age=60"}, []exchange{miss, again("Authorization", "a"), hit}},
		{"RFC 9111, 4", "the query is a part of the key, the fields of the request are not", []string{"Cache-Control", "max-age=60"}, []exchange{miss, with(hit, "X-A", "b", "User-Agent", "c")}},
		{"RFC 9111, 4", "Age tells how old", []string{"Cache-Control", "max-age=60", "Age", "10"}, []exchange{miss, {after: 20 * s, hit: true}, later(miss, 31*s)}},
		{"RFC 9111, 4.1", "Vary: other values, other answers", []string{"Cache-Control", "max-age=60", "Vary", "Accept"},
			[]exchange{again("Accept", "a"), again("Accept", "b"), with(hit, "Accept", "a"), with(hit, "Accept", "b"), miss, hit}},
		{"RFC 9111, 4.1", "Vary: *", []string{"Cache-Control", "max-age=60", "Vary", "*"}, []exchange{miss, miss}},
		{"RFC 9111, 4.1", "Vary in several lines and any case", []string{"Cache-Control", "max-age=60", "Vary", "x-a", "Vary", "X-B"},
			[]exchange{again("X-A", "1", "X-B", "1"), again("X-A", "1", "X-B", "2"), with(hit, "X-A", "1", "X-B", "1")}},
		{"RFC 9111, 4.2.1", "s-maxage before max-age before Expires", []string{"Cache-Control", "max-age=1, s-maxage=60", "Expires", "0"}, []exchange{miss, later(hit, 50*s)}},
		{"RFC 9111, 4.2.1", "an invalid Expires has passed", []string{"Expires", "0"}, []exchange{miss, miss}},
		{"RFC 9111, 4.2.4", "stale is not served without leave", []string{"Cache-Control", "max-age=10"}, []exchange{miss, later(miss, 11*s)}},
		{"RFC 9111, 4.3.1", "a stale answer is validated by its entity tag", []string{"Cache-Control", "max-age=1", "Etag", `W/"1"`}, []exchange{miss, {after: 2 * s, toUpstream: `If-None-Match: W/"1"`}, hit}},
		{"RFC 9111, 4.3.2", "the client's condition is answered from the store", []string{"Cache-Control", "max-age=60", "Etag", `"1"`},
			[]exchange{miss, {asks: []string{"If-None-Match", `"0", W/"1"`}, hit: true, status: 304}, {asks: []string{"If-None-Match", `"2"`}, hit: true}, {asks: []string{"If-None-Match", "*"}, hit: true, status: 304}}},
		{"RFC 9111, 4.3.2", "If-None-Match comes before If-Modified-Since", []string{"Cache-Control", "max-age=60", "Etag", `"1"`, "Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"},
			[]exchange{miss, {asks: []string{"If-None-Match", `"2"`, "If-Modified-Since", "Sun, 02 Jan 2000 00:00:00 GMT"}, hit: true}, {asks: []string{"If-Modified-Since", "Sun, 02 Jan 2000 00:00:00 GMT"}, hit: true, status: 304}}},
		{"RFC 9111, 4.4", "an unsafe method ends what is stored", []string{"Cache-Control", "max-age=60"}, []exchange{miss, {method: "PUT"}, miss, {method: "DELETE"}, miss, {method: "FOO"}, miss, hit}},
		{"RFC 9111, 4.4", "one that fails does not", []string{"Status", "404", "Cache-Control", "max-age=60"}, []exchange{{status: 404}, {method: "POST", status: 404}, {status: 404, hit: true}}},
		{"RFC 9111, 5.2.1.1", "request: max-age", []string{"Cache-Control", "max-age=60"}, []exchange{miss, later(with(hit, "Cache-Control", "max-age=20"), 10*s), later(again("Cache-Control", "max-age=20"), 15*s)}},
		{"RFC 9111, 5.2.1.2", "request: max-stale", []string{"Cache-Control", "max-age=10"},
			[]exchange{miss, later(with(hit, "Cache-Control", "max-stale=10"), 15*s), with(hit, "Cache-Control", "max-stale"), again("Cache-Control", "max-stale=1")}},
		{"RFC 9111, 5.2.1.3", "request: min-fresh", []string{"Cache-Control", "max-age=60"}, []exchange{miss, later(with(hit, "Cache-Control", "min-fresh=40"), 10*s), again("Cache-Control", "min-fresh=55")}},
		{"RFC 9111, 5.2.1.4", "request: no-cache", []string{"Cache-Control", "max-age=60"}, []exchange{miss, again("Cache-Control", "no-cache"), hit}},
		{"RFC 9111, 5.4", "request: Pragma counts where there is no Cache-Control", []string{"Cache-Control", "max-age=60"}, []exchange{miss, again("Pragma", "no-cache"), with(hit, "Pragma", "no-cache", "Cache-Control", "max-age=60")}},
		{"RFC 9111, 5.2.1.5", "request: no-store", []string{"Cache-Control", "max-age=60"}, []exchange{again("Cache-Control", "no-store"), miss, hit}},
		{"RFC 9111, 5.2.1.6", "request: no-transform changes nothing", []string{"Cache-Control", "max-age=60"}, []exchange{miss, with(hit, "Cache-Control", "no-transform")}},
		{"RFC 9111, 5.2.1.7", "request: only-if-cached", []string{"Cache-Control", "max-age=60"}, []exchange{with(problem, "Cache-Control", "only-if-cached"), miss, with(hit, "Cache-Control", "only-if-cached")}},
		{"RFC 9111, 5.2.2.1", "max-age, quoted", []string{"Cache-Control", `max-age="60"`}, []exchange{miss, hit}},
		{"RFC 9111, 5.2.2.2", "must-revalidate: max-stale does not count", []string{"Cache-Control", "max-age=10, must-revalidate"}, []exchange{miss, hit, later(again("Cache-Control", "max-stale"), 11*s)}},
		{"RFC 9111, 5.2.2.3", "must-understand lifts no-store for a status that is known", []string{"Cache-Control", "must-understand, no-store, max-age=60"}, []exchange{miss, hit}},
		{"RFC 9111, 5.2.2.4", "no-cache is validated at each use", []string{"Cache-Control", "no-cache, max-age=60", "Etag", `"1"`}, []exchange{miss, {toUpstream: `If-None-Match: "1"`}, {toUpstream: `If-None-Match: "1"`}}},
		{"RFC 9111, 5.2.2.4", "no-cache with fields withholds them", []string{"Cache-Control", `no-cache="X-Own", max-age=60`, "X-Own", "1"}, []exchange{{has: "X-Own: 1"}, {hit: true, lacks: "X-Own"}}},
		{"RFC 9111, 5.2.2.5", "no-store", []string{"Cache-Control", "no-store, max-age=60"}, []exchange{miss, miss}},
		{"RFC 9111, 5.2.2.6", "no-transform: it is stored", []string{"Cache-Control", "no-transform, max-age=60"}, []exchange{miss, hit}},
		{"RFC 9111, 5.2.2.7", "private", []string{"Cache-Control", "private, max-age=60"}, []exchange{miss, miss}},
		{"RFC 9111, 5.2.2.7", "private with fields withholds them", []string{"Cache-Control", `private="X-Own", max-age=60`, "X-Own", "1"}, []exchange{{has: "X-Own: 1"}, {hit: true, lacks: "X-Own"}}},
		{"RFC 9111, 5.2.2.8", "proxy-revalidate", []string{"Cache-Control", "max-age=10, proxy-revalidate"}, []exchange{miss, hit, later(again("Cache-Control", "max-stale"), 11*s)}},
		{"RFC 9111, 5.2.2.9", "public", []string{"Status", "403", "Cache-Control", "public, max-age=60"}, []exchange{{status: 403}, {status: 403, hit: true}}},
		{"RFC 9111, 5.2.2.10", "s-maxage is as strict as proxy-revalidate", []string{"Cache-Control", "s-maxage=10"}, []exchange{miss, hit, later(again("Cache-Control", "max-stale"), 11*s)}},
		{"RFC 9111, 5.2.3", "an unknown directive counts for nothing", []string{"Cache-Control", `max-age=60, x, y="no-store"`}, []exchange{miss, hit}},
		{"RFC 8246, 2", "immutable changes nothing for a cache that is not asked to reload", []string{"Cache-Control", "max-age=60, immutable"}, []exchange{miss, hit, again("Cache-Control", "no-cache")}},
		{"RFC 9110, 9.3.2", "HEAD is answered from a stored GET", []string{"Cache-Control", "max-age=60"}, []exchange{miss, {method: "HEAD", hit: true}}},
		{"RFC 9110, 13.1.1", "If-Match is the upstream's to judge", []string{"Cache-Control", "max-age=60", "Etag", `"1"`}, []exchange{miss, {asks: []string{"If-Match", `"2"`}, toUpstream: `If-Match: "2"`}}},
		{"RFC 9110, 13.1.4", "If-Unmodified-Since too", []string{"Cache-Control", "max-age=60"}, []exchange{miss, again("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")}},
		{"RFC 9110, 13.1.5", "If-Range that does not match gets the whole", []string{"Cache-Control", "max-age=60", "Etag", `"1"`},
			[]exchange{miss, {asks: []string{"Range", "bytes=0-1", "If-Range", `"1"`}, hit: true, status: 206}, {asks: []string{"Range", "bytes=0-1", "If-Range", `"2"`}, hit: true}}},
		{"RFC 5861, 3", "stale-while-revalidate", []string{"Cache-Control", "max-age=10, stale-while-revalidate=10"}, []exchange{miss, later(hit, 15*s), later(hit, s), later(miss, 60*s)}},
		{"RFC 9213, 2.2", "CDN-Cache-Control comes first", []string{"Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60"}, []exchange{miss, hit}},
		{"RFC 9213, 2.2", "and forbids, too", []string{"Cache-Control", "max-age=60", "CDN-Cache-Control", "no-store"}, []exchange{miss, miss}},
	} {
		t.Run(tc.section+" "+tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { bySection(t, tc.section, tc.answer, tc.exchanges) })
		})
	}
}

func bySection(t *testing.T, section string, header []string, exchanges []exchange) {
	o := &origin{}
	o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
		resp := reply(200, "a body", header...)
		for name, lines := range resp.Header {
			for i := range lines {
				lines[i] = strings.Replace(lines[i], "N", itoa(int(o.calls.Load())), 1)
			}
			if name == "Status" {
				resp.Status = int(lines[0][0]-'0')*100 + int(lines[0][1]-'0')*10 + int(lines[0][2]-'0')
			}
		}
		delete(resp.Header, "Status")
		if tag := resp.Header.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
			resp.Status, resp.Body, resp.ContentLength = http.StatusNotModified, http.NoBody, 0
		}
		if r.Method == http.MethodHead {
			resp.Body = http.NoBody
		}
		return resp, nil
	}
	c := newCache(t, testOptions(), o)
	for i, e := range exchanges {
		time.Sleep(e.after)
		before := o.calls.Load()
		r := get(httpRoute(), "up /k", e.asks...)
		r.Path = "/k"
		if e.method != "" {
			r.Method = e.method
			if e.method != http.MethodHead {
				r.Key = ""
			}
		}
		resp, err := c.Do(t.Context(), r)
		if (err != nil) != (e.status == -1) {
			t.Fatalf("%s: exchange %d: %v", section, i+1, err)
		}
		if err != nil {
			continue
		}
		readBody(t, resp)
		synctest.Wait()
		status := max(e.status, 200)
		if e.status == 0 {
			status = 200
		}
		if resp.Cache.Hit != e.hit || resp.Status != status {
			t.Errorf("%s: exchange %d: status %d, hit %v; want %d, %v (%+v)", section, i+1, resp.Status, resp.Cache.Hit, status, e.hit, resp.Cache)
		}
		if !e.hit && o.calls.Load() == before {
			t.Errorf("%s: exchange %d made no call", section, i+1)
		}
		if name, part, _ := strings.Cut(e.has, ": "); name != "" && !strings.Contains(strings.Join(resp.Header[name], ","), part) {
			t.Errorf("%s: exchange %d: %s is %q, want %s", section, i+1, name, resp.Header[name], part)
		}
		if e.lacks != "" && len(resp.Header[e.lacks]) > 0 {
			t.Errorf("%s: exchange %d has %s", section, i+1, e.lacks)
		}
		if name, part, _ := strings.Cut(e.toUpstream, ": "); name != "" && o.last().Header.Get(name) != part {
			t.Errorf("%s: exchange %d: the upstream saw %s %q, want %s", section, i+1, name, o.last().Header[name], part)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

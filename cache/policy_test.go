package cache

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"penstock/request"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date = now.Format(http.TimeFormat)
)

func ago(d time.Duration) string { return now.Add(-d).Format(http.TimeFormat) }

// TestRFC9111 names the section that each case comes from.
func TestRFC9111(t *testing.T) {
	type want struct {
		store, share bool
		lifetime     time.Duration
		strict       bool
	}
	no := want{}
	fresh := func(seconds int) want {
		return want{store: true, share: true, lifetime: time.Duration(seconds) * time.Second}
	}
	shared := want{share: true}
	strict := func(w want) want { w.strict = true; return w }
	for _, tc := range []struct {
		name   string
		status int
		q      question
		header []string
		want   want
	}{
		{"3 explicit freshness", 200, question{}, []string{"Cache-Control", "max-age=60"}, fresh(60)},
		{"3 HEAD is not stored", 200, question{method: "HEAD"}, []string{"Cache-Control", "max-age=60"}, want{share: true, lifetime: time.Minute}},
		{"3 status without default and no freshness", 403, question{}, []string{"Last-Modified", ago(time.Hour)}, shared},
		{"3 any final status with freshness", 403, question{}, []string{"Cache-Control", "max-age=60"}, fresh(60)},
		{"3 request no-store", 200, question{noStore: true}, []string{"Cache-Control", "max-age=60"}, want{share: true, lifetime: time.Minute}},
		{"3.3 partial answer", 206, question{}, []string{"Cache-Control", "max-age=60"}, no},
		{"3.5 Authorization", 200, question{authorized: true}, []string{"Cache-Control", "max-age=60"}, no},
		{"3.5 Authorization, public", 200, question{authorized: true}, []string{"Cache-Control", "max-age=60, public"}, fresh(60)},
		{"3.5 Authorization, s-maxage", 200, question{authorized: true}, []string{"Cache-Control", "s-maxage=60"}, fresh(60)},
		{"3.5 Authorization, must-revalidate", 200, question{authorized: true}, []string{"Cache-Control", "max-age=60, must-revalidate"}, strict(fresh(60))},
		{"4.1 Vary star", 200, question{}, []string{"Cache-Control", "max-age=60", "Vary", "A, *"}, no},
		{"4.2.1 s-maxage before max-age", 200, question{}, []string{"Cache-Control", "max-age=60, s-maxage=10"}, fresh(10)},
		{"4.2.1 max-age before Expires", 200, question{}, []string{"Cache-Control", "max-age=60", "Expires", ago(0), "Date", date}, fresh(60)},
		{"4.2.1 Expires minus Date", 200, question{}, []string{"Expires", ago(-time.Minute), "Date", date}, fresh(60)},
		{"4.2.1 Expires without Date", 200, question{}, []string{"Expires", ago(-time.Minute)}, fresh(60)},
		{"4.2.1 several lines", 200, question{}, []string{"Cache-Control", "public", "Cache-Control", "max-age=60"}, fresh(60)},
		{"4.2.1 different values: the least", 200, question{}, []string{"Cache-Control", "max-age=60, max-age=5"}, fresh(5)},
		{"4.2.1 different Expires", 200, question{}, []string{"Expires", ago(-time.Minute), "Expires", ago(-time.Hour)}, no},
		{"4.2.1 invalid max-age", 200, question{}, []string{"Cache-Control", "max-age=x"}, no},
		{"4.2.1 negative max-age", 200, question{}, []string{"Cache-Control", "max-age=-1"}, no},
		{"4.2.1 fractional max-age", 200, question{}, []string{"Cache-Control", "max-age=6.5"}, no},
		{"5.2 quoted max-age", 200, question{}, []string{"Cache-Control", `max-age="60"`}, fresh(60)},
		{"5.2 directive inside a quoted string", 200, question{}, []string{"Cache-Control", `ext="a, no-store", max-age=60`}, fresh(60)},
		{"5.2 case", 200, question{}, []string{"Cache-Control", "MAX-AGE=60, Public"}, fresh(60)},
		{"1.2.2 overflow", 200, question{}, []string{"Cache-Control", "max-age=99999999999999999999"}, fresh(1<<31 - 1)},
		{"4.2.2 heuristic", 200, question{}, []string{"Date", date, "Last-Modified", ago(100 * time.Second)}, fresh(10)},
		{"4.2.2 heuristic is bounded", 200, question{}, []string{"Date", date, "Last-Modified", ago(1000 * 24 * time.Hour)}, fresh(24 * 3600)},
		{"4.2.2 no heuristic for who sends cookies", 200, question{cookies: true}, []string{"Date", date, "Last-Modified", ago(time.Hour)}, shared},
		{"4.2.2 nothing to guess from", 200, question{}, []string{"Date", date}, shared},
		{"5.2.2.5 no-store", 200, question{}, []string{"Cache-Control", "no-store, max-age=60"}, no},
		{"5.2.2.4 no-cache", 200, question{}, []string{"Cache-Control", "no-cache, max-age=60"}, strict(no)},
		{"5.2.2.4 no-cache with a validator", 200, question{}, []string{"Cache-Control", "no-cache, max-age=60", "Etag", `"a"`}, want{store: true, strict: true}},
		{"5.2.2.4 no-cache with fields", 200, question{}, []string{"Cache-Control", `no-cache="a", max-age=60`}, want{store: true, lifetime: time.Minute}},
		{"5.2.2.4 no-cache with what are no fields", 200, question{}, []string{"Cache-Control", `no-cache="a b", max-age=60`}, strict(no)},
		{"5.2.2.4 both forms of no-cache", 200, question{}, []string{"Cache-Control", `no-cache, no-cache="a", max-age=60`}, strict(no)},
		{"5.2.2.7 private", 200, question{}, []string{"Cache-Control", "private, max-age=60"}, no},
		{"5.2.2.7 private with fields", 200, question{}, []string{"Cache-Control", `private="a", max-age=60`}, want{store: true, lifetime: time.Minute}},
		{"5.2.2.7 private with the field Set-Cookie", 200, question{}, []string{"Cache-Control", `private="set-cookie", max-age=60`, "Set-Cookie", "a=b"}, want{store: true, lifetime: time.Minute}},
		{"5.2.2.7 private with an empty list", 200, question{}, []string{"Cache-Control", `private=",", max-age=60`}, no},
		{"4.3.1 stale with a validator", 200, question{}, []string{"Cache-Control", "max-age=0", "Etag", `"a"`}, want{store: true}},
		{"4.3.1 no freshness, but a validator", 200, question{}, []string{"Etag", `"a"`}, want{store: true, share: true}},
		{"4.3.1 no freshness and cookies", 200, question{cookies: true}, []string{"Etag", `"a"`}, shared},
		{"4.2.2 public makes a guess right for any status", 599, question{}, []string{"Cache-Control", "public", "Date", date, "Last-Modified", ago(100 * time.Second)}, fresh(10)},
		{"4.2.2 no guess for other statuses", 599, question{}, []string{"Date", date, "Last-Modified", ago(100 * time.Second)}, shared},
		{"5.2.2.3 must-understand", 200, question{}, []string{"Cache-Control", "must-understand, no-store, max-age=60"}, fresh(60)},
		{"5.2.2.3 must-understand, strange status", 299, question{}, []string{"Cache-Control", "must-understand, no-store, max-age=60"}, no},
		{"5.2.2.8 proxy-revalidate", 200, question{}, []string{"Cache-Control", "proxy-revalidate, max-age=60"}, strict(fresh(60))},
		{"7.3 Set-Cookie", 200, question{}, []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, no},
		{"max-age=0", 200, question{}, []string{"Cache-Control", "max-age=0"}, no},
		{"CacheOff shares and does not store", 200, question{mode: request.CacheOff}, []string{"Cache-Control", "max-age=60"}, want{share: true, lifetime: time.Minute}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.method == "" {
				tc.q.method = "GET"
			}
			v := judge(tc.q, tc.status, reply(0, "", tc.header...).Header, moment{now, now})
			got := want{v.store, v.share, v.lifetime, v.strict}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestInitialAge(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header []string
		delay  time.Duration
		want   time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"4.2.3 apparent age", []string{"Date", ago(30 * time.Second)}, 0, 30 * time.Second},
		{"4.2.3 Date in the future", []string{"Date", ago(-30 * time.Second)}, 0, 0},
		{"4.2.3 Age and delay", []string{"Date", ago(5 * time.Second), "Age", "20"}, 2 * time.Second, 22 * time.Second},
		{"5.1 first of a list", []string{"Age", "20, 30"}, 0, 20 * time.Second},
		{"5.1 invalid", []string{"Age", "old"}, 0, 0},
		{"5.1 negative", []string{"Age", "-5"}, 0, 0},
	} {
		h := reply(0, "", tc.header...).Header
		if got := initialAge(h, moment{now.Add(-tc.delay), now}); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestStaleWindows(t *testing.T) {
	q := question{method: "GET", policy: request.CachePolicy{StaleWhileRevalidate: 1 * time.Second, StaleIfError: 2 * time.Second}}
	for control, want := range map[string][2]time.Duration{
		"max-age=60":                                    {1 * time.Second, 2 * time.Second},
		"max-age=60, stale-while-revalidate=7":          {7 * time.Second, 2 * time.Second},
		"max-age=60, stale-if-error=0":                  {1 * time.Second, 0},
		"s-maxage=60":                                   {0, 0},
		"s-maxage=60, stale-while-revalidate=7":         {7 * time.Second, 0},
		"max-age=60, stale-if-error=9, must-revalidate": {0, 0},
	} {
		v := judge(q, 200, reply(0, "", "Cache-Control", control).Header, moment{now, now})
		if got := [2]time.Duration{v.staleWhileRevalidate, v.staleIfError}; got != want {
			t.Errorf("%s: %v, want %v", control, got, want)
		}
	}
}

func TestEntityTagLists(t *testing.T) {
	for list, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b","a"`: true, `"b"`: false, `a`: false,
		`"a,b"`: false, `"x, "a"`: false, `"`: false, ``: false, `,,"a",`: true, `"b" "a"`: true,
	} {
		if got := listsTag([]string{list}, `W/"a"`); got != want {
			t.Errorf("%s: %v, want %v", list, got, want)
		}
	}
	if !listsTag([]string{`"b"`, `"a,1"`}, `"a,1"`) {
		t.Error("a comma inside a tag parts it")
	}
}

func TestSelectingValuesAreNormalised(t *testing.T) {
	for _, tc := range []struct {
		name string
		a, b []string
		same bool
	}{
		{"Accept-Language", []string{"de, en"}, []string{"DE,en"}, true},
		{"Accept-Language", []string{"de", "en"}, []string{"de,en"}, true},
		{"X-A", []string{"Q"}, []string{"q"}, false},
		{"X-A", []string{" a , b"}, []string{"a,b"}, true},
		{"X-A", nil, []string{""}, false},
	} {
		if same := selecting(tc.name, tc.a) == selecting(tc.name, tc.b); same != tc.same {
			t.Errorf("%s: %q and %q: same %v", tc.name, tc.a, tc.b, same)
		}
	}
}

func FuzzDirectives(f *testing.F) {
	for _, s := range []string{"max-age=60", `private="a, b\"c", no-store`, "max-age=", "=,=", `a="`, "max-stale", "max-age=60, max-age=\"5\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := parseDirectives([]string{s})
		for _, v := range []time.Duration{d.maxAge, d.sMaxAge, d.minFresh, d.maxStale, d.staleIfError, d.staleWhileRevalidate} {
			if v < 0 || v > maxDelta {
				t.Errorf("%q gave %v", s, v)
			}
		}
		// One more directive in front never loosens what the others say.
		e := parseDirectives([]string{"no-store", s})
		d.noStore = true
		if !reflect.DeepEqual(d, e) {
			t.Errorf("%q reads otherwise after another line: %+v, %+v", s, d, e)
		}
	})
}

func FuzzEntityTags(f *testing.F) {
	f.Add(`"a", W/"b,c"`)
	f.Fuzz(func(t *testing.T, s string) {
		if listsTag([]string{s}, `"never-there"`) && len(s) < len(`"never-there"`) {
			t.Errorf("%q", s)
		}
	})
}

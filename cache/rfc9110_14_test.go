package cache

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 9110, section 14: parts of a stored answer.
func TestRFC9110Section14_1_2Ranges(t *testing.T) {
	for field, want := range map[string]struct {
		s  span
		ok bool
	}{
		"bytes=0-1":                      {span{0, 2}, true},
		"bytes=0-0":                      {span{0, 1}, true},
		"bytes=1-":                       {span{1, 9}, true},
		"bytes=-1":                       {span{9, 1}, true},
		"bytes=-20":                      {span{0, 10}, true},
		"bytes=-0":                       {span{10, 0}, true},
		"bytes=5-100":                    {span{5, 5}, true},
		"BYTES=2-3":                      {span{2, 2}, true},
		"bytes= 2-3 ":                    {span{2, 2}, true},
		"bytes=10-":                      {span{10, 0}, true},
		"bytes=11-12":                    {span{11, 0}, true},
		"bytes=99999999999999999999999-": {span{1 << 50, 0}, true},
		"bytes=3-2":                      {},
		"bytes=-":                        {},
		"bytes=":                         {},
		"bytes":                          {},
		"":                               {},
		"bytes=0-1,3-4":                  {},
		"bytes=a-b":                      {},
		"bytes=1-2-3":                    {},
		"bytes=+1-2":                     {},
		"items=0-1":                      {},
	} {
		s, ok := rangeOf([]string{field}, 10)
		if ok != want.ok || ok && s != want.s {
			t.Errorf("%q: %+v, %v; want %+v", field, s, ok, want)
		}
	}
	if _, ok := rangeOf([]string{"bytes=0-1", "bytes=0-1"}, 10); ok {
		t.Error("two lines count as one range")
	}
}

func TestRFC9110Section14PartsAreServedFromAStoredWhole(t *testing.T) {
	old := ago(2 * time.Hour)
	for _, tc := range []struct {
		name   string
		asks   []string
		status int // 0: the upstream is asked
		body   string
		part   string
	}{
		{"14.2 range", []string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{"14.2 suffix", []string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"14.2 whole", []string{"Range", "bytes=0-"}, 206, "0123456789", "bytes 0-9/10"},
		{"15.5.17 not satisfiable", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"14.2 several ranges are the upstream's", []string{"Range", "bytes=0-1,3-4"}, 0, "", ""},
		{"14.2 a unit of its own too", []string{"Range", "items=0-1"}, 0, "", ""},
		{"13.1.5 If-Range with the tag", []string{"Range", "bytes=2-4", "If-Range", `"v1"`}, 206, "234", "bytes 2-4/10"},
		{"13.1.5 If-Range with another tag", []string{"Range", "bytes=2-4", "If-Range", `"v2"`}, 200, "0123456789", ""},
		{"13.1.5 If-Range with a weak tag", []string{"Range", "bytes=2-4", "If-Range", `W/"v1"`}, 200, "0123456789", ""},
		{"13.1.5 If-Range with the date", []string{"Range", "bytes=2-4", "If-Range", old}, 206, "234", "bytes 2-4/10"},
		{"13.1.5 If-Range with another date", []string{"Range", "bytes=2-4", "If-Range", ago(time.Hour)}, 200, "0123456789", ""},
		{"13.1.5 If-Range without Range", []string{"If-Range", `"v1"`}, 0, "", ""},
		{"13.2.2 If-None-Match comes first", []string{"Range", "bytes=2-4", "If-None-Match", `"v1"`}, 304, "", ""},
		{"13.1.1 If-Match is the upstream's", []string{"Range", "bytes=2-4", "If-Match", `"v1"`}, 0, "", ""},
		{"5.2.1.4 no-cache", []string{"Range", "bytes=2-4", "Cache-Control", "no-cache"}, 0, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := always(200, "0123456789", "Cache-Control", "max-age=60", "Etag", `"v1"`, "Last-Modified", old, "Date", date, "Content-Type", "text/plain")
			options := testOptions()
			options.CompressMinBytes = 1
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				c := newCache(t, options, o)
				do(t, c, get(httpRoute(), "k"))
				a := do(t, c, get(httpRoute(), "k", tc.asks...))
				if tc.status == 0 {
					o.wantCalls(t, 2)
					if _, sent := o.last().Header[http.CanonicalHeaderKey(tc.asks[0])]; !sent {
						t.Error("the upstream was asked for the whole")
					}
					return
				}
				o.wantCalls(t, 1)
				if a.Status != tc.status || a.body != tc.body || a.Header.Get("Content-Range") != tc.part || !a.Cache.Hit {
					t.Errorf("got %d %q %q %+v", a.Status, a.body, a.Header.Get("Content-Range"), a.Cache)
				}
				if a.ContentLength != int64(len(tc.body)) {
					t.Errorf("length %d", a.ContentLength)
				}
				if whole := do(t, c, get(httpRoute(), "k")); whole.body != "0123456789" || whole.Header.Get("Content-Range") != "" {
					t.Errorf("the stored answer became %q %v", whole.body, whole.Header)
				}
			})
		})
	}
}

func TestRFC9111Section3_3PartsAreNotStored(t *testing.T) {
	o := always(206, "234", "Cache-Control", "max-age=60", "Content-Range", "bytes 2-4/10")
	c := newCache(t, testOptions(), o)
	for range 2 {
		if a := do(t, c, get(httpRoute(), "k", "Range", "bytes=2-4")); a.Status != 206 || a.Cache.Stored {
			t.Errorf("%d %+v", a.Status, a.Cache)
		}
	}
	do(t, c, get(httpRoute(), "k"))
	o.wantCalls(t, 3)
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("%+v", s)
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=7-", "bytes=1-0", "bytes=-0"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 || size > maxObjectLimit {
			return
		}
		if s, ok := rangeOf([]string{field}, size); ok && (s.n < 0 || s.first < 0 || s.n > 0 && s.first+s.n > size) {
			t.Errorf("%q of %d: %+v", field, size, s)
		}
	})
}

package cache

import (
	"testing"
	"time"
)

// RFC 9213, section 2: a targeted field stands in the place of Cache-Control and Expires.
func TestRFC9213Section2TargetedField(t *testing.T) {
	future := []string{"Expires", ago(-time.Hour), "Date", date}
	for _, tc := range []struct {
		name     string
		targeted string
		header   []string
		store    bool
		lifetime time.Duration
	}{
		{"2.2 alone", "max-age=60", nil, true, time.Minute},
		{"2.2 short before a long Cache-Control", "max-age=1", []string{"Cache-Control", "max-age=60"}, true, time.Second},
		{"2.2 before no-store", "max-age=60", []string{"Cache-Control", "no-store"}, true, time.Minute},
		{"2.2 before private", "max-age=60", []string{"Cache-Control", "private"}, true, time.Minute},
		{"2.2 max-age=0 before Expires", "max-age=0", future, false, 0},
		{"2.2 before a past Expires", "max-age=60", []string{"Expires", ago(time.Hour), "Date", date}, true, time.Minute},
		{"2.2 no-store", "no-store", []string{"Cache-Control", "max-age=60"}, false, 0},
		{"2.2 private", "private", []string{"Cache-Control", "max-age=60"}, false, 0},
		{"2.2 no-cache", "no-cache", future, false, 0},
		{"2.2 no freshness of its own", "public", future, false, 0},
		{"2.1 extension", "foobar, max-age=60, x=(1 2);a", nil, true, time.Minute},
		{"2.1 s-maxage", "max-age=60, s-maxage=5", nil, true, 5 * time.Second},
		{"2.1 too long", "max-age=99999999999", nil, true, maxDelta},
		{"2.1 parameters are ignored", "max-age=60;a=1", nil, true, time.Minute},
		{"2.1 a false flag", "max-age=60, no-store=?0", nil, true, time.Minute},
		{"2.1 fields", `max-age=60, private="a"`, nil, true, time.Minute},
		{"2.1 malformed: as if not there", "max-age=60, &&&", []string{"Cache-Control", "no-store"}, false, 0},
		{"2.1 malformed, Cache-Control counts", "max-age=60, &&&", []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 upper case is malformed", "MAX-AGE=60", []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 space around =", "max-age =60", []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 wrong type", `max-age="60"`, []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 decimal", `max-age=60.5`, []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 negative", `max-age=-60`, []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 list for a number", `max-age=(60)`, []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.1 number for a flag", `no-store=1`, []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
		{"2.2 empty", "", []string{"Cache-Control", "max-age=7"}, true, 7 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := reply(0, "", tc.header...).Header
			h.Set("CDN-Cache-Control", tc.targeted)
			v := judge(question{method: "GET"}, 200, h, moment{now, now})
			if v.store != tc.store || v.store && v.lifetime != tc.lifetime {
				t.Errorf("got %+v, want store %v, lifetime %v", v, tc.store, tc.lifetime)
			}
		})
	}
}

func FuzzTargetedField(f *testing.F) {
	for _, s := range []string{"max-age=60", "no-store, private=\"a\"", "a=(1 2);b, max-age=1;c", "max-age=-1", "no-cache=?0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseTargeted([]string{s})
		if d.targeted != ok {
			t.Errorf("%q: %+v, %v", s, d, ok)
		}
		for _, v := range []time.Duration{d.maxAge, d.sMaxAge, d.staleIfError, d.staleWhileRevalidate} {
			if v < 0 || v > maxDelta {
				t.Errorf("%q gave %v", s, v)
			}
		}
	})
}

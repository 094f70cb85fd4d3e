package cache

import (
	"net/http"
	"testing"
	"time"
)

// RFC 9110, section 5.6.7: an HTTP-date has three forms, and what is near them is none.
func TestRFC9110Section5_6_7Dates(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for s, ok := range map[string]bool{
		"Sun, 06 Nov 1994 08:49:37 GMT":   true,
		"sun, 06 nov 1994 08:49:37 gmt":   true,
		"SUN, 06 NOV 1994 08:49:37 GMT":   true,
		"Sunday, 06-Nov-94 08:49:37 GMT":  true,
		"Sun Nov  6 08:49:37 1994":        true,
		"Sun Nov 06 08:49:37 1994":        true,
		"Sun, 06 Nov 1994 08:49:37 UTC":   false,
		"Sun, 06 Nov 1994 08:49:37 AEST":  false,
		"Sun, 06 Nov 1994 08:49:37 +0000": false,
		"Sun, 06 Nov 94 08:49:37 GMT":     false,
		"Sun 06 Nov 1994 08:49:37 GMT":    false,
		"Sun, 06  Nov 1994 08:49:37 GMT":  false,
		"Sun,  06 Nov 1994 08:49:37 GMT":  false,
		"Sun, 06-Nov-1994 08:49:37 GMT":   false,
		"Sun, 06 Nov 1994 08.49.37 GMT":   false,
		"Sun, 06 Nov 1994 8:49:37 GMT":    false,
		"Sun, 6 Nov 1994 08:49:37 GMT":    false,
		"Sun, 31 Nov 1994 08:49:37 GMT":   false,
		"Sun, 06 Nov 1994 25:49:37 GMT":   false,
		"Sun, 06 Xyz 1994 08:49:37 GMT":   false,
		"Sunday, 06-Nov-94 08:49:37 PST":  false,
		" Sun, 06 Nov 1994 08:49:37 GMT":  false,
		"0":                               false,
		"":                                false,
		"gmt":                             false,
	} {
		got, read := parseDate(s, now)
		if read != ok || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, read, ok)
		}
	}
	for s, year := range map[string]int{
		"Sunday, 06-Nov-94 08:49:37 GMT": 1994, "Sunday, 06-Nov-68 08:49:37 GMT": 2068, "Sunday, 06-Nov-26 08:49:37 GMT": 2026,
	} {
		if got, _ := parseDate(s, now); got.Year() != year {
			t.Errorf("%q: year %d, want %d", s, got.Year(), year)
		}
	}
	if got, _ := parseDate("Sunday, 06-Nov-60 08:49:37 GMT", time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)); got.Year() != 1960 {
		t.Errorf("a date more than 50 years ahead is in %d, want the last century", got.Year())
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "gmt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := parseDate(s, now); ok {
			if again, ok := parseDate(got.UTC().Format(http.TimeFormat), now); !ok || !again.Equal(got) {
				t.Errorf("%q is %v, and that %v", s, got, again)
			}
		}
	})
}

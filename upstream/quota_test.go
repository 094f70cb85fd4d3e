package upstream

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"penstock/observe"
)

var quotaNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fields makes a header of "Name: value" lines.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func window(name string, limit float64, period time.Duration, remaining float64, reset time.Duration) observe.QuotaWindow {
	return observe.QuotaWindow{Name: name, Limit: limit, Period: period, Remaining: remaining, Reset: reset}
}

func TestReadQuotaUnderstandsAllCommonForms(t *testing.T) {
	const none = observe.Unknown
	one := func(w ...observe.QuotaWindow) *observe.Quota { return &observe.Quota{Windows: w, RetryAfter: none} }
	epoch := func(d time.Duration) string { return fmt.Sprint(quotaNow.Add(d).Unix()) }
	for name, c := range map[string]struct {
		header http.Header
		want   *observe.Quota
	}{
		"nothing":  {fields("Content-Type: text/html", "X-Request-Id: ratelimi"), nil},
		"draft 10": {fields(`RateLimit-Policy: "burst";q=100;w=60, "daily";q=5000;w=86400`, `RateLimit: "daily";r=4000;t=3600, "burst";r=7;t=30`), one(window("burst", 100, time.Minute, 7, 30*time.Second), window("daily", 5000, 24*time.Hour, 4000, time.Hour))},
		"draft 10, other units and keys": {fields(`RateLimit-Policy: "b";q=100;w=60;qu="content-bytes", "r";q=9;w=1;pk=:Zm9v:`, `RateLimit: "r";r=3`),
			one(window("r", 9, time.Second, 3, none))},
		"draft 10, policy alone":   {fields(`RateLimit-Policy: "default";q=10;w=2`), one(window("default", 10, 2*time.Second, none, none))},
		"draft 07":                 {fields(`RateLimit: limit=100, remaining=50, reset=30`, `RateLimit-Policy: 100;w=60`), one(window("", 100, time.Minute, 50, 30*time.Second))},
		"draft 03, several":        {fields("RateLimit-Limit: 10, 10;w=1, 5000;w=86400", "RateLimit-Remaining: 3", "RateLimit-Reset: 1"), one(window("", 10, time.Second, 3, time.Second), window("", 5000, 24*time.Hour, none, none))},
		"Docker Hub":               {fields("ratelimit-limit: 100;w=21600", "ratelimit-remaining: 76;w=21600"), one(window("", 100, 6*time.Hour, 76, none))},
		"GitHub":                   {fields("X-RateLimit-Limit: 5000", "X-RateLimit-Remaining: 4999", "X-RateLimit-Used: 1", "X-RateLimit-Reset: "+epoch(time.Hour)), one(window("", 5000, 0, 4999, time.Hour))},
		"Twitter":                  {fields("x-rate-limit-limit: 900", "x-rate-limit-remaining: 899", "x-rate-limit-reset: "+epoch(15*time.Minute)), one(window("", 900, 0, 899, 15*time.Minute))},
		"seconds from now":         {fields("X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 42"), one(window("", 60, 0, 1, 42*time.Second))},
		"milliseconds since 1970":  {fields("X-RateLimit-Remaining: 1", "X-RateLimit-Reset: "+epoch(time.Minute)+"500"), one(window("", 0, 0, 1, time.Minute+500*time.Millisecond))},
		"reset in the past":        {fields("X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+epoch(-time.Minute)), one(window("", 0, 0, 0, 0))},
		"Discord":                  {fields("X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+epoch(9*time.Hour)+".1", "X-RateLimit-Reset-After: 1.5"), one(window("", 5, 0, 0, 1500*time.Millisecond))},
		"Reddit":                   {fields("X-Ratelimit-Remaining: 599.0", "X-Ratelimit-Used: 1", "X-Ratelimit-Reset: 7"), one(window("", 0, 0, 599, 7*time.Second))},
		"used instead of left":     {fields("X-RateLimit-Limit: 100", "X-RateLimit-Used: 30"), one(window("", 100, 0, 70, none))},
		"Kong, two windows":        {fields("X-RateLimit-Limit-Minute: 5", "X-RateLimit-Remaining-Minute: 2", "X-RateLimit-Limit-Hour: 500", "X-RateLimit-Remaining-Hour: 480"), one(window("hour", 500, time.Hour, 480, none), window("minute", 5, time.Minute, 2, none))},
		"OpenAI, tokens left out":  {fields("x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59", "x-ratelimit-reset-requests: 1m0.5s", "x-ratelimit-limit-tokens: 150000", "x-ratelimit-remaining-tokens: 0"), one(window("", 60, 0, 59, time.Minute+500*time.Millisecond))},
		"Anthropic":                {fields("anthropic-ratelimit-requests-limit: 50", "anthropic-ratelimit-requests-remaining: 49", "anthropic-ratelimit-requests-reset: 2026-11-22T12:01:00Z", "anthropic-ratelimit-input-tokens-limit: 9"), one(window("", 50, 0, 49, time.Minute))},
		"a date with its own Date": {fields("Date: Sun, 22 Nov 2026 11:00:00 GMT", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: Sun, 22 Nov 2026 11:00:30 GMT"), one(window("", 0, 0, 3, 30*time.Second))},
		"Retry-After in seconds":   {fields("Retry-After: 120"), &observe.Quota{RetryAfter: 2 * time.Minute}},
		"Retry-After as a date":    {fields("Retry-After: Sun, 22 Nov 2026 12:00:30 GMT"), &observe.Quota{RetryAfter: 30 * time.Second}},
		"Retry-After, wrong clock": {fields("Date: Sun, 22 Nov 2026 09:00:00 GMT", "Retry-After: Sun, 22 Nov 2026 09:00:10 GMT"), &observe.Quota{RetryAfter: 10 * time.Second}},
		"Retry-After without end":  {fields("Retry-After: 99999999999999999999"), &observe.Quota{RetryAfter: longestQuota}},
		"more left than allowed":   {fields("X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 50"), one(window("", 5, 0, 5, none))},
		"malformed":                {fields("X-RateLimit-Limit: many", "X-RateLimit-Remaining: -3", "X-RateLimit-Reset: soon", "RateLimit: ;;;", "Retry-After: tomorrow"), nil},
		"too long":                 {fields("RateLimit: " + strings.Repeat(`"a";r=1,`, 1000)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ReadQuota(c.header, quotaNow); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestReadQuotaTellsWhatTheWindowsAreAbout(t *testing.T) {
	q := ReadQuota(fields("X-RateLimit-Limit: 30", "X-RateLimit-Remaining: 18", "X-RateLimit-Resource: search"), quotaNow)
	if q == nil || len(q.Windows) != 1 || q.Windows[0].Of != "search" {
		t.Errorf("%+v", q)
	}
}

func FuzzReadQuota(f *testing.F) {
	f.Add("RateLimit", `"default";r=50;t=30`, "RateLimit-Policy", `"default";q=100;w=60`)
	f.Add("X-RateLimit-Limit", "100, 100;w=60", "X-RateLimit-Reset", "1795348800")
	f.Add("RateLimit", "limit=1, remaining=0, reset=9", "Retry-After", "Sun, 22 Nov 2026 12:00:30 GMT")
	f.Add("x-ratelimit-reset-requests", "6m0s", "x-ratelimit-remaining-requests", "1e400")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		h := http.Header{name1: {value1}, name2: {value2, value1}}
		q := ReadQuota(h, quotaNow)
		if q == nil {
			return
		}
		if len(q.Windows) > quotaWindows || q.RetryAfter > longestQuota || q.RetryAfter < 0 && q.RetryAfter != observe.Unknown {
			t.Fatalf("%+v", q)
		}
		for _, w := range q.Windows {
			if math.IsNaN(w.Limit) || math.IsInf(w.Limit, 0) || w.Limit < 0 || math.IsNaN(w.Remaining) || math.IsInf(w.Remaining, 0) ||
				w.Remaining < 0 && w.Remaining != observe.Unknown || w.Period < 0 || w.Period > longestQuota ||
				w.Reset < 0 && w.Reset != observe.Unknown || w.Reset > longestQuota {
				t.Fatalf("%+v of %q", w, h)
			}
		}
		if again := ReadQuota(h, quotaNow); !reflect.DeepEqual(q, again) {
			t.Fatalf("not the same twice: %+v, %+v", q, again)
		}
	})
}

// BenchmarkReadQuotaOfNone is what every answer without such fields pays.
func BenchmarkReadQuotaOfNone(b *testing.B) {
	h := fields("Content-Type: application/json", "Content-Length: 512", "Date: Sun, 22 Nov 2026 12:00:00 GMT", "Server: x", "Etag: \"a\"", "Cache-Control: max-age=60", "Vary: Accept-Encoding")
	for b.Loop() {
		ReadQuota(h, quotaNow)
	}
}

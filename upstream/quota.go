package upstream

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"penstock/observe"
	"penstock/request"
)

const (
	// quotaWindows bounds how many windows of one answer are read.
	quotaWindows = 8
	// quotaFieldBytes bounds a field: no honest one is longer.
	quotaFieldBytes = 1024
	// longestQuota bounds periods and resets: a longer one says nothing that could be acted on.
	longestQuota = 400 * 24 * time.Hour
)

// ReadQuota reads what an answer's header tells of quotas, nil if nothing. What is malformed is as if it
// were not there. It reads, in all their spellings (any case, X-RateLimit-* and X-Rate-Limit-*):
//
//   - RateLimit and RateLimit-Policy as lists of structured fields (draft-ietf-httpapi-ratelimit-headers-10),
//     as the dictionary and the list of numbers of draft 07, and RateLimit-Limit, -Remaining and -Reset of
//     the drafts before, with several policies in one Limit ("100, 100;w=60, 5000;w=86400");
//   - X-RateLimit-Limit, -Remaining, -Used, -Reset and -Reset-After, where a word more names a window
//     (-Limit-Minute, -Limit-Requests, Anthropic-RateLimit-Requests-Limit); windows of tokens and bytes
//     are left out, since they are not counted in calls;
//   - X-RateLimit-Resource and -Bucket, which tell what the windows are about;
//   - a reset in seconds, in milliseconds or seconds since 1970, as a date (RFC 9110, RFC 3339), or as "6m0s";
//   - Retry-After (RFC 9110, 10.2.3): seconds, or a date.
//
// A moment is taken relative to the answer's own Date, if it has one, so that clocks may differ.
func ReadQuota(h http.Header, now time.Time) *observe.Quota {
	q := quotaReader{now: now}
	for name, lines := range h {
		if !isQuotaField(name) || len(lines) == 0 {
			continue
		}
		if value := strings.Join(lines, ", "); len(value) <= quotaFieldBytes {
			q.fields = append(q.fields, quotaField{strings.ToLower(name), strings.TrimSpace(value)})
		}
	}
	after, told := request.RetryAfter(h, now)
	if !told && len(q.fields) == 0 {
		return nil
	}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		q.now = d
		if told && !digits(h.Get("Retry-After")) {
			after, _ = request.RetryAfter(h, d)
		}
	}
	// The order of a map is by chance; windows must not be.
	slices.SortFunc(q.fields, func(a, b quotaField) int { return cmp.Compare(a.name, b.name) })
	for _, f := range q.fields {
		q.read(f)
	}
	out := &observe.Quota{Windows: q.finish(), RetryAfter: observe.Unknown}
	if told {
		out.RetryAfter = min(after, longestQuota)
	}
	if !told && len(out.Windows) == 0 {
		return nil
	}
	return out
}

// isQuotaField reports whether a field is one of the RateLimit family. It runs for each field of each answer.
func isQuotaField(name string) bool {
	for _, prefix := range []string{"ratelimit", "x-ratelimit", "x-rate-limit", "anthropic-ratelimit"} {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

func digits(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && s[0] >= '0' && s[0] <= '9'
}

type quotaField struct{ name, value string }

// quotaReader gathers windows from fields that come one by one.
type quotaReader struct {
	now     time.Time
	fields  []quotaField
	windows []*quotaBuilder
	of      string
}

// quotaBuilder is a window that is not complete yet.
type quotaBuilder struct {
	observe.QuotaWindow
	used  float64
	after bool // Reset is from a Reset-After, which beats a moment
}

// window finds or makes the window of a name and a period; a period of 0 is any. Nil: there are enough.
func (q *quotaReader) window(name string, period time.Duration) *quotaBuilder {
	for _, w := range q.windows {
		if w.Name == name && (period == 0 || w.Period == 0 || w.Period == period) {
			if w.Period == 0 {
				w.Period = period
			}
			return w
		}
	}
	if len(q.windows) == quotaWindows {
		return nil
	}
	w := &quotaBuilder{used: observe.Unknown}
	w.Name, w.Period, w.Remaining, w.Reset = name, period, observe.Unknown, observe.Unknown
	q.windows = append(q.windows, w)
	return w
}

// read takes in one field.
func (q *quotaReader) read(f quotaField) {
	what := strings.TrimPrefix(strings.ReplaceAll(f.name, "rate-limit", "ratelimit"), "x-")
	switch what {
	case "ratelimit":
		q.readStructured(f.value, false)
		return
	case "ratelimit-policy":
		q.readStructured(f.value, true)
		return
	}
	if what == "ratelimit-resource" || what == "ratelimit-bucket" {
		if validToken(f.value) && len(f.value) <= 64 {
			q.of = f.value
		}
		return
	}
	name, kind, counts := quotaFieldName(what)
	if !counts {
		return
	}
	if kind == "limit" {
		q.readLimit(name, f.value)
		return
	}
	value, period := numberAndPeriod(f.value)
	w := q.window(name, max(period, namedPeriods[name]))
	if w == nil {
		return
	}
	n, err := strconv.ParseFloat(value, 64)
	number := err == nil && n >= 0 && n <= 1e15
	switch kind {
	case "remaining":
		if number {
			w.Remaining = n
		}
	case "used":
		if number {
			w.used = n
		}
	case "reset-after":
		if d, ok := span(value); ok {
			w.Reset, w.after = d, true
		}
	case "reset":
		if !digits(value) {
			value = f.value // a date has a comma
		}
		if d, ok := q.reset(value); ok && !w.after {
			w.Reset = d
		}
	}
}

// namedPeriods are names of windows that say how long they are.
var namedPeriods = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "month": 30 * 24 * time.Hour,
}

// quotaFieldName takes "ratelimit-remaining-minute" or "ratelimit-requests-remaining" apart. counts is
// false if it is none of a window's fields, or of a window that does not count calls.
func quotaFieldName(what string) (name, kind string, counts bool) {
	var words []string
	for word := range strings.SplitSeq(what, "-") {
		switch word {
		case "ratelimit", "anthropic", "x":
		case "limit", "remaining", "used", "reset":
			kind += word
		case "after":
			if kind != "reset" {
				return "", "", false
			}
			kind = "reset-after"
		case "requests", "request", "core":
		case "second", "minute", "hour", "day", "month":
			words = append(words, word)
		default:
			return "", "", false // tokens, bytes, a bucket's name, a resource: not a count of calls
		}
	}
	switch kind {
	case "limit", "remaining", "used", "reset", "reset-after":
		return strings.Join(words, "-"), kind, true
	}
	return "", "", false
}

// readLimit reads "100", "100;w=60" and "100, 100;w=60, 5000;w=86400": the first number is the limit that
// the other fields are about, the rest are policies.
func (q *quotaReader) readLimit(name, value string) {
	first := true
	for part := range strings.SplitSeq(value, ",") {
		text, period := numberAndPeriod(part)
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0) || n > 1e15 {
			return
		}
		switch {
		case first:
			if w := q.window(name, max(period, namedPeriods[name])); w != nil {
				w.Limit = n
			}
		case period > 0:
			q.policy(name, n, period)
		}
		first = false
	}
}

// policy notes that n calls a period are allowed: of the window with that limit whose period is not
// known yet, else of one more.
func (q *quotaReader) policy(name string, n float64, period time.Duration) {
	for _, w := range q.windows {
		if w.Name == name && w.Period == 0 && (w.Limit == n || w.Limit == 0) {
			w.Limit, w.Period = n, period
			return
		}
	}
	if w := q.window(name, period); w != nil && w.Limit == 0 {
		w.Limit = n
	}
}

// readStructured reads RateLimit or RateLimit-Policy: a list of named items, a list of numbers with
// parameters (policies of draft 07), or a dictionary (RateLimit of draft 07).
func (q *quotaReader) readStructured(value string, policy bool) {
	if list, err := httpsfv.UnmarshalList([]string{value}); err == nil {
		for _, member := range list {
			if item, ok := member.(httpsfv.Item); ok {
				q.readItem(item, policy)
			}
		}
		return
	}
	dict, err := httpsfv.UnmarshalDictionary([]string{value})
	if err != nil {
		return
	}
	w := q.window("", 0)
	if w == nil {
		return
	}
	for _, key := range dict.Names() {
		member, _ := dict.Get(key)
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		n, ok := wholeNumber(item.Value)
		if !ok {
			continue
		}
		switch key {
		case "limit":
			w.Limit = n
		case "remaining":
			w.Remaining = n
		case "reset":
			w.Reset = limited(n)
		}
	}
}

func (q *quotaReader) readItem(item httpsfv.Item, policy bool) {
	param := func(key string) (float64, bool) {
		v, ok := item.Params.Get(key)
		if !ok {
			return 0, false
		}
		return wholeNumber(v)
	}
	var name string
	switch v := item.Value.(type) {
	case string:
		name = v
	case httpsfv.Token:
		name = string(v)
	case int64:
		if period, ok := param("w"); ok && policy && v > 0 {
			q.policy("", float64(v), limited(period))
		}
		return
	default:
		return
	}
	if unit, ok := item.Params.Get("qu"); ok && unit != "requests" {
		return
	}
	period, _ := param("w")
	w := q.named(name, limited(period))
	if w == nil {
		return
	}
	if n, ok := param("q"); ok && policy {
		w.Limit = n
	}
	if n, ok := param("r"); ok && !policy {
		w.Remaining = n
	}
	if n, ok := param("t"); ok && !policy {
		w.Reset = limited(n)
	}
}

// named is the window of a policy's own name, whose period is known from its policy alone.
func (q *quotaReader) named(name string, period time.Duration) *quotaBuilder {
	return q.window("="+name, period)
}

// finish completes the windows: what is used is told instead of what remains, RateLimit-Limit is about a
// policy. Those that say nothing are left out.
func (q *quotaReader) finish() []observe.QuotaWindow {
	var out []observe.QuotaWindow
	for _, w := range q.windows {
		w.Name, w.Of = strings.TrimPrefix(w.Name, "="), q.of
		if w.Remaining == observe.Unknown && w.used >= 0 && w.Limit > 0 {
			w.Remaining = max(w.Limit-w.used, 0)
		}
		if w.Limit > 0 && w.Remaining > w.Limit {
			w.Remaining = w.Limit
		}
		if w.Limit > 0 || w.Remaining >= 0 {
			out = append(out, w.QuotaWindow)
		}
	}
	slices.SortStableFunc(out, func(a, b observe.QuotaWindow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Period, b.Period))
	})
	return out
}

// numberAndPeriod splits "100;w=60" and "100, 100;w=60" (the first counts).
func numberAndPeriod(s string) (number string, period time.Duration) {
	s, _, _ = strings.Cut(s, ",")
	number, params, _ := strings.Cut(s, ";")
	for p := range strings.SplitSeq(params, ";") {
		if key, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && key == "w" {
			if n, err := strconv.ParseFloat(v, 64); err == nil && n > 0 {
				period = limited(n)
			}
		}
	}
	return strings.TrimSpace(number), period
}

// reset reads when a window ends. A whole field may be a date with a comma in it, so it is not cut before.
func (q *quotaReader) reset(value string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil:
		if d, ok := span(value); ok {
			return d, true
		}
		for _, layout := range []string{time.RFC3339Nano, http.TimeFormat} {
			if at, err := time.Parse(layout, value); err == nil {
				return min(max(at.Sub(q.now), 0), longestQuota), true
			}
		}
		return 0, false
	case math.IsNaN(n) || n < 0:
		return 0, false
	case n >= 1e17 || n >= 1e14 && n < 1e15: // nothing known counts so; microseconds are read below
		return 0, false
	case n >= 1e15:
		n /= 1e6
	case n >= 1e11: // milliseconds since 1970: seconds would lie beyond the year 5000
		n /= 1e3
	case n < 1e9: // seconds from now; as a moment it would lie before September 2001
		return limited(n), true
	}
	return limited(max(n-float64(q.now.UnixMilli())/1e3, 0)), true
}

// span reads a length of time: seconds, or "6m0s".
func span(value string) (time.Duration, bool) {
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		return limited(n), n >= 0
	}
	d, err := time.ParseDuration(value)
	return min(d, longestQuota), err == nil && d >= 0
}

// limited converts seconds within bounds.
func limited(s float64) time.Duration {
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, longestQuota.Seconds()) * float64(time.Second))
}

func wholeNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), n >= 0
	case float64:
		return n, n >= 0
	}
	return 0, false
}

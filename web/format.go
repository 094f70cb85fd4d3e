package web

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

var functions = template.FuncMap{
	"num": number, "count": count, "rate": rate, "dur": duration, "pct": percent, "bytes": size, "money": money,
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
	"ago":   ago, "span": span, "unit": unit, "icon": icon, "bar": bar, "spark": sparkline,
	"link": link, "limit": limitWords, "outcome": outcomeWords, "add": func(a, b int) int { return a + b },
	"lower": strings.ToLower, "join": strings.Join, "path": url.PathEscape, "ratio": ratio, "change": change,
	"until": func(t time.Time) string { return t.Format("15:04 on 2 Jan") },
	"slash": func(s string) string { return strings.ReplaceAll(s, "/", " / ") },
}

// none stands where there is no value.
const none = "–"

var nan32 = float32(math.NaN())

func missing(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// number writes a value in three digits or so: 0.0123, 1.23, 45.6, 789, 12,345, 1.23 M.
func number(x any) string {
	v := toFloat(x)
	a := math.Abs(v)
	switch {
	case missing(v):
		return none
	case a >= 1e7:
		return strconv.FormatFloat(v/1e6, 'f', 1, 64) + " M"
	case a >= 1000:
		return count(int64(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func toFloat(x any) float64 {
	switch x := x.(type) {
	case float64:
		return x
	case float32:
		return float64(x)
	case int:
		return float64(x)
	case int64:
		return float64(x)
	case uint64:
		return float64(x)
	case *float64:
		if x != nil {
			return *x
		}
	}
	return math.NaN()
}

// count writes a whole number with commas between thousands.
func count(x any) string {
	s := strconv.FormatFloat(toFloat(x), 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func rate(x any) string {
	if v := toFloat(x); missing(v) {
		return none
	}
	return number(x) + "/s"
}

// duration writes seconds: 0.45 ms, 12 ms, 1.24 s, 2 min, 3 h.
func duration(x any) string {
	v := toFloat(x)
	switch {
	case missing(v):
		return none
	case v == 0:
		return "0 s"
	case v < 0.001:
		return number(v*1e6) + " µs"
	case v < 0.010:
		return strconv.FormatFloat(v*1000, 'f', 1, 64) + " ms"
	case v < 1:
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + " ms"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64) + " s"
	case v < 120:
		return strconv.FormatFloat(v, 'f', 0, 64) + " s"
	}
	return span(v)
}

// span writes a long time in its two largest units.
func span(x any) string {
	v := int64(toFloat(x))
	switch {
	case v < 60:
		return fmt.Sprintf("%d s", v)
	case v < 3600:
		return fmt.Sprintf("%d min %d s", v/60, v%60)
	case v < 86400:
		return fmt.Sprintf("%d h %d min", v/3600, v%3600/60)
	}
	return fmt.Sprintf("%d d %d h", v/86400, v%86400/3600)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return none
	}
	if d := now.Sub(t); d >= time.Second {
		return span(d.Seconds()) + " ago"
	}
	return "just now"
}

func percent(x any) string {
	v := 100 * toFloat(x)
	switch {
	case missing(v):
		return none
	case v == 0 || v == 100:
		return strconv.FormatFloat(v, 'f', 0, 64) + " %"
	case math.Abs(v) < 1:
		return strconv.FormatFloat(v, 'f', 2, 64) + " %"
	case v > 99 && v < 100:
		return strconv.FormatFloat(math.Floor(v*100)/100, 'f', 2, 64) + " %"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " %"
}

// change writes a relative change with its sign.
func change(v float64) string {
	if v > 0 {
		return "+" + percent(v)
	}
	return percent(v)
}

func size(x any) string {
	v := toFloat(x)
	for _, u := range []struct {
		name string
		size float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if v >= u.size {
			return strconv.FormatFloat(v/u.size, 'f', 1, 64) + " " + u.name
		}
	}
	return number(v) + " B"
}

// money writes an amount in the currency of the configured prices.
func money(x any) string {
	v := toFloat(x)
	if missing(v) {
		return none
	}
	if math.Abs(v) >= 1000 {
		return count(v)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// unit writes a value with the unit that the history gives its signal.
func unit(signal string, x any) string {
	switch name, _, _ := strings.Cut(signal, "/"); {
	case strings.HasSuffix(name, "_seconds"):
		return duration(x)
	case name == "cpu_ratio":
		return number(x)
	case strings.HasSuffix(name, "_ratio") || strings.HasSuffix(name, "_share"):
		return percent(x)
	case strings.HasSuffix(name, "_bytes"):
		return size(x)
	case name == "rate" || strings.HasSuffix(name, "_rate") || strings.HasSuffix(name, "throughput") || strings.HasSuffix(name, "goodput"):
		return rate(x)
	}
	return number(x)
}

func ratio(part, whole any) float64 {
	p, w := toFloat(part), toFloat(whole)
	if w == 0 || missing(p) || missing(w) {
		return 0
	}
	return p / w
}

// link is the page's own URL with some of the query changed: key, value, key, value ...; an empty value removes.
func link(v *view, pairs ...string) template.URL {
	q := make(url.Values, len(v.Query))
	for k, x := range v.Query {
		q[k] = x
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		} else {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	self := v.Tab.Path
	if self == "." {
		self = "./"
	}
	if len(q) == 0 {
		return template.URL(self)
	}
	return template.URL(self + "?" + q.Encode())
}

// limitWords says what keeps requests waiting, for people.
func limitWords(binding string) string {
	switch {
	case binding == "none" || binding == "":
		return "nothing"
	case binding == "permits":
		return "workers"
	case binding == "pace":
		return "learned rate"
	case strings.HasPrefix(binding, "rate "):
		return "configured rate " + strings.TrimPrefix(binding, "rate ")
	}
	return binding
}

func outcomeWords(o string) string {
	switch o {
	case "client":
		return "client error (4xx)"
	case "refused":
		return "refused (429)"
	case "overload":
		return "overload (503)"
	case "error":
		return "error (5xx)"
	case "down":
		return "no connection"
	}
	return o
}

package web

import (
	"math"
	"testing"
	"time"
)

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(0.0), "0"}, {number(0.012345), "0.012"}, {number(1.234), "1.23"}, {number(45.67), "45.7"}, {number(789.4), "789"},
		{number(12345.6), "12,346"}, {number(12_345_678.0), "12.3 M"}, {number(math.NaN()), none}, {number(-1234), "-1,234"},
		{count(uint64(1234567)), "1,234,567"}, {rate(2.5), "2.50/s"}, {rate(math.Inf(1)), none},
		{duration(0.0), "0 s"}, {duration(0.0000004), "0.40 µs"}, {duration(0.0045), "4.5 ms"}, {duration(0.25), "250 ms"}, {duration(1.5), "1.50 s"},
		{duration(45.2), "45 s"}, {duration(7322.0), "2 h 2 min"}, {duration(math.NaN()), none},
		{percent(0.0), "0 %"}, {percent(0.0042), "0.42 %"}, {percent(0.875), "87.5 %"}, {percent(0.99996), "99.99 %"}, {percent(1.0), "100 %"},
		{size(uint64(512)), "512 B"}, {size(int64(5 << 20)), "5.0 MiB"}, {money(12.5), "12.50"}, {money(1234.4), "1,234"},
		{span(90061), "1 d 1 h"}, {ago(noon.Add(-90*time.Second), noon), "1 min 30 s ago"}, {ago(time.Time{}, noon), none}, {ago(noon, noon), "just now"},
		{unit("p95_seconds/movies", .25), "250 ms"}, {unit("hit_ratio", .5), "50.0 %"}, {unit("cpu_ratio", .5), "0.50"}, {unit("call_rate/m", 3), "3/s"},
		{unit("resident_bytes", 1024), "1.0 KiB"}, {unit("queued", 3), "3"}, {limitWords("rate 0"), "configured rate 0"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestABrokenLineIsDrawnInPieces(t *testing.T) {
	nan := nan32
	if d := polyline([]float32{1, nan, 2, 3}, 90, 10, 0, 4, 0); d != "M0.0 7.5M60.0 5.0L90.0 2.5" {
		t.Errorf("path %s", d)
	}
	if s := sparkline([]float32{nan, nan}); s != `<svg class="spark" viewBox="0 0 120 28" aria-hidden="true"></svg>` {
		t.Errorf("nothing is drawn as %s", s)
	}
}

func FuzzRangeNeverPanics(f *testing.F) {
	f.Add("15m", "1", "2")
	f.Add("", "NaN", "1e300")
	f.Fuzz(func(t *testing.T, key, from, to string) {
		r := readRange(map[string][]string{"range": {key}, "from": {from}, "to": {to}}, noon)
		if r.From.After(r.To) {
			t.Errorf("%s is after %s", r.From, r.To)
		}
	})
}

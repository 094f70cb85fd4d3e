package configs

import "testing"

func TestSizesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "512B": 512, "1KiB": 1024, "64MiB": 64 << 20, "1.5GiB": 3 << 29, "10MB": 10_000_000, "2kB": 2000, "2KB": 2000,
		"3 GB": 3_000_000_000, "1TiB": 1 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "+1", "1e3", "0x10", "1.5", "1.0001KiB", "10 bananas", "10mib", "9223372036854775808", "99999999TiB", "NaN", "inf", "1_000", "1 2"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1", 1024: "1KiB", 64 << 20: "64MiB", 10_000_000: "10MB", 3 << 29: "1536MiB", 1500: "1500"} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d) is written %q, want %q", int64(size), got, want)
		}
	}
}

func FuzzSizesSurviveWritingAndReading(f *testing.F) {
	for _, s := range []string{"64MiB", "10MB", "1.5GiB", "0", "9223372036854775807", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("%q is %d", text, size)
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Fatalf("%q is %d, written %q, read %d (%v)", text, int64(size), size, int64(again), err)
		}
	})
}

func TestTheNearestWordIsSuggested(t *testing.T) {
	keys := []string{"base_url", "timeouts", "pool", "default_ttl", "max_bytes", "max_entries", "url_a", "url_b"}
	for word, want := range map[string]string{
		"base_ulr": "base_url", "baseUrl": "base_url", "base-url": "base_url", "BASE_URL": "base_url", "timeout": "timeouts", "timoeuts": "timeouts", "pol": "pool",
		"ttl": "default_ttl", "bytes": "max_bytes", "url": "", "zzz": "", "x": "", "": "", "entirely_else": "",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistanceCountsEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"listen", "listen", 0}, {"lsiten", "listen", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzFormat feeds bytes to Parse: it must not panic, and must give a complete valid configuration
// or faults, never both.
func fuzzFormat(f *testing.F, ext string, seeds ...string) {
	files, err := filepath.Glob("*" + ext)
	if err != nil {
		f.Fatal(err)
	}
	bad, err := filepath.Glob("testdata/bad/*" + ext)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, bad...) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.Contains(file, "bomb") { // slow under the fuzzer, and tested elsewhere
			f.Add(data)
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("fuzz"+ext, data)
		if err != nil {
			var faults *Faults
			if !errors.As(err, &faults) || len(faults.List) == 0 || l != nil {
				t.Fatalf("%v is no *Faults", err)
			}
			lines := strings.Count(string(data), "\n") + 2
			for _, fault := range faults.List {
				if fault.Problem == "" || fault.Line < 0 || fault.Line > lines {
					t.Fatalf("fault %+v of %d lines", fault, lines)
				}
				if strings.HasPrefix(fault.Problem, "filling the configuration in") {
					t.Fatalf("a fault got past the type check: %s", fault)
				}
			}
			return
		}
		if faults := l.Config.Validate(); len(faults) > 0 {
			t.Fatalf("loaded, but %v", faults)
		}
		for _, e := range Effective(l) {
			if e.Source == "" {
				t.Fatalf("%s has no source", e.Key)
			}
		}
		if changes := Diff(l, l); len(changes) > 0 {
			t.Fatalf("differs from itself: %v", changes)
		}
	})
}

func FuzzLoadYAML(f *testing.F) {
	fuzzFormat(f, ".yaml", "a: [", "&a [*a]", "? {a: b}\n: c", "<<: *x", "x-a: &a {b: 1}\n<<: *a", strings.Repeat("[", 5000), "cache: !!binary x",
		"routes: {r: {body: {a: .inf}}}", "knobs: {a: 0x10, b: 010, c: 1_0}", "upstreams: {\"\\0\": {}}", "%YAML 1.2\n---\n")
}

func FuzzLoadTOML(f *testing.F) {
	fuzzFormat(f, ".toml", "a = [", "a.b.c = 1\na.b = 2", "[[a]]\n[a]\n", "a = "+strings.Repeat("[", 5000), strings.Repeat("a.", 5000)+"a = 1",
		"cache = 1\n[cache.x]\n", "rates = [1]\n[[rates]]\n", "[knobs]\na = inf\nb = 1979-05-27\n", "routes.r.body = {a = nan}")
}

func FuzzLoadJSON(f *testing.F) {
	fuzzFormat(f, ".json", `{"a":`, strings.Repeat("[", 100000), strings.Repeat(`{"a":`, 100), `{"a":1}{`, `{"":1}`, `{"a\u0000":1}`, `{"knobs": {"a": 1e999}}`, "null", `"x"`)
}

func FuzzEnvironment(f *testing.F) {
	f.Add("SERVER__LISTEN", ":80")
	f.Add("RATES", "[{limit: 1}]")
	f.Add("UPSTREAMS__A__HEADERS__X", "y")
	f.Add("KNOBS__A__B", "1")
	f.Add("ROUTES__A__BODY", "{a: &b [*b]}")
	f.Fuzz(func(t *testing.T, name, value string) {
		l, err := Load(LoadOptions{Env: []string{envPrefix + name + "=" + value}, Flags: map[string]string{name: value}})
		var faults *Faults
		if err == nil && l == nil || err != nil && !errors.As(err, &faults) {
			t.Fatalf("%v, %v", l, err)
		}
	})
}

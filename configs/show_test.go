package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func exactJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const withSecrets = `
admin: {token: {env: ADMIN_TOKEN}}
upstreams:
  movies:
    base_url: http://a
    proxy: http://user:hunter2@proxy:3128
    headers: {X-Api-Key: hunter2, Accept: text/plain}
    credentials: [{header: Authorization, prefix: "Bearer ", file: key.txt}]
routes:
  r:
    path: /x
    query: {api_key: hunter2, lang: "{lang}"}
    body: {password: hunter2, token: "{token}", deep: [{secret: hunter2}]}
    params: {token: {default: hunter2}, lang: {default: de}}
`

func TestNothingShownHoldsASecret(t *testing.T) {
	l := mustParse(t, withSecrets)
	var b strings.Builder
	for _, e := range Effective(l) {
		fmt.Fprintf(&b, "%s = %s  (%s %s %s)\n", e.Key, e.Value, e.Source, location(e.File, e.Line), e.Inherits)
	}
	for _, c := range Diff(mustParse(t, "preset: balanced"), l) {
		fmt.Fprintf(&b, "%+v\n", c)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a secret is shown:\n%s", b.String())
	}
	golden(t, "effective.golden", b.String())
}

func TestDiffListsChangesAndWhatNeedsARestart(t *testing.T) {
	before := mustParse(t, withSecrets+`
server: {listen: ":8080"}
workers: {count: 4}
data_dir: /a
`)
	after := mustParse(t, strings.Replace(withSecrets, "X-Api-Key: hunter2", "X-Api-Key: hunter3", 1)+`
  s: {path: /y}
server: {listen: ":8081"}
workers: {count: 5}
rates: [{limit: 3}]
`)
	want := []Change{
		{Key: "data_dir", From: "/a", RestartNeeded: true},
		{Key: "rates", From: "[]", To: "[{limit: 3, per: 1s}]"},
		{Key: "routes.s.path", To: "/y"},
		{Key: "server.listen", From: ":8080", To: ":8081", RestartNeeded: true},
		{Key: "upstreams.movies.headers.X-Api-Key", From: "***", To: "***"},
		{Key: "upstreams.movies.rates", From: "[]", To: "[{limit: 3, per: 1s}]"},
		{Key: "workers.count", From: "4", To: "5"},
	}
	if diff := cmp.Diff(want, Diff(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if changes := Diff(before, before); len(changes) > 0 {
		t.Errorf("no change gives %v", changes)
	}
	removed := Diff(after, mustParse(t, "preset: balanced"))
	if keys := exactJSON(t, removed); !strings.Contains(keys, "routes.s.path") || strings.Contains(keys, "upstreams.movies.workers") {
		t.Errorf("the removal of all gives %s", keys)
	}
}

func TestSecretsAreReadFromWhereTheyLive(t *testing.T) {
	l := mustLoad(t, LoadOptions{
		Path: write(t, "penstock.yaml", "admin: {token: {env: PENSTOCK_TEST_TOKEN}}\nupstreams: {m: {base_url: http://m, credentials: [{query: key, file: /nonexistent/key}]}}"),
		Env:  []string{"PENSTOCK_TEST_TOKEN=abc"},
	})
	if s, err := l.Secret(l.Config.Admin.Token); s != "abc" || err != nil {
		t.Errorf("env: %q, %v", s, err)
	}
	if s, err := l.Secret(Secret{File: write(t, "key", " abc\n")}); s != "abc" || err != nil {
		t.Errorf("file: %q, %v", s, err)
	}
	if s, err := l.Secret(Secret{}); s != "" || err != nil {
		t.Errorf("none: %q, %v", s, err)
	}
	for _, s := range []Secret{{Env: "PENSTOCK_TEST_UNSET"}, {File: write(t, "empty", "\n")}} {
		if _, err := l.Secret(s); err == nil {
			t.Errorf("%+v was read", s)
		}
	}
	err := l.CheckSecrets()
	if err == nil || !strings.Contains(err.Error(), "penstock.yaml:2 upstreams.m.credentials[0]: the secret's file /nonexistent/key") {
		t.Errorf("CheckSecrets: %v", err)
	}
	if refs := l.References(); !cmp.Equal(refs, []string{"/nonexistent/key"}) {
		t.Errorf("References: %v", refs)
	}
}

func TestFingerprintFollowsContentThroughSymlinkSwaps(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"one/penstock.yaml": "preset: balanced\n", "two/penstock.yaml": "preset: aggressive\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(target string) {
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(target, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("one")
	path := filepath.Join(dir, "penstock.yaml")
	if err := os.Symlink("..data/penstock.yaml", path); err != nil {
		t.Fatal(err)
	}
	one, err := Fingerprint(path)
	if err != nil || one != mustLoad(t, LoadOptions{Path: path}).Fingerprint {
		t.Fatalf("%q, %v", one, err)
	}
	swap("two")
	if two, err := Fingerprint(path); err != nil || two == one {
		t.Errorf("after the swap: %q, %v", two, err)
	}
	secret := write(t, "key", "a")
	a, _ := Fingerprint(path, secret)
	if err := os.WriteFile(secret, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Fingerprint(path, secret); err != nil || a == b {
		t.Errorf("a changed reference is not seen: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "two/penstock.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Fingerprint(path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty file gives %v", err)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is a file as the schema sees it.
func document(t *testing.T, name string, data []byte) any {
	t.Helper()
	parse, err := parserFor(name)
	if err != nil {
		t.Fatal(err)
	}
	n, faults := parse(data, name)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	v, err := anyValue(n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheShippedFilesAreValid(t *testing.T) {
	schema := compiledSchema(t)
	var files []string
	for _, pattern := range []string{"*.yaml", "*.toml", "*.json"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 7 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		l := mustLoad(t, LoadOptions{Path: file})
		if len(l.Config.Upstreams) == 0 {
			t.Errorf("%s has no upstream", file)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document(t, file, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestTheStarterFileMatchesTheDefaults(t *testing.T) {
	for _, preset := range Presets() {
		text, err := Init(preset)
		if err != nil {
			t.Fatal(err)
		}
		if l := mustParse(t, text); l.Config.Preset != preset {
			t.Errorf("the preset is %q, want %q", l.Config.Preset, preset)
		}
	}
	text, _ := Init("")
	c := *mustParse(t, text).Config
	c.Upstreams, c.Routes = nil, nil
	if diff := cmp.Diff(*Defaults(), c); diff != "" {
		t.Errorf("what the file spells out are not the defaults (-want +got):\n%s", diff)
	}
	if _, err := Init("fast"); err == nil {
		t.Error("an unknown preset was taken")
	}
}

func TestTheSchemaRefusesWhatLoadRefuses(t *testing.T) {
	schema := compiledSchema(t)
	for _, text := range []string{
		"presett: balanced", "preset: fast", "server: {listen: 1}", "cache: {default_ttl: 60}", "cache: {default_ttl: 1d}", "cache: {max_bytes: lots}",
		"cache: {max_bytes: 1}", "workers: {count: 0}", "workers: {count: 1001}", "upstreams: {a: {}}", "upstreams: {a: {base_url: ftp://x}}",
		"upstreams: {a: {base_url: \"http://x?q\"}}", "upstreams: {A: {base_url: http://x}}", "upstreams: {a: {base_url: http://x, base_ulr: x}}", "routes: {a: {upstream: x}}",
		"upstreams: {a: {base_url: http://x, credentials: [{heder: x}]}}", "rates: [{per: 1s}]", "rates: {limit: 1}", "preload: {threshold: 2}", "tuning: on",
		"upstreams: {a: {base_url: http://x, headers: {A: 1}}}",
	} {
		if err := schema.Validate(document(t, "x.yaml", []byte(text))); err == nil {
			t.Errorf("the schema accepts %s", text)
		}
		if _, err := Parse("x.yaml", []byte(text)); err == nil {
			t.Errorf("Parse accepts %s", text)
		}
	}
	for _, text := range []string{"cache:", "x-mine: {a: [1]}", "cache: {default_ttl: 0}", "cache: {default_ttl: 1.5h30m, max_bytes: 1.5 GiB}", "knobs: {a.b: 3}"} {
		if err := schema.Validate(document(t, "x.yaml", []byte(text))); err != nil {
			t.Errorf("the schema refuses %s: %v", text, err)
		}
		mustParse(t, text)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	var walk func(s *spec, path string)
	walk = func(s *spec, path string) {
		for _, f := range s.fields {
			at := join(path, f.name)
			if f.name == "" || f.doc == "" || !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s has no sentence that says what it does: %q", at, f.doc)
			}
			if (f.kind == kindInt || f.kind == kindDuration || f.kind == kindSize || f.kind == kindFloat) && (f.min == nil || f.max == nil) {
				t.Errorf("%s has no range", at)
			}
			walk(f, at)
			if f.elem != nil {
				walk(f.elem, at)
			}
		}
	}
	walk(root(), "")
	page := Reference()
	for _, want := range []string{"## server\n", "## upstreams.NAME.retry\n", "| `max_bytes` | size | `256MiB` | 1MiB to 1TiB | dynamic |", "| `workers.count` | 64 | 16 | 4 |", "PENSTOCK_TRACES"} {
		if !strings.Contains(page, want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
	golden(t, "reference.golden", page)
}

func TestPresetsAreValidAndName(t *testing.T) {
	for name, bundle := range presets {
		l := mustParse(t, "preset: "+name)
		for key := range bundle {
			if l.Sources[key].Source != SourcePreset {
				t.Errorf("%s: the key %s comes from %s", name, key, l.Sources[key].Source)
			}
		}
		if p := newPreset(name); len(p.faults) > 0 || len(p.origins) != len(bundle) {
			t.Errorf("%s: %v", name, p.faults)
		}
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"penstock/configs"
	"penstock/tenant"
)

// typing has the command read text from standard input.
func typing(text string) func(c *cli) {
	return func(c *cli) { c.in = strings.NewReader(text) }
}

func TestNewKeysComeWithTheConfigurationThatLetsThemIn(t *testing.T) {
	for _, name := range []string{"shop", "on", "Web@example.com", "42"} {
		got := command(t, nil, "keys", "new", name)
		want(t, got, exitOK, "can't be shown again")
		key, rest, _ := strings.Cut(got.out, "\n")
		_, yaml, _ := strings.Cut(rest, "configuration:\n")
		l, err := configs.Parse("c.yaml", []byte(yaml))
		if err != nil {
			t.Fatalf("%v:\n%s", err, yaml)
		}
		if keys := l.Config.Tenants.Accounts[name].Keys; len(keys) != 1 || keys[0] != tenant.HashOf(key).String() {
			t.Errorf("the configuration has %v for the key %s", keys, key)
		}
	}
	first, second := command(t, nil, "keys", "new").out, command(t, nil, "keys", "new").out
	if !regexp.MustCompile(`^psk_[A-Za-z0-9_-]{43}\n`).MatchString(first) || first == second {
		t.Errorf("keys %.60q and %.60q", first, second)
	}
	var made madeKey
	if err := json.Unmarshal([]byte(command(t, nil, "keys", "new", "shop", "--json").out), &made); err != nil ||
		made.Tenant != "shop" || made.Hash != tenant.HashOf(made.Key).String() {
		t.Errorf("%+v, %v", made, err)
	}
	want(t, command(t, nil, "keys", "new", "a b"), exitUsage, "not a usable name")
}

func TestAKeyFromStandardInputIsHashed(t *testing.T) {
	key := tenant.NewKey()
	for _, text := range []string{key, key + "\n", key + "\r\n"} {
		if got := command(t, typing(text), "keys", "hash"); got.code != exitOK || got.out != tenant.HashOf(key).String()+"\n" {
			t.Errorf("%q: %+v", text, got)
		}
	}
	want(t, command(t, typing(key), "keys", "hash", "--json"), exitOK, `"hash": "sha256:`)
	want(t, command(t, typing("\n"), "keys", "hash"), exitFailed, "no key came")
	for _, bad := range []string{"hunter2", strings.Repeat("x", 30) + " x", strings.Repeat("x", 1000), key + "\n" + key} {
		got := command(t, typing(bad), "keys", "hash")
		if got.code != exitFailed || strings.Contains(got.out+got.err, bad) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestTheKeyOfTheEnvironmentIsShownToPenstockOnly(t *testing.T) {
	var shown []string
	serve := running(t, func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("X-Api-Key"))
		_, _ = io.WriteString(w, "{}")
	})
	withKey := func(c *cli) {
		serve(c)
		c.env = append(c.env, "PENSTOCK_API_KEY=psk_mine")
	}
	want(t, command(t, withKey, "send", "movie", "id=1"), exitOK)
	trace := filepath.Join(t.TempDir(), "t.csv")
	writeFile(t, trace, "timestamp_ms,client,key,size\n0,c,k,1\n")
	want(t, command(t, withKey, "replay", "--trace", trace, "--quiet"), exitOK)
	if len(shown) != 2 || shown[0] != "psk_mine" || shown[1] != "psk_mine" {
		t.Errorf("the keys shown are %q", shown)
	}
	shown = nil
	elsewhere := func(c *cli) {
		withKey(c)
		c.env = append(c.env, "PENSTOCK_URL=http://127.0.0.1:1")
	}
	var target string
	command(t, func(c *cli) { serve(c); target = c.getenv("PENSTOCK_URL") }, "version")
	want(t, command(t, elsewhere, "replay", "--trace", trace, "--quiet", "--target", target), exitOK)
	if len(shown) != 1 || shown[0] != "" {
		t.Errorf("another target was shown %q", shown)
	}
}

package tenant

import (
	"regexp"
	"strings"
	"testing"
)

func TestNewKeysAreDifferentAndFit(t *testing.T) {
	form := regexp.MustCompile(`^psk_[A-Za-z0-9_-]{43}$`)
	seen := make(map[string]bool)
	for range 100 {
		key := NewKey()
		if !form.MatchString(key) || seen[key] || CheckKey(key) != nil {
			t.Fatalf("%s: %v", key, CheckKey(key))
		}
		seen[key] = true
	}
}

func TestHashesAreReadAsTheyAreWritten(t *testing.T) {
	// The SHA-256 of "abc", from FIPS 180-2.
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if s := HashOf("abc").String(); s != abc {
		t.Errorf("%s, want %s", s, abc)
	}
	for _, text := range []string{abc, "sha256:" + strings.ToUpper(abc[7:])} {
		if h, err := ParseHash(text); err != nil || h != HashOf("abc") {
			t.Errorf("%s: %v, %v", text, h, err)
		}
	}
	for _, text := range []string{"", "sha256:", abc[7:], abc[:70], abc + "0", "SHA256:" + abc[7:], "sha256:" + strings.Repeat("g", 64), "psk_hunter2"} {
		if _, err := ParseHash(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKeysThatAreEasyToGuessOrCantBeSentAreRefused(t *testing.T) {
	for _, key := range []string{"", "secret", strings.Repeat("x", 23), strings.Repeat("x", 513), strings.Repeat("x", 30) + " ", strings.Repeat("x", 30) + "\n", strings.Repeat("ä", 20)} {
		if err := CheckKey(key); err == nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(HashOf("x").String())
	f.Add("sha256:")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err == nil && !strings.EqualFold(h.String(), text) {
			t.Errorf("%q was read as %s", text, h)
		}
	})
}

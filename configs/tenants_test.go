package configs

import (
	"strings"
	"testing"
	"time"
)

const (
	hashA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestTenantsHaveDefaultsOfTheirOwn(t *testing.T) {
	c := mustParse(t, `
tenants:
  accounts:
    shop: {keys: ["`+hashA+`"], rates: [{limit: 100, per: 1m}, {limit: 5}]}
    Web@example.com:
  default: {weight: 0.5}
`).Config.Tenants
	shop := c.Accounts["shop"]
	if shop.Weight != 1 || shop.CacheShare != 1 || shop.MaxUrgency != 0 {
		t.Errorf("shop has %+v, want the defaults", shop)
	}
	if len(shop.Rates) != 2 || shop.Rates[0].Per != time.Minute || shop.Rates[1].Per != time.Second {
		t.Errorf("shop has the rates %+v", shop.Rates)
	}
	if web := c.Accounts["Web@example.com"]; web.Weight != 1 {
		t.Errorf("an account with nothing below it has %+v, want the defaults", web)
	}
	if c.Default.Weight != 0.5 || c.Default.CacheShare != 1 {
		t.Errorf("the default limits are %+v", c.Default)
	}
	if c.Anonymous != "auto" || !c.Keyed() {
		t.Errorf("anonymous %q, keyed %v", c.Anonymous, c.Keyed())
	}
}

func TestKeysThatCantWorkAreFaults(t *testing.T) {
	for name, c := range map[string]struct{ yaml, key, problem string }{
		"a plain key":         {`a: {keys: [psk_hunter2]}`, "tenants.accounts.a.keys[0]", "never the key itself"},
		"a plain key, alone":  {`a: {keys: psk_hunter2}`, "tenants.accounts.a.keys", "must be a list"},
		"no prefix":           {`a: {keys: ["` + hashA[7:] + `"]}`, "tenants.accounts.a.keys[0]", "must be sha256:"},
		"short":               {`a: {keys: ["` + hashA[:70] + `"]}`, "tenants.accounts.a.keys[0]", "64 hex digits"},
		"no hex":              {`a: {keys: ["` + strings.Replace(hashA, "aa", "gg", 1) + `"]}`, "tenants.accounts.a.keys[0]", "64 hex digits"},
		"empty":               {`a: {keys: [""]}`, "tenants.accounts.a.keys[0]", "64 hex digits"},
		"shared":              {`{a: {keys: ["` + hashA + `"]}, b: {keys: ["` + hashA + `"]}}`, "tenants.accounts.b.keys[0]", "is a key of a too"},
		"shared in capitals":  {`{a: {keys: ["` + hashA + `"]}, b: {keys: ["sha256:` + strings.ToUpper(hashA[7:]) + `"]}}`, "tenants.accounts.b.keys[0]", "is a key of a too"},
		"twice":               {`a: {keys: ["` + hashA + `", "` + hashA + `"]}`, "tenants.accounts.a.keys[1]", "twice"},
		"a name with a space": {`{"a b": {}}`, "tenants.accounts.a b", "not a usable name"},
		"weight 0":            {`a: {weight: 0}`, "tenants.accounts.a.weight", "at least 0.001"},
		"urgency 8":           {`a: {max_urgency: 8}`, "tenants.accounts.a.max_urgency", "at most 7"},
		"share over all":      {`a: {cache_share: 1.1}`, "tenants.accounts.a.cache_share", "at most 1"},
		"a rate without":      {`a: {rates: [{per: 1s}]}`, "tenants.accounts.a.rates[0].limit", "over 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte("tenants:\n  accounts:\n    "+c.yaml+"\n"))
			if err == nil {
				t.Fatal("there is no fault")
			}
			if text := err.Error(); !strings.Contains(text, c.key+":") || !strings.Contains(text, c.problem) {
				t.Errorf("the fault is\n%s\nwant %s: ...%s", text, c.key, c.problem)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the fault shows a key: %v", err)
			}
		})
	}
}

func TestNobodyMayNotBeLockedOut(t *testing.T) {
	if _, err := Parse("c.yaml", []byte("tenants: {anonymous: never}")); err == nil || !strings.Contains(err.Error(), "scheduler keys new") {
		t.Errorf("never without a key gave %v, want a fault that names the way out", err)
	}
	mustParse(t, "tenants: {anonymous: never, accounts: {a: {keys: ['"+hashA+"']}}}")
}

func TestTenantsCanComeFromTheEnvironment(t *testing.T) {
	l, err := Load(LoadOptions{Env: []string{
		"PENSTOCK_TENANTS__ACCOUNTS__SHOP__KEYS=" + hashA + "," + hashB,
		"PENSTOCK_TENANTS__ACCOUNTS__SHOP__MAX_URGENCY=2",
		"PENSTOCK_TENANTS__DEFAULT__RATES=[{limit: 10, per: 1m}]",
	}})
	if err != nil {
		t.Fatal(err)
	}
	shop := l.Config.Tenants.Accounts["shop"]
	if len(shop.Keys) != 2 || shop.MaxUrgency != 2 || shop.Weight != 1 {
		t.Errorf("shop is %+v", shop)
	}
	if r := l.Config.Tenants.Default.Rates; len(r) != 1 || r[0].Per != time.Minute {
		t.Errorf("the default rates are %+v", r)
	}
}

func TestHashesAreShownAndCompared(t *testing.T) {
	one := "tenants: {accounts: {a: {keys: ['" + hashA + "']}}}"
	changes := Diff(mustParse(t, one), mustParse(t, strings.Replace(one, hashA, hashB, 1)))
	if len(changes) != 1 || changes[0].Key != "tenants.accounts.a.keys" || !strings.Contains(changes[0].To, hashB) || changes[0].RestartNeeded {
		t.Errorf("the changes are %+v", changes)
	}
}

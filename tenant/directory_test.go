package tenant

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/request"
)

const (
	here  = "127.0.0.1:4711"
	there = "192.0.2.1:4711"

	keyA = "psk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	keyB = "psk_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
	keyC = "a-key-of-another-maker-0123456789"
)

func directory(t testing.TB, o Options) *Directory {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// keyed has two tenants with keys: a with two, b with one.
func keyed() Options {
	return Options{
		Header: "X-Tenant",
		Accounts: map[string]Account{
			"a": {Keys: []Hash{HashOf(keyA), HashOf(keyC)}, Limits: Limits{Weight: 3, MaxUrgency: 2, CacheShare: 0.5}},
			"b": {Keys: []Hash{HashOf(keyB)}},
		},
		Default: Limits{MaxUrgency: 5, CacheShare: 1},
	}
}

// header makes a header: name, value, name, value ...
func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func wantProblem(t testing.TB, err error, p request.Problem) *request.Error {
	t.Helper()
	e, ok := errors.AsType[*request.Error](err)
	if !ok || e.Problem != p {
		t.Fatalf("error %v, want %s", err, p)
	}
	return e
}

func TestTheKeySaysWhoAsks(t *testing.T) {
	d := directory(t, keyed())
	for name, c := range map[string]struct {
		header http.Header
		want   string // the tenant; empty: 401
		left   string // the Authorization that is left
	}{
		"bearer":                     {header("Authorization", "Bearer "+keyA), "a", ""},
		"bearer in other case":       {header("Authorization", "bEARER  "+keyB), "b", ""},
		"x-api-key":                  {header("X-Api-Key", keyC), "a", ""},
		"both, the same":             {header("X-Api-Key", keyB, "Authorization", "Bearer "+keyB), "b", ""},
		"both, of one tenant":        {header("X-Api-Key", keyC, "Authorization", "Bearer "+keyA), "", ""},
		"both, of two tenants":       {header("X-Api-Key", keyA, "Authorization", "Bearer "+keyB), "", ""},
		"both, one of ours, unknown": {header("X-Api-Key", keyA, "Authorization", "Bearer psk_x"), "", ""},
		"beside the upstream's":      {header("X-Api-Key", keyA, "Authorization", "Bearer theirs"), "a", "Bearer theirs"},
		"beside basic":               {header("X-Api-Key", keyA, "Authorization", "Basic eDp5"), "a", "Basic eDp5"},
		"unknown":                    {header("Authorization", "Bearer psk_unknown"), "", ""},
		"unknown x-api-key":          {header("X-Api-Key", "unknown", "Authorization", "Bearer "+keyA), "", ""},
		"none":                       {header(), "", ""},
		"basic alone":                {header("Authorization", "Basic "+keyA), "", ""},
		"empty":                      {header("Authorization", "Bearer "), "", ""},
		"empty x-api-key":            {header("X-Api-Key", ""), "", ""},
		"twice":                      {header("X-Api-Key", keyA, "X-Api-Key", keyA), "", ""},
		"two authorizations":         {header("Authorization", "Bearer "+keyA, "Authorization", "Bearer "+keyA), "", ""},
		"the hash instead":           {header("X-Api-Key", HashOf(keyA).String()), "", ""},
		"a prefix":                   {header("X-Api-Key", keyA[:len(keyA)-1]), "", ""},
		"with NUL behind":            {header("X-Api-Key", keyA+"\x00"), "", ""},
		"a megabyte":                 {header("X-Api-Key", strings.Repeat("x", 1<<20)), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.header.Set("X-Tenant", "b")
			got, err := d.Identify(c.header, there)
			if c.want == "" {
				wantProblem(t, err, request.ProblemUnauthorized)
				return
			}
			if err != nil || got.Name != c.want {
				t.Fatalf("%+v, %v; want %s", got, err, c.want)
			}
			if left := c.header.Get("Authorization"); left != c.left {
				t.Errorf("Authorization is %q, want %q", left, c.left)
			}
			if c.header.Get("X-Api-Key") != "" || c.header.Get("X-Tenant") != "" {
				t.Errorf("the upstream would see %v", c.header)
			}
		})
	}
}

func TestWithoutKeysThisMachineMayAskAndNamesItsTenant(t *testing.T) {
	d := directory(t, Options{Header: "x-tenant", Accounts: map[string]Account{"shop": {Limits: Limits{MaxUrgency: 4}}}})
	h := header("X-Tenant", "shop", "Authorization", "Bearer theirs", "X-Api-Key", "theirs too")
	for _, addr := range []string{here, "[::1]:9", "[::ffff:127.0.0.1]:9", "127.9.9.9:1"} {
		got, err := d.Identify(h.Clone(), addr)
		if err != nil || got.Name != "shop" || got.MaxUrgency != 4 {
			t.Errorf("from %s: %+v, %v", addr, got, err)
		}
	}
	if _, err := d.Identify(h, here); err != nil || len(h) != 2 || h.Get("Authorization") == "" || h.Get("X-Api-Key") == "" {
		t.Errorf("%v: %v, want the upstream's own credentials untouched", err, h)
	}
	if got, err := d.Identify(header("X-Tenant", "other"), here); err != nil || got.Name != "other" || got.MaxUrgency != 0 {
		t.Errorf("not listed: %+v, %v", got, err)
	}
	for _, addr := range []string{there, "[2001:db8::1]:9", "", "@", "localhost:80", "127.0.0.1", "nonsense"} {
		e := wantProblem(t, func() error { _, err := d.Identify(header(), addr); return err }(), request.ProblemUnauthorized)
		if !strings.Contains(e.Detail, "tenants.anonymous: any") || !strings.Contains(e.Detail, "tenants.accounts") {
			t.Errorf("the detail names no setting: %s", e.Detail)
		}
	}
	for _, bad := range []http.Header{
		header("X-Tenant", "a", "X-Tenant", "b"), header("X-Tenant", strings.Repeat("x", 129)),
		header("X-Tenant", "a\x00b"), header("X-Tenant", "a b"), header("X-Tenant", "ä"),
	} {
		_, err := d.Identify(bad, here)
		wantProblem(t, err, request.ProblemBadRequest)
	}
}

func TestWhoMayAskWithoutAKey(t *testing.T) {
	for _, c := range []struct {
		anonymous           Anonymous
		keys, fromHere, all bool
	}{
		{Auto, false, true, false}, {Auto, true, false, false},
		{Loopback, false, true, false}, {Loopback, true, true, false},
		{Anyone, false, true, true}, {Anyone, true, true, true},
		{Nobody, true, false, false},
	} {
		o := Options{Header: "X-Tenant", Default: Limits{MaxUrgency: 5}}
		if c.keys {
			o = keyed()
		}
		o.Anonymous = c.anonymous
		d := directory(t, o)
		got, err := d.Identify(header("X-Tenant", "b"), here)
		if (err == nil) != c.fromHere {
			t.Errorf("%+v: from here %v", c, err)
		}
		if err == nil && c.keys && (got.Name != "" || got.MaxUrgency != 5) {
			t.Errorf("%+v: beside keys the header is believed: %+v", c, got)
		}
		if _, err := d.Identify(header(), there); (err == nil) != c.all {
			t.Errorf("%+v: from there %v", c, err)
		}
		if _, err := d.Identify(header("X-Api-Key", "wrong"), here); c.keys && err == nil {
			t.Errorf("%+v: a wrong key counts as none", c)
		}
	}
}

func TestLimitsAreThoseOfTheTenant(t *testing.T) {
	d := directory(t, keyed())
	if d.Weight("a") != 3 || d.Weight("b") != 1 || d.Weight("?") != 1 {
		t.Errorf("weights %v %v %v", d.Weight("a"), d.Weight("b"), d.Weight("?"))
	}
	if d.CacheShare("a") != 0.5 || d.CacheShare("b") != 0 || d.CacheShare("?") != 1 {
		t.Errorf("shares %v %v %v", d.CacheShare("a"), d.CacheShare("b"), d.CacheShare("?"))
	}
	if !d.Keyed() || d.Anonymous() != Nobody {
		t.Errorf("keyed %v, anonymous %v", d.Keyed(), d.Anonymous())
	}
}

func TestAFaultyReloadChangesNothing(t *testing.T) {
	d := directory(t, keyed())
	for name, change := range map[string]func(o *Options){
		"a shared key":    func(o *Options) { o.Accounts["c"] = Account{Keys: []Hash{HashOf(keyA)}} },
		"a negative rate": func(o *Options) { o.Default.Rates = []Rate{{Limit: -1}} },
		"a share over 1":  func(o *Options) { o.Default.CacheShare = 1.5 },
		"nobody":          func(o *Options) { o.Accounts, o.Anonymous = nil, Nobody },
	} {
		o := keyed()
		change(&o)
		if _, err := d.Prepare(o); err == nil || !strings.Contains(err.Error(), "tenants.") {
			t.Errorf("%s: %v, want a fault with the setting", name, err)
		}
	}
	if got, err := d.Identify(header("X-Api-Key", keyA), there); err != nil || got.Name != "a" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAReloadTakesKeysAwayAtOnce(t *testing.T) {
	d := directory(t, keyed())
	o := keyed()
	o.Accounts["a"] = Account{Keys: []Hash{HashOf(keyC)}}
	commit, err := d.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Identify(header("X-Api-Key", keyA), there); err != nil {
		t.Errorf("before the commit: %v", err)
	}
	commit()
	if _, err := d.Identify(header("X-Api-Key", keyA), there); err == nil {
		t.Error("the key that was taken away still works")
	}
	if _, err := d.Identify(header("X-Api-Key", keyC), there); err != nil {
		t.Errorf("the key that stayed: %v", err)
	}
}

func TestReloadsAndRequestsAtOnce(t *testing.T) {
	o := keyed()
	o.Default.Rates = []Rate{{Limit: 5, Per: time.Second}}
	o.Anonymous = Anyone
	d := directory(t, o)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 300 {
				got, err := d.Identify(header("X-Api-Key", keyA), there)
				if err != nil || got.Name != "a" {
					t.Errorf("%+v, %v", got, err)
				}
				stranger, _ := d.Identify(header(), there)
				stranger.Quota.Take()
				_ = d.Weight(fmt.Sprint(n))
				if i == 0 && n%10 == 0 {
					next := o
					next.Default.Rates = []Rate{{Limit: float64(1 + n%3), Per: time.Second}}
					commit, err := d.Prepare(next)
					if err != nil {
						t.Error(err)
						return
					}
					commit()
				}
			}
		})
	}
	wg.Wait()
}

func TestIdentifyingCostsLittle(t *testing.T) {
	open := directory(t, Options{Header: "X-Tenant"})
	h := header("Accept", "*/*")
	if n := testing.AllocsPerRun(100, func() { _, _ = open.Identify(h, here) }); n != 0 {
		t.Errorf("%v allocations without keys", n)
	}
	d := directory(t, keyed())
	value := []string{"Bearer " + keyA}
	if n := testing.AllocsPerRun(100, func() {
		h["Authorization"] = value
		_, _ = d.Identify(h, there)
	}); n > 2 {
		t.Errorf("%v allocations with a key", n)
	}
}

func BenchmarkIdentify(b *testing.B) {
	for _, n := range []int{0, 1, 100, 1000} {
		b.Run(fmt.Sprint(n, "keys"), func(b *testing.B) {
			o := Options{Header: "X-Tenant", Accounts: make(map[string]Account)}
			for i := range n {
				o.Accounts[fmt.Sprint(i)] = Account{Keys: []Hash{HashOf(fmt.Sprint(keyA, i))}}
			}
			d := directory(b, o)
			h, value := make(http.Header), []string{fmt.Sprint("Bearer ", keyA, 0)}
			b.ReportAllocs()
			for b.Loop() {
				h["Authorization"] = value
				if _, err := d.Identify(h, here); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzIdentify holds that whatever a client sends, nobody is taken for a tenant without its key, and no
// key of Penstock's is left for the upstream.
func FuzzIdentify(f *testing.F) {
	f.Add("Bearer "+keyA, "", "a")
	f.Add("Bearer "+keyB, keyA, "b")
	f.Add("bearer\t"+keyA, keyC+" ", "\x00")
	f.Add("Basic "+keyA, keyA, "")
	d := directory(f, keyed())
	f.Fuzz(func(t *testing.T, auth, own, name string) {
		h := http.Header{"Authorization": {auth}, "X-Api-Key": {own}, "X-Tenant": {name}}
		if own == "" {
			delete(h, "X-Api-Key")
		}
		got, err := d.Identify(h, there)
		if err != nil {
			wantProblem(t, err, request.ProblemUnauthorized)
			return
		}
		key := own
		if key == "" {
			key, _ = bearerOf([]string{auth})
		}
		if owner := d.state.Load().ring.owner(key); owner == nil || owner.name != got.Name {
			t.Errorf("%q, %q is taken for %q", auth, own, got.Name)
		}
		left, bearer := bearerOf(h["Authorization"])
		if h.Get("X-Api-Key") != "" || h.Get("X-Tenant") != "" || bearer && d.state.Load().ring.owner(left) != nil {
			t.Errorf("the upstream would see %v", h)
		}
	})
}

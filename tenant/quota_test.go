package tenant

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// limited has one listed tenant, shop, and the same rates for everybody else.
func limited(rates ...Rate) Options {
	return Options{
		Header:   "X-Tenant",
		Accounts: map[string]Account{"shop": {Limits: Limits{Rates: rates}}},
		Default:  Limits{Rates: rates},
	}
}

func quotaOf(t testing.TB, d *Directory, name string) *Quota {
	t.Helper()
	got, err := d.Identify(header("X-Tenant", name), here)
	if err != nil {
		t.Fatal(err)
	}
	return got.Quota
}

// taken is how many requests a quota lets through now.
func taken(q *Quota) (n int) {
	for {
		if _, _, wait := q.Take(); wait > 0 {
			return n
		}
		n++
	}
}

func TestEachWindowHoldsAndARefusalTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, directory(t, limited(Rate{Limit: 10, Per: time.Second, Burst: 5}, Rate{Limit: 12, Per: time.Minute})), "shop")
		if n := taken(q); n != 5 {
			t.Errorf("%d at once, want the burst of the first window", n)
		}
		time.Sleep(time.Second)
		if n := taken(q); n != 5 {
			t.Errorf("%d after a second, want 5 again", n)
		}
		time.Sleep(time.Second)
		if n := taken(q); n != 2 {
			t.Errorf("%d after two seconds, want the 2 that the minute has left: refusals must not have taken any", n)
		}
		_, _, wait := q.Take()
		if wait < 2*time.Second || wait > 4*time.Second {
			t.Errorf("wait %v, want until the minute's window has one again (12 a minute, two seconds gone)", wait)
		}
		time.Sleep(wait)
		if n := taken(q); n != 1 {
			t.Errorf("%d after the wait that was told, want 1", n)
		}
	})
}

func TestTheHeadersTellTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			rates                []Rate
			policy, first, later string
		}{
			{[]Rate{{Limit: 100, Per: time.Minute}}, `"default";q=100;w=60`, `"default";r=99;t=1`, `"default";r=0;t=60`},
			{[]Rate{{Limit: 10}, {Limit: 5000, Per: 24 * time.Hour, Burst: 10}},
				`"default-1";q=10;w=1, "default-2";q=5000;w=86400`, `"default-1";r=9;t=1, "default-2";r=9;t=18`, `"default-1";r=0;t=1, "default-2";r=0;t=173`},
			{[]Rate{{Limit: 0.5}}, `"default";q=1;w=2`, `"default";r=0;t=2`, `"default";r=0;t=2`},
			{[]Rate{{Limit: 1, Per: 100 * time.Millisecond}}, `"default";q=10;w=1`, `"default";r=0;t=1`, `"default";r=0;t=1`},
		} {
			q := newQuota(c.rates, directory(t, Options{}).overQuota)
			if policy, state := q.Look(); policy != c.policy || state == c.first && c.first != c.later {
				t.Errorf("%+v: %s, %s", c.rates, policy, state)
			}
			policy, state, wait := q.Take()
			if policy != c.policy || state != c.first || wait != 0 {
				t.Errorf("%+v: %s, %s, %v; want %s, %s", c.rates, policy, state, wait, c.policy, c.first)
			}
			taken(q)
			if _, state, wait = q.Take(); state != c.later || wait <= 0 {
				t.Errorf("%+v: used up %s, %v; want %s", c.rates, state, wait, c.later)
			}
		}
	})
}

func TestAQuotaOutlivesAReloadThatLeavesItsRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := Rate{Limit: 3, Per: time.Hour}
		d := directory(t, limited(rate))
		taken(quotaOf(t, d, "shop"))
		taken(quotaOf(t, d, "stranger"))
		same := limited(rate)
		same.Accounts["new"] = Account{}
		commit, err := d.Prepare(same)
		if err != nil {
			t.Fatal(err)
		}
		commit()
		if n := taken(quotaOf(t, d, "shop")) + taken(quotaOf(t, d, "stranger")); n != 0 {
			t.Errorf("%d more after a reload of the same rates", n)
		}
		if commit, err = d.Prepare(limited(Rate{Limit: 4, Per: time.Hour})); err != nil {
			t.Fatal(err)
		}
		commit()
		if n := taken(quotaOf(t, d, "shop")); n != 4 {
			t.Errorf("%d under the new rate, want 4", n)
		}
		if commit, err = d.Prepare(limited()); err != nil {
			t.Fatal(err)
		}
		commit()
		if quotaOf(t, d, "shop") != nil || quotaOf(t, d, "stranger") != nil {
			t.Error("there is a quota without rates")
		}
	})
}

func TestStrangersAreCountedEachForItselfAndBounded(t *testing.T) {
	d := directory(t, limited(Rate{Limit: 2, Per: time.Hour}))
	if n := taken(quotaOf(t, d, "x")); n != 2 {
		t.Errorf("x has %d, want 2", n)
	}
	if n := taken(quotaOf(t, d, "y")); n != 2 {
		t.Errorf("y has %d, want 2: one tenant has taken another's", n)
	}
	if nobody := quotaOf(t, d, ""); nobody != quotaOf(t, d, "") {
		t.Error("those without a name don't share a quota")
	}
	for i := range 2 * maxStrangers {
		quotaOf(t, d, fmt.Sprint("hostile", i))
		quotaOf(t, d, "x") // who asks often is not forgotten
	}
	table := d.state.Load().strangers
	if len(table.names) != maxStrangers || table.order.Len() != maxStrangers {
		t.Errorf("%d quotas are held, want at most %d", len(table.names), maxStrangers)
	}
	if n := taken(quotaOf(t, d, "x")); n != 0 {
		t.Errorf("x has %d more after many others came", n)
	}
}

func TestTheLimitHoldsWhoeverAsksAtOnce(t *testing.T) {
	q := quotaOf(t, directory(t, limited(Rate{Limit: 100, Per: time.Hour}, Rate{Limit: 150, Per: 2 * time.Hour})), "shop")
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, _, wait := q.Take(); wait == 0 {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n.Load() != 100 {
		t.Errorf("%d requests came through, want 100", n.Load())
	}
}

package cache

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestTagsOfAnAnswer(t *testing.T) {
	for _, tc := range []struct {
		header []string
		tag    string
		want   bool
	}{
		{[]string{"Surrogate-Key", "a  film-42\tb"}, "film-42", true},
		{[]string{"Surrogate-Key", "a", "Surrogate-Key", "b"}, "b", true},
		{[]string{"Surrogate-Key", "film-421"}, "film-42", false},
		{[]string{"Surrogate-Key", "a,b"}, "a", false},
		{[]string{"Cache-Tag", "a, film 42 ,b"}, "film 42", true},
		{[]string{"Cache-Tag", "a b"}, "a", false},
		{[]string{"Cache-Tag", "A"}, "a", false},
		{nil, "a", false},
	} {
		if got := tagged(reply(200, "", tc.header...).Header, tc.tag); got != tc.want {
			t.Errorf("%q has %q: %v", tc.header, tc.tag, got)
		}
	}
}

func TestPurgeByTag(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		return reply(200, "x", "Cache-Control", "max-age=60", "Surrogate-Key", "all tag-"+r.Key), nil
	}}
	c := newCache(t, testOptions(), o)
	for _, key := range []string{"a", "b", "c"} {
		do(t, c, get(httpRoute(), key))
	}
	if n := c.Purge(PurgeRequest{Tag: "tag-b"}); n != 1 {
		t.Errorf("%d purged by one's own tag", n)
	}
	if n := c.Purge(PurgeRequest{Tag: "all", Prefix: "c"}); n != 1 {
		t.Errorf("%d purged by tag and prefix", n)
	}
	if a := do(t, c, get(httpRoute(), "a")); !a.Cache.Hit {
		t.Error("purged what has not got the tag")
	}
	if n := c.Purge(PurgeRequest{Tag: "none"}); n != 0 {
		t.Errorf("%d purged by an unknown tag", n)
	}
}

// The tags of an answer that has not come yet are unknown, so a purge counts for it.
func TestPurgeByTagKeepsWhatIsInFlightFromBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "old", "Cache-Control", "max-age=60", "Cache-Tag", "film"), nil
		}}
		c := newCache(t, testOptions(), o)
		var wg sync.WaitGroup
		wg.Go(func() { do(t, c, get(httpRoute(), "k")) })
		synctest.Wait()
		c.Purge(PurgeRequest{Tag: "film"})
		wg.Wait()
		if s := c.Stats(); s.Entries != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSoftPurgeKeepsWhatMayBeServedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version, down := "old", false
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			if down {
				return reply(503, "down"), nil
			}
			return reply(200, version, "Cache-Control", "max-age=60, stale-if-error=60, stale-while-revalidate=5"), nil
		}}
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k"))
		time.Sleep(time.Second)
		if n := c.Purge(PurgeRequest{Prefix: "k", Soft: true}); n != 1 {
			t.Errorf("%d purged", n)
		}
		version = "new"
		if a := do(t, c, get(httpRoute(), "k")); a.body != "old" || a.Cache.Detail != "served-stale-while-revalidating" {
			t.Errorf("%q %+v", a.body, a.Cache)
		}
		synctest.Wait()
		if a := do(t, c, get(httpRoute(), "k")); a.body != "new" || !a.Cache.Hit || a.Cache.TTL <= 0 {
			t.Errorf("%q %+v", a.body, a.Cache)
		}
		c.Purge(PurgeRequest{All: true, Soft: true})
		time.Sleep(10 * time.Second)
		down = true
		if a := do(t, c, get(httpRoute(), "k")); a.body != "new" || a.Cache.Detail != "stale-if-error" {
			t.Errorf("%q %+v", a.body, a.Cache)
		}
		if n := c.Purge(PurgeRequest{Soft: true}); n != 0 {
			t.Errorf("soft alone purged %d", n)
		}
	})
}

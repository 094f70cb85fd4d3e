package cache

import (
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

var _ request.Recaller = (*Cache)(nil)

// TestRecallGivesFreshHitsOnly asks for what Do answers without the upstream, and for what it does not.
func TestRecallGivesFreshHitsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=60, stale-while-revalidate=60", "Vary", "Accept-Language", "Etag", `"1"`)
		c := newCache(t, testOptions(), o)
		do(t, c, get(httpRoute(), "k", "Accept-Language", "en"))
		for name, header := range map[string][]string{
			"no-cache":        {"Cache-Control", "no-cache", "Accept-Language", "en"},
			"no-store":        {"Cache-Control", "no-store", "Accept-Language", "en"},
			"a part":          {"Range", "bytes=0-0", "Accept-Language", "en"},
			"another variant": {"Accept-Language", "de"},
			"credentials":     {"Authorization", "me", "Accept-Language", "en"},
		} {
			if resp := c.Recall(get(httpRoute(), "k", header...), time.Now()); resp != nil {
				t.Errorf("%s: recalled", name)
			}
		}
		if c.Recall(get(httpRoute(), "other"), time.Now()) != nil {
			t.Error("another key was recalled")
		}
		resp := c.Recall(get(httpRoute(), "k", "Accept-Language", "en"), time.Now())
		if resp == nil || !resp.Cache.Hit || readBody(t, resp) != "x" {
			t.Fatalf("got %+v", resp)
		}
		resp = c.Recall(get(httpRoute(), "k", "Accept-Language", "en", "If-None-Match", `"1"`), time.Now())
		if resp == nil || resp.Status != 304 {
			t.Fatalf("got %+v", resp)
		}
		if st := c.Stats(); st.Hits != 2 || st.Misses != 1 {
			t.Errorf("%d hits and %d misses counted", st.Hits, st.Misses)
		}
		time.Sleep(time.Minute)
		if c.Recall(get(httpRoute(), "k", "Accept-Language", "en"), time.Now()) != nil {
			t.Error("what is stale was recalled")
		}
		o.wantCalls(t, 1)
	})
}

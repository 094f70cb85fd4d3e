package cache

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestPurge(t *testing.T) {
	for name, tc := range map[string]struct {
		p    PurgeRequest
		want int
	}{
		"key":                 {PurgeRequest{Key: "a/1"}, 1},
		"absent key":          {PurgeRequest{Key: "a"}, 0},
		"prefix":              {PurgeRequest{Prefix: "a/"}, 2},
		"route":               {PurgeRequest{Route: "movie"}, 1},
		"upstream":            {PurgeRequest{Upstream: "up"}, 4},
		"prefix and route":    {PurgeRequest{Prefix: "a/", Route: "movie"}, 0},
		"all":                 {PurgeRequest{All: true}, 4},
		"nothing":             {PurgeRequest{}, 0},
		"another's upstream":  {PurgeRequest{Upstream: "other"}, 0},
		"all of one upstream": {PurgeRequest{All: true, Upstream: "other"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, testOptions(), always(200, "x", "Cache-Control", "max-age=60"))
			for _, key := range []string{"a/1", "a/2", "b"} {
				do(t, c, get(httpRoute(), key))
			}
			do(t, c, get(ttlRoute(time.Minute), "m"))
			settle(c)
			if n := c.Purge(tc.p); n != tc.want {
				t.Errorf("removed %d, want %d", n, tc.want)
			}
			if s := c.Stats(); s.Entries != int64(4-tc.want) || s.Purged != uint64(tc.want) {
				t.Errorf("%d left, %d counted", s.Entries, s.Purged)
			}
		})
	}
}

func TestAnswerOfACallBegunBeforeAPurgeIsNeitherStoredNorJoined(t *testing.T) {
	for name, p := range map[string]PurgeRequest{
		"key": {Key: "k"}, "prefix": {Prefix: "k"}, "route": {Route: request.ProxyRoute}, "all": {All: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				version := "old"
				o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
					v := version
					time.Sleep(time.Second)
					return reply(200, v, "Cache-Control", "max-age=60"), nil
				}}
				c := newCache(t, testOptions(), o)
				early := make(chan string)
				go func() {
					resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
					if err != nil {
						t.Error(err)
					}
					early <- readBody(t, resp)
				}()
				synctest.Wait()
				version = "new"
				c.Purge(p)
				time.Sleep(100 * time.Millisecond)
				if got := do(t, c, get(httpRoute(), "k")).body; got != "new" {
					t.Errorf("a request after the purge got %q", got)
				}
				if got := <-early; got != "old" {
					t.Errorf("the waiter from before the purge got %q", got)
				}
				synctest.Wait()
				if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit || a.body != "new" {
					t.Errorf("stored: %q %+v", a.body, a.Cache)
				}
				o.wantCalls(t, 2)
			})
		})
	}
}

func TestWriteDuringACallKeepsItsAnswerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
			if r.Method == "POST" {
				return reply(201, ""), nil
			}
			time.Sleep(time.Second)
			return reply(200, "old", "Cache-Control", "max-age=60"), nil
		}}
		c := newCache(t, testOptions(), o)
		go crowd(t, c, 3, func(int) *request.Request { return get(httpRoute(), "k") })
		synctest.Wait()
		post := get(httpRoute(), "k")
		post.Method = "POST"
		do(t, c, post)
		time.Sleep(2 * time.Second)
		if c.Stats().Entries != 0 {
			t.Error("the answer from before the write was stored")
		}
	})
}

func TestWriteWithoutAKeyInvalidatesItsTargetAndLocations(t *testing.T) {
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		if r.Method == "POST" {
			return reply(201, "", "Location", "/b?x=1#f", "Content-Location", "https://elsewhere/c"), nil
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}}
	c := newCache(t, testOptions(), o)
	for _, key := range []string{"up /a", "up /b?x=1", "up /b", "up /c"} {
		do(t, c, get(httpRoute(), key))
	}
	settle(c)
	post := get(httpRoute(), "")
	post.Method, post.Path = "POST", "/a"
	do(t, c, post)
	for key, want := range map[string]bool{"up /a": false, "up /b?x=1": false, "up /b": true, "up /c": true} {
		if a := do(t, c, get(httpRoute(), key)); a.Cache.Hit != want {
			t.Errorf("%s: hit %v, want %v", key, a.Cache.Hit, want)
		}
	}
}

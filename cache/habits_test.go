package cache

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// at makes a proxied GET of that path.
func at(path string, header ...string) *request.Request {
	r := get(httpRoute(), "up "+path, header...)
	r.Path = path
	return r
}

// TestACrowdOnAColdKeyIsHandledByWhatItsLikesWere: one answer of a kind is enough to know.
func TestACrowdOnAColdKeyIsHandledByWhatItsLikesWere(t *testing.T) {
	const clients = 200
	for name, tc := range map[string]struct {
		first, then string
		header      []string
		answer      []string
		calls       int64
	}{
		"no-store, another id":        {first: "/films/tt1", then: "/films/tt2", answer: []string{"Cache-Control", "no-store"}, calls: clients},
		"no-store, in the folder":     {first: "/films/alien", then: "/films/brazil", answer: []string{"Cache-Control", "no-store"}, calls: clients},
		"private, another query":      {first: "/films", then: "/films", answer: []string{"Cache-Control", "private"}, calls: clients},
		"cacheable":                   {first: "/films/tt1", then: "/films/tt2", answer: []string{"Cache-Control", "max-age=60"}, calls: 1},
		"public, with authorization":  {first: "/films/tt1", then: "/films/tt2", header: []string{"Authorization", "me"}, answer: []string{"Cache-Control", "public, max-age=60"}, calls: 1},
		"private, with authorization": {first: "/films/tt1", then: "/films/tt2", header: []string{"Authorization", "me"}, answer: []string{"Cache-Control", "max-age=60"}, calls: clients},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := slow(func(*request.Request) *request.Response { return reply(200, "x", tc.answer...) })
				c := newCache(t, testOptions(), o)
				do(t, c, at(tc.first, tc.header...))
				start := time.Now()
				crowd(t, c, clients, func(int) *request.Request {
					r := at(tc.then, tc.header...)
					r.RawQuery, r.Key = "q", r.Key+"?q"
					return r
				})
				if took := time.Since(start); took != 500*time.Millisecond {
					t.Errorf("took %v, want one call's time", took)
				}
				o.wantCalls(t, 1+tc.calls)
			})
		})
	}
}

// TestAnUpstreamThatSharesNothingIsKnownForIt: after a few kinds of answers that were each for one client, a
// crowd on a kind that is new does not wait either; where some could be shared, it does.
func TestAnUpstreamThatSharesNothingIsKnownForIt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		shared int // of the kinds before
		took   time.Duration
	}{
		{"nothing was ever shared", 0, 500 * time.Millisecond},
		{"one in six kinds was", 1, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := slow(func(r *request.Request) *request.Response {
					if strings.HasPrefix(r.Path, "/shared") {
						return reply(200, "x", "Cache-Control", "max-age=60")
					}
					return reply(200, "x", "Cache-Control", "no-store")
				})
				c := newCache(t, testOptions(), o)
				for i := range 6 {
					kind := "/own"
					if i < tc.shared {
						kind = "/shared"
					}
					for range 3 { // a kind counts once, however often it is asked for
						do(t, c, at(kind+string(rune('a'+i))+"/1"))
					}
				}
				start := time.Now()
				crowd(t, c, 200, func(int) *request.Request { return at("/new/1") })
				if took := time.Since(start); took != tc.took {
					t.Errorf("the crowd took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestVariantsOfAColdKeyShareOneCallEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := slow(func(r *request.Request) *request.Response {
			return reply(200, r.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "Accept-Language")
		})
		c := newCache(t, testOptions(), o)
		do(t, c, at("/films/tt1", "Accept-Language", "en"))
		start := time.Now()
		bodies := crowd(t, c, 200, func(i int) *request.Request { return at("/films/tt2", "Accept-Language", itoa(i%4)) })
		if took := time.Since(start); took != 500*time.Millisecond || len(bodies) != 4 {
			t.Errorf("took %v for %d variants", took, len(bodies))
		}
		o.wantCalls(t, 1+4)
	})
}

func TestAKindThatChangesItsMindIsBelieved(t *testing.T) {
	h, err := newHabits()
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	r := at("/films/tt1")
	for range 1000 {
		h.learn(r, false, nil)
	}
	if h.worthWaiting(r) {
		t.Fatal("a crowd waits where nothing was ever shared")
	}
	for range 3 * habitMemory {
		h.learn(r, true, []string{"Accept"})
	}
	if !h.worthWaiting(r) || !slices.Equal(h.varyOf(r), []string{"Accept"}) {
		t.Error("it is not noticed that answers can be shared by now")
	}
}

// TestAnAnswerOvertakesCallsThatHaveNotBegun: where the habit was wrong, those who still stand in the
// queue take the answer that came.
func TestAnAnswerOvertakesCallsThatHaveNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		permits := make(chan struct{}, 8)
		o := &origin{}
		o.do = func(ctx context.Context, r *request.Request) (*request.Response, error) {
			if strings.HasPrefix(r.Path, "/private") {
				return reply(200, "x", "Cache-Control", "private"), nil
			}
			time.Sleep(500 * time.Millisecond)
			return reply(200, "x", "Cache-Control", "max-age=60"), nil
		}
		c := newCache(t, testOptions(), request.DoerFunc(func(ctx context.Context, r *request.Request) (*request.Response, error) {
			select {
			case permits <- struct{}{}:
				defer func() { <-permits }()
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			return o.Do(ctx, r)
		}))
		do(t, c, at("/private/1"))
		c.habits.learn(at("/films/1"), false, nil)
		start := time.Now()
		bodies := crowd(t, c, 200, func(int) *request.Request { return at("/films/2") })
		if took := time.Since(start); took > time.Second || bodies["200 x"] != 200 {
			t.Errorf("took %v, %v", took, bodies)
		}
		if n := o.calls.Load(); n > 1+2*8 {
			t.Errorf("%d calls for 8 permits", n)
		}
	})
}

func TestPathShape(t *testing.T) {
	for path, want := range map[string]string{
		"/":                                    "/",
		"/films/tt0111161":                     "/films/*",
		"/films/alien/cast":                    "/films/alien/cast",
		"/v1/users/" + strings.Repeat("x", 40): "/*/users/*",
	} {
		if got := pathShape(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

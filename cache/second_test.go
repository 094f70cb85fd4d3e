package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// shelf is a second level in memory: slow, or failing, if told so.
type shelf struct {
	mu    sync.Mutex // guards what follows
	m     map[string][]byte
	ttls  []time.Duration
	delay time.Duration
	err   error
}

func (s *shelf) take() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay, s.err
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, error) {
	d, err := s.take()
	time.Sleep(d) // whatever the context says, as a bad connection does
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[key], err
}

func (s *shelf) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	d, err := s.take()
	time.Sleep(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.m[key], s.ttls = value, append(s.ttls, ttl)
	}
	return err
}

func (s *shelf) Delete(_ context.Context, key string) error {
	d, err := s.take()
	time.Sleep(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.m, key)
	}
	return err
}

func (s *shelf) Clear(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.m)
	return nil
}

func (s *shelf) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err = delay, err
}

// pair is two caches with one second level in front of one origin.
func pair(t *testing.T, o *origin) (a, b *Cache, s *shelf) {
	s = &shelf{m: make(map[string][]byte)}
	options := testOptions()
	options.Second, options.CompressMinBytes = s, 100
	return newCache(t, options, o), newCache(t, options, o), s
}

// settled waits until all is written.
func settled() {
	synctest.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestAnotherCachesAnswerIsFoundInTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("hello ", 100)
		o := always(200, long, "Cache-Control", "max-age=60", "X-A", "1")
		a, b, s := pair(t, o)
		do(t, a, get(httpRoute(), "k"))
		settled()
		time.Sleep(9 * time.Second)
		got := do(t, b, get(httpRoute(), "k"))
		if !got.Cache.Hit || got.Cache.Detail != "second-level" || got.body != long || got.Header.Get("X-A") != "1" {
			t.Errorf("from the second level: %+v %q", got.Cache, got.body)
		}
		if got.Cache.Age != 10*time.Second {
			t.Errorf("its age counts from its birth, and is %v", got.Cache.Age)
		}
		if again := do(t, b, get(httpRoute(), "k")); !again.Cache.Hit || again.Cache.Detail != "" {
			t.Errorf("then it is stored here: %+v", again.Cache)
		}
		o.wantCalls(t, 1)
		if len(s.ttls) != 1 || s.ttls[0] > time.Minute || s.ttls[0] < 58*time.Second {
			t.Errorf("it was put once, for its freshness: %v", s.ttls)
		}
		time.Sleep(time.Minute)
		if stale := do(t, b, get(httpRoute(), "k")); stale.Cache.Hit {
			t.Error("what is no longer fresh is not taken from there")
		}
	})
}

func TestNobodyGetsAnothersAnswerFromTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
			h := []string{"Cache-Control", "max-age=60"}
			switch r.Key {
			case "private":
				h = []string{"Cache-Control", "private, max-age=60"}
			case "vary":
				h = append(h, "Vary", "Accept-Language")
			case "cookie":
				h = append(h, "Set-Cookie", "a=b")
			}
			return reply(200, r.Header.Get("Authorization")+r.Header.Get("Accept-Language"), h...), nil
		}}
		a, b, _ := pair(t, o)
		for _, c := range []struct {
			route         *request.Route
			key           string
			first, second []string
		}{
			{httpRoute(), "auth", []string{"Authorization", "ann"}, []string{"Authorization", "bob"}},
			{httpRoute(), "private", nil, nil},
			{httpRoute(), "cookie", nil, nil},
			{httpRoute(), "vary", []string{"Accept-Language", "de"}, []string{"Accept-Language", "fr"}},
			{ttlRoute(time.Minute), "ttl", []string{"Authorization", "ann"}, []string{"Authorization", "bob"}},
			{ttlRoute(time.Minute), "ttl2", []string{"Authorization", "ann"}, nil},
		} {
			do(t, a, get(c.route, c.key, c.first...))
			settled()
			before := o.calls.Load()
			got := do(t, b, get(c.route, c.key, c.second...))
			if got.Cache.Hit || o.calls.Load() == before || got.body == "ann" || got.body == "de" {
				t.Errorf("%s: %q, %+v", c.key, got.body, got.Cache)
			}
			settled()
		}
		// The same credentials on another node do.
		if got := do(t, b, get(ttlRoute(time.Minute), "ttl", "Authorization", "ann")); !got.Cache.Hit || got.body != "ann" {
			t.Errorf("%q, %+v", got.body, got.Cache)
		}
	})
}

func TestASlowOrFailingSecondLevelIsAMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=600")
		a, b, s := pair(t, o)
		for _, key := range []string{"1", "2", "3", "4"} {
			do(t, a, get(httpRoute(), key))
		}
		settled()
		s.set(10*time.Second, nil)
		for i, most := range []time.Duration{DefaultSecondWait, 0} { // once, and then it is given a rest
			start := time.Now()
			if got := do(t, b, get(httpRoute(), itoa(i+1))); got.Cache.Hit || time.Since(start) > most {
				t.Errorf("after %v: %+v", time.Since(start), got.Cache)
			}
		}
		s.set(0, errors.New("away"))
		time.Sleep(time.Minute)
		if got := do(t, b, get(httpRoute(), "3")); got.Cache.Hit {
			t.Error("a failing one gives nothing")
		}
		s.set(0, nil)
		time.Sleep(time.Minute)
		if got := do(t, b, get(httpRoute(), "4")); !got.Cache.Hit {
			t.Error("it is asked again later")
		}
	})
}

func TestWhatIsPurgedDoesNotComeBackFromTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control", "max-age=600")
		a, b, s := pair(t, o)
		for i, p := range []PurgeRequest{{Key: "k"}, {All: true}, {Upstream: "up"}, {Prefix: "k", Soft: true}} {
			do(t, a, get(httpRoute(), "k"))
			settled()
			if i%2 == 0 {
				s.set(time.Second, nil) // the deletion takes a while
			}
			a.Purge(p)
			before := o.calls.Load()
			if do(t, a, get(httpRoute(), "k")); o.calls.Load() == before {
				t.Errorf("%+v: it came back at once", p)
			}
			s.set(0, nil)
			a.Purge(p)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			before = o.calls.Load()
			if do(t, b, get(httpRoute(), "k")); o.calls.Load() == before {
				t.Errorf("%+v: another cache found it", p)
			}
			b.Purge(PurgeRequest{All: true})
			a.Purge(PurgeRequest{All: true})
			settled()
		}
	})
}

func TestLargeAnswersStayOutOfTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, strings.Repeat("x", 70<<10), "Cache-Control", "max-age=600", "Content-Encoding", "br")
		a, _, s := pair(t, o)
		do(t, a, get(httpRoute(), "k"))
		settled()
		if len(s.m) != 0 {
			t.Error("it was put")
		}
	})
}

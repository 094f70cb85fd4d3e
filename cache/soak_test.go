package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// sick is an upstream whose keys fall ill at random and get well again. Each key has its own illness.
type sick struct {
	origin
	illness []string
	// control is the Cache-Control of good answers; every third key's are private.
	control string

	broken struct {
		sync.Mutex
		until []time.Time
		met   map[string]int // how often each illness was met
	}
}

func newSick(keys int, control string) *sick {
	s := &sick{control: control, illness: []string{"503", "down", "hangs", "garbage", "breaks off", "too short", "stalls midway", "slow"}}
	s.broken.until, s.broken.met = make([]time.Time, keys), make(map[string]int)
	s.do = s.answer
	return s
}

func (s *sick) fallIll(key int, d time.Duration) {
	s.broken.Lock()
	s.broken.until[key] = time.Now().Add(d)
	s.broken.Unlock()
}

func keyNumber(key string) (i int) {
	_, _ = fmt.Sscanf(key, "key%d", &i)
	return i
}

func ownAnswers(key string) bool { return keyNumber(key)%3 == 2 }

// torn is a body that ends with err before it is whole; block, if not nil, comes first.
type torn struct {
	io.Reader
	err   error
	block func() error
}

func (b *torn) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		if b.block != nil {
			return n, b.block()
		}
		err = b.err
	}
	return n, err
}

func (*torn) Close() error { return nil }

func (s *sick) answer(ctx context.Context, r *request.Request) (*request.Response, error) {
	i := keyNumber(r.Key)
	control := s.control
	if ownAnswers(r.Key) {
		control = "private, " + control
	}
	text := fmt.Sprintf("%s|%s|%d|", r.Key, r.Header.Get("Cookie"), time.Now().UnixNano())
	text += strings.Repeat("x", 5000) + "|end"
	good := reply(200, text, "Cache-Control", control)
	half := func(err error, block func() error) (*request.Response, error) {
		good.Body = &torn{strings.NewReader(text[:len(text)/2]), err, block}
		return good, nil
	}
	hang := func() error {
		select {
		case <-time.After(15 * time.Second):
			return request.Errorf(request.ProblemUpstreamTimeout, "slow")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.broken.Lock()
	ill := time.Now().Before(s.broken.until[i])
	if ill {
		s.broken.met[s.illness[i%len(s.illness)]]++
	}
	s.broken.Unlock()
	if !ill {
		return good, nil
	}
	switch s.illness[i%len(s.illness)] {
	case "503":
		return reply(503, "no"), nil
	case "down":
		return nil, request.Errorf(request.ProblemUpstreamDown, "down")
	case "hangs":
		return nil, hang()
	case "garbage":
		return reply(500, "garbage", "Cache-Control", "max-age=600"), nil
	case "breaks off":
		good.ContentLength = -1
		return half(errors.New("connection reset by peer"), nil)
	case "too short":
		return half(io.EOF, nil)
	case "stalls midway":
		return half(nil, hang)
	default:
		time.Sleep(1500 * time.Millisecond)
		return good, nil
	}
}

// TestSoak lets an upstream fail at random for ten minutes of virtual time, in each way that it knows, under
// eight clients of three users at once, alone and in crowds, some of whom lose patience. No client sees an error
// or a broken body while there is a copy that may stand in, none gets a copy that is too old, and none another's
// answer.
func TestSoak(t *testing.T) {
	const (
		fresh   = 5 * time.Second
		window  = 40 * time.Second
		keys    = 24
		clients = 8
	)
	synctest.Test(t, func(t *testing.T) {
		up := newSick(keys, fmt.Sprintf("max-age=%d, stale-if-error=%d, stale-while-revalidate=2", int(fresh.Seconds()), int(window.Seconds())))
		options := testOptions()
		options.RefreshAhead, options.ErrorBackoff, options.ErrorBackoffMax = 0.1, time.Second, 10*time.Second
		c := newCache(t, options, up)
		s := soak{t: t, c: c, fresh: fresh, window: window, good: make(map[string]time.Time)}
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, 2))
			for time.Since(start) < 10*time.Minute {
				up.fallIll(rng.IntN(keys), time.Duration(rng.IntN(60))*time.Second)
				time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
			}
		})
		for client := range uint64(clients) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(client, 3))
				for time.Since(start) < 10*time.Minute && !t.Failed() {
					// All clients look at one key in the same second, and at any other time at any.
					key := fmt.Sprintf("key%d", int(time.Since(start)/time.Second)%keys)
					if rng.IntN(2) == 0 {
						key = fmt.Sprintf("key%d", rng.IntN(keys))
					}
					s.ask(key, fmt.Sprintf("u%d", client%3), time.Duration(1+rng.IntN(4))*time.Second)
					time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stale < 100 || s.failures < 100 || s.served < 3000 || len(up.broken.met) < len(up.illness) {
			t.Errorf("too little was tried: %d served, %d stale, %d failures, %v", s.served, s.stale, s.failures, up.broken.met)
		}
		t.Logf("%d served, %d of them stale, %d failures without a copy, %d calls, met %v", s.served, s.stale, s.failures, up.calls.Load(), up.broken.met)
	})
}

// soak is what the clients know in common.
type soak struct {
	t             *testing.T
	c             *Cache
	fresh, window time.Duration

	mu                      sync.Mutex           // guards all below
	good                    map[string]time.Time // when the newest answer was made that somebody has read whole
	served, failures, stale int
}

// ask makes one request of a client who waits so long, and judges what he gets.
func (s *soak) ask(key, user string, patience time.Duration) {
	t := s.t
	r := get(httpRoute(), key)
	own := ownAnswers(key)
	if own {
		r.Header.Set("Cookie", user)
	}
	s.mu.Lock()
	before := s.good[key]
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var body []byte
	resp, err := s.c.Do(ctx, r)
	answered := time.Now()
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	if err != nil || resp.Status != 200 {
		s.failures++
		if !own && time.Since(before) < s.fresh+s.window {
			t.Errorf("%s: error %v although a copy of %v ago is there", key, err, time.Since(before))
		}
		return
	}
	parts := strings.Split(string(body), "|")
	if len(parts) != 5 || parts[4] != "end" {
		t.Errorf("%s: an answer that is not whole: %.60q", key, body)
		return
	}
	var nanos int64
	_, _ = fmt.Sscan(parts[2], &nanos)
	made := time.Unix(0, nanos)
	age := answered.Sub(made)
	switch {
	case parts[0] != key || own && parts[1] != user:
		t.Errorf("%s asked for %s and got %q", user, key, parts[:2])
	case age >= s.fresh+s.window:
		t.Errorf("%s: a copy of %v, allowed are %v", key, age, s.fresh+s.window)
	case own && resp.Cache.Hit:
		t.Errorf("%s: a private answer is a hit", key)
	}
	if age > s.fresh {
		s.stale++
	}
	if made.After(s.good[key]) {
		s.good[key] = made
	}
}

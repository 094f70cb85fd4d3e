package preload

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// watchedBed is a preloader whose clients ask through it, of an upstream whose answers say what becomes of them.
type watchedBed struct {
	*Preloader
	front   request.Doer
	mu      sync.Mutex // guards what follows
	fetched []string   // by the preloader
	cached  map[string]time.Time
}

// verdicts of the fake cache.
var (
	keeping    = request.CacheStatus{Fwd: "miss", Stored: true, Lifetime: time.Minute}
	notKeeping = request.CacheStatus{Fwd: "miss"}
	// validating is what a cache says of an answer with max-age=0 or no-cache and an entity tag.
	validating = request.CacheStatus{Fwd: "miss", Stored: true}
)

func newWatchedBed(verdict func(key string) request.CacheStatus) *watchedBed {
	b := &watchedBed{cached: make(map[string]time.Time)}
	up := request.DoerFunc(func(_ context.Context, r *request.Request) (*request.Response, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.Background {
			b.fetched = append(b.fetched, r.Key)
		}
		c := verdict(r.Key)
		if c.Lifetime > 0 {
			b.cached[r.Key] = time.Now().Add(c.Lifetime)
		}
		return &request.Response{Status: http.StatusOK, Body: request.NewBody([]byte("x")), Cache: c, Timing: request.Timing{Upstream: time.Millisecond}}, nil
	})
	b.Preloader = New(Options{}, up, nil)
	b.front = b.Watch(up)
	return b
}

func (b *watchedBed) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.fetched)
}

func (b *watchedBed) ask(t *testing.T, client string, r *request.Request) {
	t.Helper()
	r.Client = client
	b.mu.Lock()
	until := b.cached[r.Key]
	b.mu.Unlock()
	hit := time.Now().Before(until)
	b.Observe(Access{Request: r, Hit: hit, ExpiresAt: until})
	if !hit {
		answer, err := b.front.Do(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	synctest.Wait()
}

func TestWhatTheCacheDoesNotKeepIsNeverFetchedAhead(t *testing.T) {
	for name, verdict := range map[string]request.CacheStatus{"not stored": notKeeping, "to be validated each time": validating} {
		synctest.Test(t, func(t *testing.T) {
			b := newWatchedBed(func(key string) request.CacheStatus {
				if key == "mine" {
					return verdict
				}
				return keeping
			})
			for i := range 40 {
				for _, key := range []string{"list", "mine", "detail"} {
					b.ask(t, fmt.Sprint("c", i), get(key))
				}
				time.Sleep(time.Duration(70+i*i%31) * time.Second)
			}
			b.Close()
			details := 0
			for _, key := range b.fetched {
				switch key {
				case "mine":
					t.Fatalf("%s: fetched ahead among %v", name, b.fetched)
				case "detail":
					details++
				}
			}
			if details == 0 {
				t.Errorf("%s: its neighbour was never fetched, only %v", name, b.fetched)
			}
		})
	}
}

func TestAKindThatIsNotKeptIsLeftAloneAndItsNeighboursAreNot(t *testing.T) {
	k, h := newKinds(), newHasher()
	now := time.Now()
	proxied := func(path string) uint64 {
		return h.kindOf(&request.Request{Route: route, Path: path, Key: "m " + path})
	}
	for i := range 3 {
		k.note(proxied(fmt.Sprintf("/users/%d/basket", i)), false, now)
		k.note(proxied(fmt.Sprintf("/items/%d", i)), true, now)
	}
	for path, want := range map[string]bool{"/users/99/basket": false, "/items/99": true, "/never/seen": true} {
		if got := k.worthwhile(proxied(path), now); got != want {
			t.Errorf("%s is worth a prefetch: %v, want %v", path, got, want)
		}
	}
	if !k.worthwhile(proxied("/users/99/basket"), now.Add(pauseUnkept)) {
		t.Error("the kind is never tried again")
	}
}

func TestFieldsThatDifferFromClientToClientAreNobodyElses(t *testing.T) {
	for name, c := range map[string]struct {
		field func(i int) string
		want  bool
	}{
		"one version for all":  {func(int) string { return "1.2" }, true},
		"a token each":         {func(i int) string { return fmt.Sprint("token", i) }, false},
		"one newcomer at last": {func(i int) string { return fmt.Sprint(i / 39) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newWatchedBed(func(string) request.CacheStatus { return keeping })
			last := 0
			for i := range 40 {
				last = b.count()
				for _, key := range []string{"list", "detail"} {
					r := get(key)
					r.Header.Set("X-Shop", c.field(i))
					b.ask(t, fmt.Sprint("c", i), r)
				}
				time.Sleep(time.Duration(70+i*i%31) * time.Second)
			}
			b.Close()
			if got := len(b.fetched) > last; got != c.want {
				t.Errorf("%s: the last visitor's detail was fetched ahead: %v, want %v", name, got, c.want)
			}
		})
	}
}

func TestAPrefetchCarriesNothingOfTheClientThatShowedTheWay(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		for i := range 10 {
			b.ask(fmt.Sprint("c", i), "list")
			r := get("detail")
			for _, name := range []string{"X-Session", "X-Forwarded-For", "Referer", "Traceparent", "X-Request-Id", "X-B3-Traceid"} {
				r.Header.Set(name, fmt.Sprint("of client ", i))
			}
			b.see(fmt.Sprint("c", i), r)
			b.forget()
		}
		b.up.asked = nil
		b.ask("x", "list")
		if len(b.up.asked) != 1 || len(b.up.asked[0].Header) != 2 || b.up.asked[0].Header.Get("Accept") == "" {
			t.Errorf("asked %+v", b.up.asked)
		}
	})
}

package preload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
	"penstock/request"
)

// upstream is a fake of the stages behind: it stores what it is asked for, for ttl.
type upstream struct {
	mu     sync.Mutex
	asked  []*request.Request
	answer func(*request.Request) (*request.Response, error) // nil: stored answers
	cached map[string]time.Time
	ttl    time.Duration
}

func newUpstream() *upstream {
	return &upstream{cached: make(map[string]time.Time), ttl: time.Minute}
}

func (u *upstream) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, r)
	if u.answer != nil {
		return u.answer(r)
	}
	name := r.Tenant + "|" + r.Key
	c := request.CacheStatus{Fwd: "miss", Stored: true, HasTTL: true, TTL: u.ttl}
	if until := u.cached[name]; time.Now().Before(until) {
		c = request.CacheStatus{Hit: true, HasTTL: true, TTL: time.Until(until)}
	} else {
		u.cached[name] = time.Now().Add(u.ttl)
	}
	return &request.Response{Status: 200, Body: request.NewBody([]byte("0123456789")), ContentLength: 10, Cache: c}, nil
}

func (u *upstream) keys() (keys []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.asked {
		keys = append(keys, r.Key)
	}
	return keys
}

// bed is a preloader in a bubble over a fake, with clients whose own requests go to the same fake.
type bed struct {
	*Preloader
	t  *testing.T
	up *upstream
}

var route = &request.Route{Name: "movie", Upstream: "m", Method: http.MethodGet}

func newBed(t *testing.T, o Options) *bed {
	up := newUpstream()
	return &bed{Preloader: New(o, up), t: t, up: up}
}

func get(key string) *request.Request {
	return &request.Request{ID: "client", Route: route, Method: http.MethodGet, Path: "/" + key, Key: key, Header: http.Header{"Accept": {"text/html"}}}
}

// ask has a client ask for keys one after the other, and the preloader see it.
func (b *bed) ask(client string, keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.see(client, get(key))
	}
}

func (b *bed) see(client string, r *request.Request) {
	b.t.Helper()
	b.up.mu.Lock()
	name := r.Tenant + "|" + r.Key
	hit := time.Now().Before(b.up.cached[name])
	if !hit {
		b.up.cached[name] = time.Now().Add(b.up.ttl)
	}
	b.up.mu.Unlock()
	b.Observe(Access{Request: r, Client: client, Cache: request.CacheStatus{Hit: hit}})
	synctest.Wait()
}

// forget empties the cache, and lets the time pass in which the preloader knows a key to be there.
func (b *bed) forget() {
	b.up.mu.Lock()
	clear(b.up.cached)
	b.up.mu.Unlock()
	time.Sleep(2 * b.up.ttl)
}

func inBubble(t *testing.T, o Options, f func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, o)
		defer b.Close()
		f(b)
	})
}

func TestASequenceSeenTwiceIsFetchedAheadTheThirdTime(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.ask("ann", "list", "detail", "related")
		b.ask("bob", "list", "detail", "related")
		b.forget()
		b.up.asked = nil
		b.ask("cid", "list")
		if got := fmt.Sprint(b.up.keys()); got != "[detail]" {
			t.Fatalf("after list %s was fetched, want [detail]", got)
		}
		r := b.up.asked[0]
		if r.Header.Get("Sec-Purpose") != "prefetch" || r.Urgency() != request.LeastUrgent || !r.InBackground() ||
			r.ID == "" || r.ID == "client" || r.Path != "/detail" || r.Arrived.IsZero() || r.Header.Get("Accept") != "text/html" {
			t.Errorf("the prefetch is %+v with %v", r, r.Header)
		}
		b.ask("cid", "detail")
		if s := b.Stats(); s.Used != 1 || s.Issued != 2 || s.Precision != 1 || s.Outstanding != 1 {
			t.Errorf("the books say %+v", s)
		}
	})
}

func TestOneCoincidenceIsNotBelieved(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.ask("ann", "list", "detail")
		b.forget()
		b.ask("bob", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Errorf("%v was fetched", keys)
		}
	})
}

func TestTheThresholdIsKeptAndMayChangeLive(t *testing.T) {
	registry := knob.NewRegistry()
	threshold, err := registry.Float(knob.Spec{Name: "preload.threshold", Default: .9, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, Options{Threshold: threshold}, func(b *bed) {
		for i := range 4 {
			b.ask(fmt.Sprint("c", i), "list", []string{"a", "b"}[i%2])
		}
		b.forget()
		b.ask("x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Fatalf("%v was fetched at a threshold of 0.9", keys)
		}
		if err := threshold.SetBase(.4, knob.SourceFile); err != nil {
			t.Fatal(err)
		}
		b.ask("y", "list")
		if keys := b.up.keys(); len(keys) != 2 {
			t.Errorf("%v was fetched at a threshold of 0.4, want a and b", keys)
		}
	})
}

func TestWhatMustNotBeFetchedAheadIsNot(t *testing.T) {
	with := func(name, value string) func(*request.Request) {
		return func(r *request.Request) { r.Header.Set(name, value) }
	}
	for name, change := range map[string]func(*request.Request){
		"POST":           func(r *request.Request) { r.Method = http.MethodPost },
		"DELETE":         func(r *request.Request) { r.Method = http.MethodDelete },
		"HEAD":           func(r *request.Request) { r.Method = http.MethodHead },
		"body":           func(r *request.Request) { r.Data = []byte("x") },
		"stream":         func(r *request.Request) { r.Stream = http.NoBody },
		"no key":         func(r *request.Request) { r.Key = "" },
		"background":     func(r *request.Request) { r.Background = true },
		"Authorization":  with("Authorization", "Bearer x"),
		"Cookie":         with("Cookie", "a=b"),
		"X-Api-Key":      with("X-Api-Key", "x"),
		"Range":          with("Range", "bytes=0-1"),
		"no-store":       with("Cache-Control", "max-age=0, No-Store"),
		"no-cache":       with("Pragma", "no-cache"),
		"only-if-cached": with("Cache-Control", "only-if-cached"),
	} {
		inBubble(t, Options{}, func(b *bed) {
			for i := range 10 {
				b.ask(fmt.Sprint("c", i), "list")
				r := get("secret")
				change(r)
				b.see(fmt.Sprint("c", i), r)
				b.forget()
			}
			if keys := b.up.keys(); len(keys) != 0 {
				t.Errorf("%s: %v was fetched", name, keys)
			}
		})
	}
}

func TestOneTenantsSequenceTellsNothingAboutAnother(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		ask := func(tenant string, keys ...string) {
			for _, key := range keys {
				r := get(key)
				r.Tenant = tenant
				b.see("c", r)
			}
		}
		ask("t1", "list", "detail", "list", "detail", "list", "detail")
		b.forget()
		b.up.asked = nil
		ask("t2", "list", "x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Errorf("%v was fetched for the other tenant", keys)
		}
	})
}

func TestARouteWhoseAnswersCannotBeStoredIsLeftAlone(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.up.answer = func(*request.Request) (*request.Response, error) {
			return &request.Response{Status: 200, Body: request.NewBody([]byte("x")), Cache: request.CacheStatus{Fwd: "miss"}}, nil
		}
		for i := range 200 {
			key := fmt.Sprint(i % 20)
			b.Observe(Access{Request: get(key), Client: "c"})
			synctest.Wait()
		}
		if n := len(b.up.keys()); n != routeDoubts {
			t.Errorf("%d prefetches of what can't be stored, want %d", n, routeDoubts)
		}
	})
}

func TestSwitchedOffItDoesNothing(t *testing.T) {
	inBubble(t, Options{Enabled: knob.FixedBool(false)}, func(b *bed) {
		for range 5 {
			b.ask("c", "list", "detail")
		}
		if s := b.Stats(); s.Observed != 0 || s.Issued != 0 || s.Enabled {
			t.Errorf("the books say %+v", s)
		}
	})
}

func TestObserveNeverBlocks(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.mu.Lock() // the model is busy
		for i := range 3 * queueLength {
			b.Observe(Access{Request: get(fmt.Sprint(i))})
		}
		b.mu.Unlock()
		synctest.Wait()
		s := b.Stats()
		if s.Dropped < queueLength || s.Observed+s.Dropped != 3*queueLength {
			t.Errorf("of %d accesses %d were seen and %d dropped", 3*queueLength, s.Observed, s.Dropped)
		}
	})
}

func TestTheRequestIsNotTouchedAfterObserve(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		for i := range 3 {
			r := get("detail")
			b.ask(fmt.Sprint("c", i), "list")
			b.see(fmt.Sprint("c", i), r)
			r.Header.Set("Accept", "changed")
			r.Path = "/changed"
		}
		b.forget()
		b.up.asked = nil
		b.ask("x", "list")
		if len(b.up.asked) != 1 || b.up.asked[0].Path != "/detail" || b.up.asked[0].Header.Get("Accept") != "text/html" {
			t.Errorf("asked %+v", b.up.asked)
		}
	})
}

func TestCloseEndsAHangingPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{}, request.DoerFunc(func(ctx context.Context, _ *request.Request) (*request.Response, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		for i := range 3 {
			for _, key := range []string{"list", "detail"} {
				p.Observe(Access{Request: get(key), Client: fmt.Sprint("c", i)})
				synctest.Wait()
			}
		}
		if s := p.Stats(); s.Issued == 0 {
			t.Error("nothing hangs")
		}
		p.Close()
		p.Close()
	})
}

func TestAnyStreamLeavesTheTablesBounded(t *testing.T) {
	for name, key := range map[string]func(*rand.Rand, int) (client, key string){
		"random keys":  func(r *rand.Rand, _ int) (string, string) { return fmt.Sprint(r.IntN(50)), fmt.Sprint(r.Uint64()) },
		"one flooder":  func(_ *rand.Rand, i int) (string, string) { return "c", fmt.Sprint(i) },
		"many clients": func(r *rand.Rand, i int) (string, string) { return fmt.Sprint(i), fmt.Sprint(r.IntN(1000)) },
		"hot and noise": func(r *rand.Rand, i int) (string, string) {
			return fmt.Sprint(i % 7), fmt.Sprint(int(r.ExpFloat64() * 20))
		},
	} {
		inBubble(t, Options{MaxItems: 64}, func(b *bed) {
			rng := rand.New(rand.NewPCG(5, 6))
			for i := range 5000 {
				client, k := key(rng, i)
				b.Observe(Access{Request: get(k), Client: client})
				if i%500 == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
			s := b.Stats()
			if s.Keys > 64 || s.Sessions > 64 || s.Requests > 64 || s.Outstanding > 64 || b.books.quiet.len() > 64 {
				t.Errorf("%s: the tables grew to %+v", name, s)
			}
		})
	}
}

func TestAFloodDoesNotSweepOutWhatIsInUse(t *testing.T) {
	inBubble(t, Options{MaxItems: 64}, func(b *bed) {
		for i := range 10 {
			b.ask("ann", "list", "detail")
			for j := range 40 {
				b.ask("flood", fmt.Sprint("noise", i, "-", j))
			}
		}
		b.forget()
		b.up.asked = nil
		b.ask("ann", "list")
		if got := fmt.Sprint(b.up.keys()); got != "[detail]" {
			t.Errorf("%s was fetched, want [detail]", got)
		}
	})
}

func TestTheSizeOfTheTablesChangesLive(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		for i := range 1000 {
			b.Observe(Access{Request: get(fmt.Sprint(i)), Client: fmt.Sprint("c", i)})
		}
		synctest.Wait()
		b.SetMaxItems(20)
		for i := range 1000 {
			b.Observe(Access{Request: get(fmt.Sprint(i)), Client: fmt.Sprint("c", i%5)})
		}
		synctest.Wait()
		if s := b.Stats(); s.Keys > 20 || s.Sessions > 20 || s.Requests > 20 || s.Keys == 0 {
			t.Errorf("the tables hold %+v", s)
		}
		keys := b.Stats().Keys
		b.SetMaxItems(20)
		if s := b.Stats(); s.Keys != keys {
			t.Error("the same size again dropped what was learned")
		}
	})
}

func TestEverythingAtOnceIsSafe(t *testing.T) {
	p := New(Options{MaxItems: 50}, newUpstream())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				p.Observe(Access{Request: get(fmt.Sprint(j % 10)), Client: fmt.Sprint(i), Cache: request.CacheStatus{Hit: true}})
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			p.SetMaxItems(20 + i)
			_ = p.Stats()
		}
	})
	wg.Wait()
	p.Close()
	p.Observe(Access{Request: get("after"), Client: "c"})
	s := p.Stats()
	if fates := s.Used + s.Late + s.Wasted + s.Redundant + s.Failed + uint64(s.Outstanding); fates > s.Issued {
		t.Errorf("more fates than prefetches: %+v", s)
	}
}

func TestItsMetricsAreItsBooks(t *testing.T) {
	registry := observe.NewRegistry()
	inBubble(t, Options{Scope: registry.Process()}, func(b *bed) {
		b.up.answer = func(*request.Request) (*request.Response, error) { return nil, errors.New("down") }
		for i := range 3 {
			b.ask(fmt.Sprint("c", i), "list", "detail")
		}
		var text writer
		registry.WritePrometheus(&text)
		if want := "penstock_preload_failed_total 1\n"; !text.has(want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	})
}

func BenchmarkObserveOnTheWayOfARequest(b *testing.B) {
	p := New(Options{}, newUpstream())
	defer p.Close()
	var requests []*request.Request
	for i := range 1000 {
		requests = append(requests, get(fmt.Sprint(i)))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		p.Observe(Access{Request: requests[i%1000], Client: "c"})
		i++
	}
}

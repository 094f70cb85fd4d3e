package preload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
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
	c := request.CacheStatus{Fwd: "miss", Stored: true, Lifetime: u.ttl}
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
	t     *testing.T
	up    *upstream
	pause int
}

var route = &request.Route{Name: "movie", Upstream: "m", Method: http.MethodGet}

func newBed(t *testing.T, o Options) *bed {
	up := newUpstream()
	return &bed{Preloader: New(o, up, nil), t: t, up: up}
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
	until := b.up.cached[name]
	hit := time.Now().Before(until)
	if !hit {
		b.up.cached[name] = time.Now().Add(b.up.ttl)
	}
	b.up.mu.Unlock()
	b.access(client, r, hit, until)
	if !hit {
		b.send(event{kind: answered, key: b.hash.key(r.Tenant, r.Key), at: time.Now(), request: b.known.get(b.hash.key(r.Tenant, r.Key)),
			route: b.hash.route(r.Route), kept: true, life: b.up.ttl})
	}
	synctest.Wait()
}

// access shows the preloader one request.
func (b *bed) access(client string, r *request.Request, hit bool, until time.Time) {
	r.Client = client
	a := Access{Request: r, Hit: hit}
	if hit {
		a.ExpiresAt = until
	}
	b.Observe(a)
}

// teach has clients ask for keys in order, round after round, each time of an empty cache.
func (b *bed) teach(rounds int, keys ...string) {
	b.t.Helper()
	for i := range rounds {
		b.ask(fmt.Sprint("pupil", i), keys...)
		b.forget()
	}
	b.up.mu.Lock()
	b.up.asked = nil
	b.up.mu.Unlock()
}

// forget empties the cache, and lets the time pass in which the preloader knows a key to be there.
func (b *bed) forget() {
	b.up.mu.Lock()
	clear(b.up.cached)
	b.up.mu.Unlock()
	b.pause++
	time.Sleep(b.up.ttl * time.Duration(2+b.pause*b.pause%7)) // no rhythm
}

func inBubble(t *testing.T, o Options, f func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, o)
		defer b.Close()
		f(b)
	})
}

func TestASequenceThatCameTrueIsFetchedAhead(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.teach(8, "list", "detail")
		b.ask("cid", "list")
		if got := fmt.Sprint(b.up.keys()); got != "[detail]" {
			t.Fatalf("after list %s was fetched, want [detail]", got)
		}
		r := b.up.asked[0]
		if r.Header.Get("Sec-Purpose") != "prefetch" || r.Urgency() != request.LeastUrgent || !r.InBackground() ||
			r.ID == "" || r.ID == "client" || r.Path != "/detail" || r.Arrived.IsZero() || r.Header.Get("Accept") != "text/html" {
			t.Errorf("the prefetch is %+v with %v", r, r.Header)
		}
		before := b.Stats().Totals
		b.ask("cid", "detail")
		if s := b.Stats().Totals; s.Used != before.Used+1 || s.Outstanding != before.Outstanding-1 {
			t.Errorf("the books say %+v, before %+v", s, before)
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
	threshold, err := registry.Float(knob.Spec{Name: "preload.threshold", Default: 1, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, Options{Threshold: threshold}, func(b *bed) {
		b.teach(12, "list", "detail")
		b.ask("x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Fatalf("%v was fetched at a threshold of 1", keys)
		}
		if err := threshold.SetBase(.3, knob.SourceFile); err != nil {
			t.Fatal(err)
		}
		b.forget()
		b.ask("y", "list")
		if keys := b.up.keys(); len(keys) != 1 {
			t.Errorf("%v was fetched at a threshold of 0.3, want detail", keys)
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
		for range 10 {
			ask("t1", "list", "detail")
			b.forget()
		}
		b.up.asked = nil
		ask("t2", "list", "x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Errorf("%v was fetched for the other tenant", keys)
		}
	})
}

func TestARouteWhoseAnswersCannotBeStoredIsLeftAlone(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		b.teach(10, "list", "detail")
		b.up.answer = func(*request.Request) (*request.Response, error) {
			return &request.Response{Status: 200, Body: request.NewBody([]byte("x")), Cache: request.CacheStatus{Fwd: "miss"}}, nil
		}
		for i := range 20 {
			b.ask(fmt.Sprint(i), "list")
			b.forget()
		}
		if n := len(b.up.keys()); n == 0 || n > 3*kindDoubts {
			t.Errorf("%d prefetches of what can't be stored, want a few", n)
		}
	})
}

func TestSwitchedOffItDoesNothing(t *testing.T) {
	inBubble(t, Options{Enabled: knob.FixedBool(false)}, func(b *bed) {
		for range 5 {
			b.ask("c", "list", "detail")
		}
		if s := b.Stats(); s.Observed != 0 || s.Totals.Issued != 0 || s.Enabled {
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
		for i := range 8 {
			r := get("detail")
			b.ask(fmt.Sprint("c", i), "list")
			b.see(fmt.Sprint("c", i), r)
			r.Header.Set("Accept", "changed")
			r.Path = "/changed"
			b.forget()
		}
		b.up.asked = nil
		b.ask("x", "list")
		if len(b.up.asked) != 1 || b.up.asked[0].Path != "/detail" || b.up.asked[0].Header.Get("Accept") != "text/html" {
			t.Errorf("asked %+v", b.up.asked)
		}
	})
}

func TestCloseEndsAHangingPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Options{})
		b.teach(8, "list", "detail")
		b.Preloader.do = request.DoerFunc(func(ctx context.Context, _ *request.Request) (*request.Response, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		b.ask("x", "list")
		if s := b.Stats().Totals; s.Outstanding == 0 {
			t.Error("nothing hangs")
		}
		b.Close()
		b.Close()
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
				b.access(client, get(k), false, time.Time{})
				if i%500 == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
			for _, x := range b.Stats().Tables {
				limit := 64
				if x.Name == "contexts" {
					limit *= 2
				}
				if x.Used > x.Size || x.Size > limit {
					t.Errorf("%s: the table grew to %+v", name, x)
				}
			}
		})
	}
}

func TestAFloodDoesNotSweepOutWhatIsInUse(t *testing.T) {
	inBubble(t, Options{MaxItems: 256}, func(b *bed) {
		for i := range 10 {
			b.teach(1, "list", "detail")
			for j := range 40 {
				b.ask("flood", fmt.Sprint("noise", i, "-", j))
			}
		}
		b.up.asked = nil
		b.ask("ann", "list")
		if got := fmt.Sprint(b.up.keys()); got != "[detail]" {
			t.Errorf("%s was fetched, want [detail]", got)
		}
	})
}

func TestTheSizeOfTheTablesChangesLive(t *testing.T) {
	inBubble(t, Options{}, func(b *bed) {
		fill := func() {
			for i := range 1000 {
				b.access(fmt.Sprint("c", i%5), get(fmt.Sprint(i)), false, time.Time{})
			}
			synctest.Wait()
		}
		fill()
		b.SetMaxItems(20)
		fill()
		used := func() (n int) {
			for _, x := range b.Stats().Tables {
				n += x.Used
				if x.Used > 64 {
					t.Errorf("the table holds %+v", x)
				}
			}
			return n
		}
		n := used()
		b.SetMaxItems(20)
		if used() != n || n == 0 {
			t.Error("the same size again dropped what was learned")
		}
	})
}

func TestEverythingAtOnceIsSafe(t *testing.T) {
	p := New(Options{MaxItems: 50}, newUpstream(), nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				r := get(fmt.Sprint(j % 10))
				r.Client = fmt.Sprint(i)
				p.Observe(Access{Request: r, Hit: j%3 == 0})
				p.Evicted("", fmt.Sprint(j%7))
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			p.SetMaxItems(20 + i)
			_ = p.View()
			_, _ = p.Save()
		}
	})
	wg.Wait()
	p.Close()
	p.Observe(Access{Request: get("after")})
	s := p.Stats().Totals
	if fates := s.Used + s.Late + s.Evicted + s.Expired + s.Failed; fates > s.Issued {
		t.Errorf("more fates than prefetches: %+v", s)
	}
}

func TestItsMetricsAreItsBooks(t *testing.T) {
	registry := observe.NewRegistry()
	inBubble(t, Options{Scope: registry.Process()}, func(b *bed) {
		b.teach(8, "list", "detail")
		b.up.answer = func(*request.Request) (*request.Response, error) { return nil, errors.New("down") }
		b.ask("x", "list")
		var text strings.Builder
		registry.WritePrometheus(&text)
		failed := regexp.MustCompile(`penstock_preload_failed_total\{source="(sequence|association)"\} 1`)
		if !failed.MatchString(text.String()) {
			t.Errorf("there is no %v in\n%s", failed, text.String())
		}
	})
}

func TestWhatWasLearnedOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Options{})
		b.teach(8, "list", "detail")
		b.Close()
		saved, err := b.Save()
		if err != nil {
			t.Fatal(err)
		}
		fetched := func(saved []byte) string {
			up := newUpstream()
			next := &bed{Preloader: New(Options{}, up, saved), t: t, up: up}
			defer next.Close()
			next.ask("ann", "detail") // its request must be known
			next.forget()
			next.ask("bob", "list")
			return fmt.Sprint(up.keys())
		}
		if got := fetched(saved); got != "[detail]" {
			t.Errorf("after the restart %s was fetched, want [detail]", got)
		}
		for n, torn := range [][]byte{nil, saved[:20], saved[:len(saved)/2], []byte("something else entirely, and long enough")} {
			if got := fetched(torn); got != "[]" {
				t.Errorf("%d: of a torn file came %s", n, got)
			}
		}
	})
}

func TestWithoutSpareCapacityNothingIsFetched(t *testing.T) {
	spare := true
	inBubble(t, Options{Spare: func(string) bool { return spare }}, func(b *bed) {
		b.teach(8, "list", "detail")
		spare = false
		b.ask("x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Errorf("%v was fetched", keys)
		}
	})
}

func TestWhatTheCacheHoldsIsNotFetched(t *testing.T) {
	fresh := false
	inBubble(t, Options{Fresh: func(*request.Request) (time.Time, bool) { return time.Now().Add(time.Hour), fresh }}, func(b *bed) {
		b.teach(8, "list", "detail")
		fresh = true
		b.ask("x", "list")
		if keys := b.up.keys(); len(keys) != 0 {
			t.Errorf("%v was fetched", keys)
		}
	})
}

func BenchmarkObserveOnTheWayOfARequest(b *testing.B) {
	p := New(Options{}, newUpstream(), nil)
	defer p.Close()
	var requests []*request.Request
	for i := range 1000 {
		requests = append(requests, get(fmt.Sprint(i)))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		p.Observe(Access{Request: requests[i%1000]})
		i++
	}
}

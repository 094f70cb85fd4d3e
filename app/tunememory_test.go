package app

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/cache"
	"penstock/knob"
	"penstock/observe"
	"penstock/request"
	"penstock/tuner"
)

// span is how long the hit ratio of one window of a run is taken over.
const span = 10 * time.Minute

// twoRoutes drives the real cache for an hour of virtual time: "hot" has many small answers asked for again and
// again, "large" scans large ones. It gives the hit ratio of each span.
func twoRoutes(t *testing.T, mode tuner.Mode, seed uint64) (ratios []float64, decisions []tuner.Decision, hotBytes int64) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 3))
		small, large := strings.Repeat("s", 700), strings.Repeat("l", 30_000)
		answers := request.DoerFunc(func(_ context.Context, r *request.Request) (*request.Response, error) {
			body := small
			if r.Route.Name == "large" {
				body = large
			}
			return &request.Response{Status: 200, Header: http.Header{}, Body: request.NewBody([]byte(body)), ContentLength: int64(len(body))}, nil
		})
		route := func(name string) *request.Route {
			return &request.Route{Name: name, Upstream: "m", Method: "GET", Cache: request.CachePolicy{Mode: request.CacheTTL, TTL: request.FixedDuration(24 * time.Hour)}}
		}
		knobs := knob.NewRegistry()
		defer knobs.Close()
		ks := make(map[string]knob.Float)
		share := func(_, route string) float64 { return ks[route].Value() }
		for _, name := range []string{"hot", "large"} {
			ks[name], _ = knobs.Float(knob.Spec{Name: "cache.share." + name, Default: 1, Min: .01, Max: 1})
		}
		store, err := cache.New(cache.Options{
			Enabled: true, MaxBytes: 8 << 20, RouteShare: share, SampleKeys: 8, CleanupInterval: time.Minute, Logger: slog.New(slog.DiscardHandler),
		}, answers)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		meter := tuner.NewMemoryMeter()
		loop := tuner.New(tuner.Options{Mode: mode, Knobs: knobs, Signals: observe.NewWindow(observe.WindowOptions{})})
		var plugs []tuner.Plug
		for _, name := range []string{"hot", "large"} {
			plugs = append(plugs, tuner.Plug{Knob: "cache.share." + name, Kind: "memory", Upstream: "m", Route: name, Couple: "cache memory",
				Slow: tuner.MemoryRule(func(from, to time.Time) tuner.MemorySeen {
					return meter.Measure(time.Now(), memoryCounts(store.Memory(), share), "m", name, from, to)
				}).Slow()})
		}
		loop.SetPlugs(plugs)
		loop.Start()
		defer loop.Stop()

		hot, big := route("hot"), route("large")
		popular := zipfSums(12_000, .6)
		hits := make([]float64, 6)
		const perSecond = 20
		for i := range 3600 * perSecond {
			time.Sleep(time.Second / perSecond)
			r := &request.Request{Route: hot, Method: "GET", Header: http.Header{}}
			if random.Float64() < .8 {
				r.Key = fmt.Sprint("hot", sort.SearchFloat64s(popular, random.Float64()))
			} else {
				r.Route, r.Key = big, fmt.Sprint("large", random.IntN(1000))
			}
			resp, err := store.Do(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.Cache.Hit {
				hits[i/(int(span.Seconds())*perSecond)]++
			}
		}
		for _, n := range hits {
			ratios = append(ratios, n/span.Seconds()/perSecond)
		}
		decisions = loop.Decisions(tuner.Filter{})
		hotBytes = store.Memory().Routes[0].Bytes
	})
	return ratios, decisions, hotBytes
}

func zipfSums(n int, s float64) []float64 {
	sums, total := make([]float64, n), 0.0
	for i := range sums {
		total += math.Pow(float64(i+1), -s)
		sums[i] = total
	}
	for i := range sums {
		sums[i] /= total
	}
	return sums
}

func TestMemoryGoesToTheRouteThatMakesMoreOfIt(t *testing.T) {
	plain, _, before := twoRoutes(t, tuner.ModeOff, 1)
	tuned, decisions, after := twoRoutes(t, tuner.ModeActive, 1)
	t.Logf("hit ratios by %s: plain %.3f, tuned %.3f; hot has %d and %d bytes", span, plain, tuned, before, after)
	for _, d := range decisions {
		t.Logf("%s %.3f -> %.3f %s: %s | %s %s", d.Knob, d.From, d.To, d.Rule, d.Reason, d.Verdict, d.Measured)
		if d.Verdict == tuner.VerdictWorse && !d.RolledBack {
			t.Errorf("a step that made it worse stands: %+v", d)
		}
	}
	for i := range plain {
		if tuned[i] < plain[i]-.02 { // the requests are the same, so three deviations of 12,000 are plenty
			t.Errorf("in window %d the hit ratio is %.4f with the controller, %.4f without it", i, tuned[i], plain[i])
		}
	}
	if last := len(plain) - 1; tuned[last] < plain[last]+.1 {
		t.Errorf("the hit ratio ends at %.4f with the controller and %.4f without it, want a gain", tuned[last], plain[last])
	}
	if after <= before {
		t.Errorf("hot has %d bytes with the controller and %d without it", after, before)
	}
}

func TestARouteAloneHasNoShareToTune(t *testing.T) {
	h := open(t, "upstreams:\n  movies: {base_url: UPSTREAM}\n", http.NotFoundHandler())
	if k, ok := h.knobs.Lookup("cache.share.movies.proxy"); ok {
		t.Errorf("there is %+v", k.Spec())
	}
	if o := h.cacheOptions(h.current.Load().Config); o.SampleKeys != 0 {
		t.Errorf("one key of %d is measured for nobody", o.SampleKeys)
	}
	two := open(t, "upstreams:\n  movies: {base_url: UPSTREAM}\n  books: {base_url: UPSTREAM}\n", http.NotFoundHandler())
	k := two.mustKnob("cache.share.books.proxy")
	if k.Value() != 1 || two.memory.share("books", request.ProxyRoute) != 1 {
		t.Error("a ceiling stands before anybody set one")
	}
	if err := k.Pin(knob.Pin{Value: .25, Author: "ann"}); err != nil {
		t.Fatal(err)
	}
	if two.memory.share("books", request.ProxyRoute) != .25 || two.memory.share("movies", request.ProxyRoute) != 1 {
		t.Error("the cache does not see the pin")
	}
}

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"penstock/configs"
	"penstock/demo"
)

// shop is the demo's movie API with a Penstock in front of it.
type shop struct {
	t    *testing.T
	app  *App
	api  *httptest.Server
	http *http.Client

	details, missed int
}

func openShop(t *testing.T, preloading bool) *shop {
	t.Helper()
	api, err := demo.NewAPI(demo.Options{Seed: 1, Base: demo.Conditions{LatencyMS: 2, Slots: 64}})
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, api: httptest.NewServer(api), http: &http.Client{}}
	t.Cleanup(s.api.Close)
	path := filepath.Join(t.TempDir(), "penstock.yaml")
	config := fmt.Sprintf(`
upstreams:
  movies: {base_url: %q, cache: {mode: ttl, ttl: 1h}, workers: {count: 64}}
preload: {enabled: %v, budget_ratio: 0.2}
tuning: {mode: "off"}
`, s.api.URL, preloading)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.app, err = New(Options{Config: configs.LoadOptions{Path: path, Flags: map[string]string{
		"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "server.drain_delay": "0s",
	}}, LogOutput: io.Discard, PollInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.app.Start()
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		_ = s.app.Stop(context.Background())
	})
	return s
}

// ask gets a path and returns the ids in the answer. It waits until the preloader has done what follows.
func (s *shop) ask(path, session string, detail bool) (ids []int) {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.app.DataAddr()+"/proxy/movies"+path, nil)
	req.Header.Set("X-Session", session)
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Movies, Related []struct{ ID int }
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	if detail {
		s.details++
		if status := resp.Header.Get("Cache-Status"); len(status) < 13 || status[:13] != "penstock; hit" {
			s.missed++
		}
	}
	for _, e := range append(list.Movies, list.Related...) {
		ids = append(ids, e.ID)
	}
	s.settle()
	return ids
}

// settle waits until nothing is under way: what a visitor's time to think is for.
func (s *shop) settle() {
	quiet := 0
	for range 1000 {
		if s.app.preload.Idle() {
			if quiet++; quiet == 2 {
				return
			}
		} else {
			quiet = 0
		}
		<-time.After(time.Millisecond) // real sockets: there is no bubble to wait in
	}
	s.t.Fatal("the preloader does not come to rest")
}

// visit has one visitor open a list, look at the first films of it and at what is related to one.
func (s *shop) visit(n int, rng *rand.Rand) {
	session := fmt.Sprint("visitor-", n)
	ids := s.ask(fmt.Sprintf("/movies?page=%d", 1+n%40), session, false)
	for i := range 3 {
		s.ask(fmt.Sprintf("/movies/%d", ids[i]), session, true)
	}
	related := s.ask(fmt.Sprintf("/movies/%d/related", ids[rng.IntN(3)]), session, false)
	if len(related) > 0 {
		s.ask(fmt.Sprintf("/movies/%d", related[0]), session, true)
	}
}

func TestTheDemosDetailsAreFetchedAheadOfTheVisitors(t *testing.T) {
	run := func(preloading bool) (*shop, int64) {
		s := openShop(t, preloading)
		rng := rand.New(rand.NewPCG(1, 2))
		for n := range 40 {
			s.visit(n, rng)
		}
		calls, err := demo.FetchCalls(context.Background(), s.http, s.api.URL+"/stats")
		if err != nil {
			t.Fatal(err)
		}
		return s, calls
	}
	without, callsWithout := run(false)
	with, callsWith := run(true)
	won := 1 - float64(with.missed)/float64(without.missed)
	extra := float64(callsWith)/float64(callsWithout) - 1
	t.Logf("%d of %d details missed the cache without preloading, %d with: %.0f %% answered; %.1f %% extra calls",
		without.missed, without.details, with.missed, 100*won, 100*extra)
	v := with.app.preload.View()
	t.Logf("%+v\n%+v", v.Totals, v.Sources)
	if won < .8 || extra > .2 {
		t.Errorf("%.0f %% of the misses were answered from cache with %.1f %% extra calls, want at least 80 %% with at most 20 %%", 100*won, 100*extra)
	}
}

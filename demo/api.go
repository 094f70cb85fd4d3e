package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Conditions are what the API is like at a moment.
type Conditions struct {
	// LatencyMS is the median time that one call's work takes, in milliseconds, without queueing
	// and for one item.
	LatencyMS float64 `json:"latency_ms"`
	// Slots is how many calls are worked on at once; 1 or more.
	Slots int `json:"slots"`
	// QuotaPerSecond is how many calls per second are taken, with a burst of two seconds' worth;
	// 0: no quota.
	QuotaPerSecond float64 `json:"quota_per_second"`
	// ErrorRatio is the share of calls, 0 to 1, that end with a 500 after their full latency.
	ErrorRatio float64 `json:"error_ratio"`
	// Outage answers 503 to everything, at once.
	Outage bool `json:"outage"`
}

func (c Conditions) validate() error {
	switch {
	case !(c.LatencyMS >= 0 && c.LatencyMS <= 600_000):
		return fmt.Errorf("latency_ms must be 0 to 600000")
	case c.Slots < 1 || c.Slots > 1_000_000:
		return fmt.Errorf("slots must be 1 to 1000000")
	case !(c.QuotaPerSecond >= 0 && c.QuotaPerSecond <= 1e9):
		return fmt.Errorf("quota_per_second must be 0 (none) to 1000000000")
	case !(c.ErrorRatio >= 0 && c.ErrorRatio <= 1):
		return fmt.Errorf("error_ratio must be 0 to 1")
	}
	return nil
}

// Options are the settings of an API. Zero values mean the defaults.
type Options struct {
	// Seed makes the films, the latencies and the failures; equal seeds give equal worlds.
	Seed uint64
	// Films is how many there are, with the ids 1 to Films. Default 1000.
	Films int
	// Base are the conditions in calm times. Default: 150 ms, 16 slots, no quota, no errors.
	Base Conditions
	// Sigma is the spread of the log-normal latency; 0.3 puts the 95th percentile at 1.6 times the
	// median. 0 means the default 0.3, a negative value none.
	Sigma float64
	// PerItem is how much longer a call takes for each item after the first. Default 2 ms.
	PerItem time.Duration
	// Queue is how many calls may wait for a slot before 503 is answered. Default 1024, as a
	// common listen backlog; negative: none.
	Queue int
	// Scenario is played in a loop from the start; nil: the base conditions always.
	Scenario []Phase
	// ItemMaxAge is the max-age of /items answers. Default 1 hour.
	ItemMaxAge time.Duration
}

func (o Options) withDefaults() Options {
	o.Films = cmp.Or(o.Films, 1000)
	o.Base.LatencyMS = cmp.Or(o.Base.LatencyMS, 150)
	o.Base.Slots = cmp.Or(o.Base.Slots, 16)
	o.Sigma = max(cmp.Or(o.Sigma, 0.3), 0)
	o.PerItem = cmp.Or(o.PerItem, 2*time.Millisecond)
	o.Queue = max(cmp.Or(o.Queue, 1024), 0)
	o.ItemMaxAge = cmp.Or(o.ItemMaxAge, time.Hour)
	return o
}

// API is the simulated movie API. Make it with NewAPI.
type API struct {
	o     Options
	start time.Time
	mux   *http.ServeMux
	films []film
	gate  *gate
	quota bucket
	count counters

	mu     sync.Mutex // guards what follows
	rnd    *rand.Rand
	pinned *pinned
}

// NewAPI returns an API whose world begins now. It fails if the base conditions or the scenario
// make no sense.
func NewAPI(o Options) (*API, error) {
	o = o.withDefaults()
	if err := o.Base.validate(); err != nil {
		return nil, fmt.Errorf("demo API: %w", err)
	}
	for _, p := range o.Scenario {
		if p.Length <= 0 {
			return nil, fmt.Errorf("demo API: the phase %q has no length", p.Name)
		}
		if err := p.apply(o.Base).validate(); err != nil {
			return nil, fmt.Errorf("demo API: phase %q: %w", p.Name, err)
		}
	}
	a := &API{
		o:     o,
		start: time.Now(),
		films: makeFilms(o.Seed, o.Films),
		gate:  newGate(o.Queue),
		rnd:   rand.New(rand.NewPCG(o.Seed, 0x7065_6e73)),
		mux:   http.NewServeMux(),
	}
	a.routes()
	return a, nil
}

func (a *API) routes() {
	a.mux.HandleFunc("GET /movies/{id}", a.serveMovie)
	a.mux.HandleFunc("GET /movies/{id}/related", a.serveRelated)
	a.mux.HandleFunc("GET /movies", a.serveMovies)
	a.mux.HandleFunc("GET /search", a.serveSearch)
	a.mux.HandleFunc("GET /items", a.serveItems)
	a.mux.HandleFunc("POST /items", a.serveItems)
	a.mux.HandleFunc("POST /rpc", a.serveRPC)
	a.mux.HandleFunc("POST /graphql", a.serveGraphQL)
	a.mux.HandleFunc("POST /v1/embeddings", a.serveEmbeddings)
	a.mux.HandleFunc("POST /_mget", a.serveMget)
	a.mux.HandleFunc("GET /_doc/{id}", a.serveDoc)
	a.mux.HandleFunc("GET /stats", a.serveStats)
	a.mux.HandleFunc("GET /control", a.serveControl)
	a.mux.HandleFunc("POST /control", a.serveControl)
	a.mux.HandleFunc("DELETE /control", a.serveControl)
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Keys may hold slashes and dots, which the mux would redirect away.
	if key, ok := strings.CutPrefix(r.URL.EscapedPath(), "/items/"); ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		a.serveItem(w, r, key)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// work passes one call of n items through outage, quota, queue, latency and failure. It reports
// whether the call may be answered; if not, the refusal is written already.
func (a *API) work(w http.ResponseWriter, n int) bool {
	now := a.conditions()
	a.count.calls.Add(1)
	a.count.items.Add(int64(n))
	if now.Outage {
		a.count.refused.Add(1)
		fail(w, http.StatusServiceUnavailable, "outage", "the movie API is down")
		return false
	}
	if !a.takeQuota(w, now.QuotaPerSecond) {
		a.count.limited.Add(1)
		return false
	}
	if !a.gate.enter(now.Slots) {
		a.count.refused.Add(1)
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "overloaded", "too many calls wait already")
		return false
	}
	defer a.gate.leave()
	latency, broken := a.draw(now, n)
	time.Sleep(latency)
	if broken {
		a.count.failed.Add(1)
		fail(w, http.StatusInternalServerError, "internal", "the movie API failed")
		return false
	}
	a.count.served.Add(1)
	return true
}

// draw takes the latency and the luck of one call from the seeded source.
func (a *API) draw(now Conditions, n int) (time.Duration, bool) {
	a.mu.Lock()
	z, luck := a.rnd.NormFloat64(), a.rnd.Float64()
	a.mu.Unlock()
	ms := now.LatencyMS * math.Exp(a.o.Sigma*z)
	d := time.Duration(ms*float64(time.Millisecond)) + time.Duration(max(n-1, 0))*a.o.PerItem
	return d, luck < now.ErrorRatio
}

func (a *API) takeQuota(w http.ResponseWriter, perSecond float64) bool {
	if perSecond == 0 {
		return true
	}
	ok, left, wait := a.quota.take(perSecond)
	h := w.Header()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"default";q=%d;w=%d`, int(math.Max(1, perSecond*burstSeconds)), burstSeconds))
	h.Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, int(math.Ceil(wait.Seconds()))))
	if !ok {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
		fail(w, http.StatusTooManyRequests, "rate_limited", "the quota is used up")
	}
	return ok
}

// fail writes an error in the movie API's own form.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"internal"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock/client"
)

// VisitorOptions are the settings of Visitors. Zero values mean the defaults.
type VisitorOptions struct {
	// BaseURL is the movie API, or Penstock's proxy path before it. Required.
	BaseURL string
	// Count is how many people visit at once. Default 8.
	Count int
	// MaxPerSecond bounds all their requests together. Default 50.
	MaxPerSecond float64
	// Think is the mean time between two steps of one visitor. Default 500 ms.
	Think time.Duration
	// Films is how many films there are to choose from. Default 1000.
	Films int
	// Seed makes their choices.
	Seed uint64
	// Transport makes the calls; nil: one of its own.
	Transport http.RoundTripper
}

// Visitors are simulated people in front of the movie API. Each opens a list, looks at films in
// it and at what is related to them, and starts again; popular films are asked for far more often
// (Zipf's law). Their load is bounded by MaxPerSecond and by their waiting for answers.
type Visitors struct {
	o      VisitorOptions
	http   *http.Client
	own    *http.Transport
	tokens chan struct{}

	asked, answered, failed, hits atomic.Int64

	mu     sync.Mutex // guards what follows
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewVisitors returns Visitors that have not come yet.
func NewVisitors(o VisitorOptions) (*Visitors, error) {
	if o.BaseURL == "" {
		return nil, errors.New("visitors need the address of the movie API")
	}
	if o.Count < 0 || o.MaxPerSecond < 0 || o.Think < 0 {
		return nil, errors.New("the number, rate and think time of visitors must not be negative")
	}
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	o.Count = cmp.Or(o.Count, 8)
	o.MaxPerSecond = cmp.Or(o.MaxPerSecond, 50)
	o.Think = cmp.Or(o.Think, 500*time.Millisecond)
	o.Films = max(cmp.Or(o.Films, 1000), 1)
	v := &Visitors{o: o, tokens: make(chan struct{})}
	rt := o.Transport
	if rt == nil {
		v.own = &http.Transport{MaxIdleConnsPerHost: o.Count, IdleConnTimeout: 30 * time.Second}
		rt = v.own
	}
	v.http = &http.Client{Transport: rt, Timeout: 30 * time.Second}
	return v, nil
}

// Start lets them in. Starting twice does nothing.
func (v *Visitors) Start() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	v.done.Go(func() { v.meter(ctx) })
	for i := range v.o.Count {
		v.done.Go(func() { v.visit(ctx, uint64(i)) })
	}
}

// Stop sends them home and waits until they have gone. It may be called at any time, also twice.
func (v *Visitors) Stop() {
	v.mu.Lock()
	cancel := v.cancel
	v.cancel = nil
	v.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	v.done.Wait()
	if v.own != nil {
		v.own.CloseIdleConnections()
	}
}

// VisitorStats count requests since the start.
type VisitorStats struct {
	Asked, Answered, Failed int64
	// Hits is how many answers came from Penstock's cache.
	Hits int64
}

// Stats counts the requests.
func (v *Visitors) Stats() VisitorStats {
	return VisitorStats{Asked: v.asked.Load(), Answered: v.answered.Load(), Failed: v.failed.Load(), Hits: v.hits.Load()}
}

// meter hands out permission to ask, MaxPerSecond times a second.
func (v *Visitors) meter(ctx context.Context) {
	tick := time.NewTicker(max(time.Microsecond, time.Duration(float64(time.Second)/v.o.MaxPerSecond)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		select {
		case v.tokens <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// visit is one visitor's life.
func (v *Visitors) visit(ctx context.Context, number uint64) {
	r := rand.New(rand.NewPCG(v.o.Seed, number+1))
	popular := rand.NewZipf(r, 1.2, 8, uint64(v.o.Films-1))
	for n := 0; ctx.Err() == nil; n++ {
		session := fmt.Sprintf("visitor-%d-%d", number, n)
		v.session(ctx, r, popular, session)
	}
}

// session is one visit: a list, or a film that everybody talks about; then some films and what is
// related to them.
func (v *Visitors) session(ctx context.Context, r *rand.Rand, popular *rand.Zipf, session string) {
	var ids []int
	if r.IntN(3) > 0 {
		path := fmt.Sprintf("/movies?page=%d", 1+r.IntN(3))
		if r.IntN(2) == 0 {
			path = "/movies?genre=" + genres[r.IntN(len(genres))]
		}
		ids = v.ask(ctx, r, path, session)
	}
	for range 1 + r.IntN(5) {
		id := int(popular.Uint64()) + 1
		if len(ids) > 0 {
			id = ids[min(int(r.ExpFloat64()*4), len(ids)-1)]
		}
		v.ask(ctx, r, fmt.Sprintf("/movies/%d", id), session)
		if r.IntN(2) == 0 {
			ids = v.ask(ctx, r, fmt.Sprintf("/movies/%d/related", id), session)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// ask makes one request after a moment's thought and returns the ids in its answer.
func (v *Visitors) ask(ctx context.Context, r *rand.Rand, path, session string) []int {
	think := time.NewTimer(time.Duration(r.ExpFloat64() * float64(v.o.Think)))
	defer think.Stop()
	select {
	case <-think.C:
	case <-ctx.Done():
		return nil
	}
	select {
	case <-v.tokens:
	case <-ctx.Done():
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.o.BaseURL+path, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("X-Session", session)
	v.asked.Add(1)
	ids, err := v.do(req)
	switch {
	case err == nil:
		v.answered.Add(1)
	case ctx.Err() == nil:
		v.failed.Add(1)
	}
	return ids
}

func (v *Visitors) do(req *http.Request) ([]int, error) {
	resp, err := v.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, errors.New(resp.Status)
	}
	if client.ParseCacheStatus(resp.Header).Hit {
		v.hits.Add(1)
	}
	var list struct {
		Movies  []entry `json:"movies"`
		Related []entry `json:"related"`
	}
	if json.Unmarshal(b, &list) != nil {
		return nil, nil // a film: no list, and no fault
	}
	var ids []int
	for _, e := range append(list.Movies, list.Related...) {
		ids = append(ids, e.ID)
	}
	return ids, nil
}

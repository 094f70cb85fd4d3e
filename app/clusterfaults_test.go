package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/engine"
	"penstock/engine/natsengine"
	"penstock/jobs"
)

var full = flag.Bool("full", false, "run the long forms of the tests, about two minutes")

// siege is a cluster under traffic while faults happen to it: sync requests and jobs on every node.
type siege struct {
	*town
	quit    context.CancelFunc
	all     sync.WaitGroup
	down    [3]atomic.Bool // nobody asks a node that its operator has killed
	asked   atomic.Int64
	refused atomic.Int64 // submissions that got no 202: nothing was promised

	mu       sync.Mutex // guards what follows
	faults   []string   // sync requests that went wrong
	accepted map[string]bool
	runs     map[string]int               // upstream calls by job
	ends     map[string]map[string]string // by job, each end that was written, with its time
}

func besiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{accepted: make(map[string]bool), runs: make(map[string]int), ends: make(map[string]map[string]string)}
	s.town = clustered(t, 3, clusterJobs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/movies/"); ok {
			s.mu.Lock()
			s.runs[id]++
			s.mu.Unlock()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, r.URL.Path)
	}))
	s.settled()
	ctx, quit := context.WithCancel(t.Context())
	s.quit = quit
	t.Cleanup(s.stop)
	s.watch(ctx)
	for i := range 3 {
		s.all.Go(func() { s.ask(ctx, i) })
		s.all.Go(func() { s.submit(ctx, i) })
	}
	return s
}

func (s *siege) stop() {
	s.quit()
	s.all.Wait()
}

// ask sends sync requests to a node: each must be answered well.
func (s *siege) ask(ctx context.Context, i int) {
	for n := 0; ctx.Err() == nil; n++ {
		if !s.down[i].Load() {
			h := s.node(i)
			path := fmt.Sprintf("/proxy/movies/films/%d?node=%d", n%50, i)
			resp, err := h.client.Get(h.dataURL(path))
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode != 200 {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			s.asked.Add(1)
			if err != nil && !s.down[i].Load() {
				s.mu.Lock()
				s.faults = append(s.faults, fmt.Sprintf("node %d: %v", i, err))
				s.mu.Unlock()
			}
		}
		rest(ctx, 10*time.Millisecond)
	}
}

// submit sends jobs to a node and remembers those that it promised to do.
func (s *siege) submit(ctx context.Context, i int) {
	for n := 0; ctx.Err() == nil; n++ {
		if !s.down[i].Load() {
			h := s.node(i)
			body := movieJob(fmt.Sprintf("n%d-%d", i, n), "")
			resp, err := h.client.Post(h.dataURL("/v1/jobs"), "application/json", strings.NewReader(body))
			var j jobView
			switch {
			case err != nil:
				s.refused.Add(1)
			case resp.StatusCode != 202:
				s.refused.Add(1)
				if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
					s.mu.Lock()
					s.faults = append(s.faults, fmt.Sprintf("a submission to node %d got %d, Retry-After %q", i, resp.StatusCode, resp.Header.Get("Retry-After")))
					s.mu.Unlock()
				}
			case json.NewDecoder(resp.Body).Decode(&j) == nil:
				s.mu.Lock()
				s.accepted[j.ID] = true
				s.mu.Unlock()
			}
			if err == nil {
				_ = resp.Body.Close()
			}
		}
		rest(ctx, 40*time.Millisecond)
	}
}

// watch notes every end that is written of a job.
func (s *siege) watch(ctx context.Context) {
	s.t.Helper()
	e, err := natsengine.Connect(ctx, natsengine.ClusterOptions{URL: s.nats.URL(), Prefix: "penstock"})
	if err != nil {
		s.t.Fatal(err)
	}
	kv, err := e.KV(ctx, engine.KVOptions{Name: "jobs", MaxBytes: 256 << 20, Transient: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.all.Go(func() {
		defer func() { _ = e.Close(context.Background()) }()
		for ctx.Err() == nil {
			if changes, err := kv.Watch(ctx); err == nil {
				for c := range changes {
					s.note(c)
				}
			}
			rest(ctx, refollow)
		}
	})
}

func (s *siege) note(e engine.Entry) {
	var j jobs.Job
	if json.Unmarshal(e.Value, &j) != nil || !j.State.Ended() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends[j.ID] == nil {
		s.ends[j.ID] = make(map[string]string)
	}
	s.ends[j.ID][j.Ended.String()] = string(j.State)
}

// done lets traffic go on for d.
func (s *siege) last(d time.Duration) { rest(s.t.Context(), d) }

// end ends the traffic and holds what was promised against what was done.
func (s *siege) end(what string) {
	s.t.Helper()
	s.soon("all nodes are well again", func() bool {
		for _, n := range s.nodes {
			if v := n.cluster(); !v.InTouch || v.Leader == "" || !v.Engine.OK {
				return false
			}
		}
		return true
	})
	s.last(time.Second)
	s.mu.Lock()
	ids := len(s.accepted)
	s.mu.Unlock()
	var open int
	s.soon("every accepted job has ended", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		open = 0
		for id := range s.accepted {
			if len(s.ends[id]) == 0 {
				open++
			}
		}
		// Those that are accepted all the time don't count, as long as older ones end.
		return open < 20 && len(s.accepted) > ids
	})
	for i := range s.down {
		s.down[i].Store(true)
	}
	s.soon("the last jobs have ended too", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id := range s.accepted {
			if len(s.ends[id]) == 0 {
				return false
			}
		}
		return true
	})
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	twice, runs := 0, 0
	for _, n := range s.runs {
		runs += n
		if n > 1 {
			twice++
		}
	}
	for id := range s.accepted {
		if len(s.ends[id]) != 1 {
			s.t.Errorf("the job %s has %d ends: %v", id, len(s.ends[id]), s.ends[id])
		}
		for _, state := range s.ends[id] {
			if state != string(jobs.Done) {
				s.t.Errorf("the job %s ended as %s", id, state)
			}
		}
	}
	if len(s.faults) > 0 {
		s.t.Errorf("%d requests went wrong: %.2000v", len(s.faults), s.faults)
	}
	s.t.Logf("%s: %d sync requests, %d wrong; %d jobs accepted, %d submissions refused with 503; all ended once, %d ran more than once (%d runs)",
		what, s.asked.Load(), len(s.faults), len(s.accepted), s.refused.Load(), twice, runs)
}

// The lease of these clusters is 2 s; each fault lasts longer.
const fault = 5 * time.Second

// long skips a test that is not asked for.
func long(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("a long one: -args -full")
	}
}

func TestACutOffNodeLosesNoJobAndFailsNoRequest(t *testing.T) {
	s := besiege(t)
	s.last(time.Second)
	s.proxies[1].Cut()
	s.last(fault)
	s.proxies[1].Mend()
	s.end("one node cut off for 5 s")
}

func TestANodeWithAStalledConnectionLosesNoJobAndFailsNoRequest(t *testing.T) {
	long(t)
	s := besiege(t)
	s.last(time.Second)
	s.proxies[2].Stall()
	s.last(fault)
	s.proxies[2].Resume()
	s.end("one node's connection stalled for 5 s")
}

func TestALostServerLosesNoJobAndFailsNoRequest(t *testing.T) {
	long(t)
	s := besiege(t)
	s.last(time.Second)
	leader := max(s.nats.StreamLeader("KV_penstock_jobs"), 0)
	s.nats.Stop(leader)
	s.last(2 * fault)
	s.nats.Start(leader)
	s.end("the NATS server that led the jobs stopped for 10 s")
}

func TestAKilledNodeLosesNoJobAndFailsNoRequest(t *testing.T) {
	long(t)
	s := besiege(t)
	s.last(time.Second)
	s.down[0].Store(true)
	s.proxies[0].Cut() // whatever it still does, nobody hears of it
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.nodes[0].Stop(ctx)
	s.last(fault)
	s.proxies[0].Mend()
	s.start(0)
	s.down[0].Store(false)
	s.end("one Penstock node killed and started again after 5 s")
}

func TestAClusterThatIsAwayAltogetherFailsNoRequest(t *testing.T) {
	long(t)
	s := besiege(t)
	s.last(time.Second)
	for i := range 3 {
		s.nats.Stop(i)
	}
	s.last(fault)
	for i := range 3 {
		s.nats.Start(i)
	}
	s.end("all three NATS servers stopped for 5 s")
}

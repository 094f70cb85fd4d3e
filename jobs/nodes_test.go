package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/engine"
)

// crew is three nodes on one engine, told by the test who is gone.
type crew struct {
	mu    sync.Mutex
	gone  map[string]bool
	ran   map[string]int    // runs by job
	by    map[string]string // who ran it last
	all   []*Service
	stuck map[string]chan struct{} // the runs of a node wait for it
}

// deaf takes no webhook.
type deaf struct{}

func (deaf) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody is there")
}

type mate struct {
	c    *crew
	name string
	i    uint32
}

func (m mate) Run() string { return m.name }

func (m mate) Gone(run string) bool {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.c.gone[run]
}

func (m mate) Leads() bool { return m.i == 0 }

func (m mate) Mine(id string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32()%3 == m.i
}

func (c *crew) run(name string, ctx context.Context, j *Job) (*Answer, error) {
	c.mu.Lock()
	c.ran[j.ID]++
	c.by[j.ID] = name
	stuck := c.stuck[name]
	c.mu.Unlock()
	if err := wait(ctx, 50*time.Millisecond); err != nil {
		return nil, err
	}
	if stuck != nil {
		<-stuck
	}
	return &Answer{Status: 200, Body: bytes.Repeat([]byte(name), inlineBytes)}, nil
}

func inCrew(t *testing.T, f func(t *testing.T, c *crew)) {
	synctest.Test(t, func(t *testing.T) {
		e := engine.NewMemory()
		c := &crew{gone: make(map[string]bool), ran: make(map[string]int), by: make(map[string]string), stuck: make(map[string]chan struct{})}
		for i, name := range []string{"a", "b", "c"} {
			s, err := New(t.Context(), Options{Engine: e, Nodes: mate{c, name, uint32(i)}, Client: &http.Client{Transport: deaf{}},
				Run: func(ctx context.Context, j *Job) (*Answer, error) { return c.run(name, ctx, j) }})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			c.all = append(c.all, s)
		}
		synctest.Wait()
		f(t, c)
		for _, s := range c.all {
			s.Stop(t.Context())
		}
		_ = e.Close(t.Context())
	})
}

func (c *crew) submit(t *testing.T, n int) (ids []string) {
	t.Helper()
	for i := range n {
		j, _, err := c.all[i%3].Submit(t.Context(), Spec{Route: "r"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	return ids
}

func TestNodesShareTheJobsAndEachRunsOnce(t *testing.T) {
	inCrew(t, func(t *testing.T, c *crew) {
		ids := c.submit(t, 300)
		time.Sleep(10 * time.Second)
		share := make(map[string]int)
		for _, id := range ids {
			j, body, err := c.all[1].Result(t.Context(), id)
			if err != nil || j.State != Done || c.ran[id] != 1 || j.Attempts != 1 || len(body) != inlineBytes {
				t.Fatalf("job %+v ran %d times, result of %d bytes, %v", j, c.ran[id], len(body), err)
			}
			share[c.by[id]]++
		}
		for name, n := range share {
			if n < 50 {
				t.Errorf("%s ran %d of 300", name, n)
			}
		}
	})
}

func TestAJobOfANodeThatIsGoneIsTakenOverAndItsLateAnswerCountsForNothing(t *testing.T) {
	inCrew(t, func(t *testing.T, c *crew) {
		stuck := make(chan struct{})
		c.mu.Lock()
		c.stuck["b"] = stuck
		c.mu.Unlock()
		ids := c.submit(t, 60)
		time.Sleep(30 * time.Second)
		counts := c.all[0].Counts()
		if counts[Running] == 0 || counts[Done]+counts[Running] != 60 {
			t.Fatalf("while one node hangs: %v", counts)
		}
		c.mu.Lock()
		c.gone["b"] = true
		c.mu.Unlock()
		for _, s := range c.all {
			s.NodesChanged()
		}
		// b may take up what was taken from it, and hangs again with it; others get it in the end.
		time.Sleep(time.Minute)
		early := make(map[string]time.Time)
		for _, id := range ids {
			j, body, err := c.all[2].Result(t.Context(), id)
			if err != nil {
				continue
			}
			early[id] = j.Ended
			if !bytes.Equal(body, bytes.Repeat(body[:1], inlineBytes)) || body[0] == 'b' {
				t.Errorf("%s: an answer of %q", id, body[:1])
			}
		}
		if len(early) == 0 {
			t.Fatal("nothing was taken over")
		}
		c.mu.Lock()
		delete(c.stuck, "b")
		delete(c.gone, "b")
		c.mu.Unlock()
		close(stuck)
		time.Sleep(time.Minute)
		for _, id := range ids {
			j, body, err := c.all[0].Result(t.Context(), id)
			if err != nil || j.State != Done || len(body) != inlineBytes {
				t.Errorf("%s: %v, %v", id, j, err)
				continue
			}
			if at, ok := early[id]; ok && (!j.Ended.Equal(at) || body[0] == 'b') {
				t.Errorf("%s ended at %v and then at %v, answer of %q", id, at, j.Ended, body[:1])
			}
		}
	})
}

func TestTheLeaderAloneSendsWebhooks(t *testing.T) {
	inCrew(t, func(t *testing.T, c *crew) {
		for i, s := range c.all {
			if got := s.o.Nodes.Leads(); got != (i == 0) {
				t.Errorf("node %d leads: %v", i, got)
			}
		}
		j, _, err := c.all[1].Submit(t.Context(), Spec{Route: "r", Webhook: "http://example.org/"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		got, err := c.all[2].Job(t.Context(), j.ID)
		if err != nil || got.Webhook == nil || got.Webhook.State != WebhookFailed || got.Webhook.Attempts != DefaultWebhookAttempts {
			t.Errorf("%+v, %v", got.Webhook, err)
		}
		tries := uint64(0)
		for i, s := range c.all {
			n := s.counters.hooksFailed.Get()
			tries += n
			if i > 0 && n > 0 {
				t.Errorf("node %d tried %d times", i, n)
			}
		}
		if tries != DefaultWebhookAttempts {
			t.Error(fmt.Sprint(tries, " tries"))
		}
	})
}

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"penstock/configs"
	"penstock/engine/natsengine/natstest"
)

// town is some Apps on one NATS cluster in front of one upstream of the test. Each reaches its own server
// through a proxy of its own.
type town struct {
	t       *testing.T
	nats    *natstest.Cluster
	proxies []*natstest.Proxy
	config  string

	mu    sync.Mutex // guards nodes where goroutines of the test read them
	nodes []*house
}

func (w *town) node(i int) *house {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[i]
}

// clustered starts n NATS servers and n Apps named a, b, c and so on; config is that of each, UPSTREAM the
// handler's address.
func clustered(t *testing.T, n int, config string, upstream http.Handler) *town {
	t.Helper()
	w := &town{t: t, nats: natstest.Start(t, n), nodes: make([]*house, n)}
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	w.config = strings.ReplaceAll(config, "UPSTREAM", s.URL)
	for i := range n {
		w.proxies = append(w.proxies, natstest.NewProxy(t, w.nats.Addr(i)))
	}
	for i := range n {
		w.start(i)
	}
	return w
}

// start starts one App, for the first time or again.
func (w *town) start(i int) *house {
	w.t.Helper()
	text := fmt.Sprintf("cluster: {url: %q, node: %q, replicas: %d, lease: 2s}\n%s",
		w.proxies[i].URL(), string(rune('a'+i)), len(w.proxies), w.config)
	h := open(w.t, text, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[i] = h
	return h
}

func TestANodeKeepsItsNameInItsDataDir(t *testing.T) {
	dir := t.TempDir()
	first, err := nodeName("", dir)
	if err != nil || !strings.HasPrefix(first, "node-") {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := nodeName("", dir); err != nil || again != first {
		t.Errorf("then %q, %v", again, err)
	}
	if other, err := nodeName("", ""); err != nil || other == first {
		t.Errorf("without data_dir %q, %v", other, err)
	}
	if named, err := nodeName("paris", dir); err != nil || named != "paris" {
		t.Errorf("named %q, %v", named, err)
	}
}

func TestAClusterThatRefusesStopsTheStart(t *testing.T) {
	locked := natstest.StartWith(t, 1, natstest.Options{User: "u", Password: "p"})
	path := t.TempDir() + "/penstock.yaml"
	h := &house{t: t, config: path}
	h.write("cluster: {url: " + locked.URL() + "}\n")
	a, err := New(Options{Config: configs.LoadOptions{Path: path, Flags: map[string]string{"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0"}}, LogOutput: new(syncBuffer)})
	if err == nil {
		_ = a.Stop(context.Background())
	}
	if err == nil || !strings.Contains(err.Error(), "cluster.url") || !strings.Contains(err.Error(), "uthorization") {
		t.Errorf("it says %v", err)
	}
}

func TestAnyNodeTellsOfAJob(t *testing.T) {
	w := clustered(t, 3, clusterJobs, new(counted))
	j := w.nodes[0].askWith("POST", "/v1/jobs", movieJob("1", "")).expect(t, 202).job(t)
	for _, n := range w.nodes {
		n.eventually("the job is known", func() bool { return n.get("/v1/jobs/"+j.ID).status == 200 })
		n.ends(j.ID, "done")
		n.get("/v1/jobs/"+j.ID+"/result").expect(t, 200, "/movies/1")
	}
}

// cluster is what a node tells of the cluster.
func (h *house) cluster() clusterView {
	h.t.Helper()
	var v clusterView
	a := h.do("GET", h.adminURL("/admin/v1/cluster"), "").expect(h.t, 200)
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		h.t.Fatal(err)
	}
	return v
}

// soon waits for what nodes and servers bring about; on a loaded machine they take their time.
func (w *town) soon(what string, ok func() bool) {
	w.t.Helper()
	w.nats.Await(what, ok)
}

// settled waits until every node sees all others and the same leader, and returns it.
func (w *town) settled() int {
	w.t.Helper()
	leader := -1
	w.soon("all nodes know each other and one leader", func() bool {
		leader = -1
		for i, n := range w.nodes {
			v := n.cluster()
			for _, m := range v.Nodes {
				if m.State != "up" || m.Info == nil {
					return false
				}
			}
			if len(v.Nodes) != len(w.nodes) || v.Leader == "" || v.Leader != w.nodes[0].cluster().Leader {
				return false
			}
			if v.Leads {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

func (h *house) knobState(name string) (value float64, source string) {
	h.t.Helper()
	k, ok := h.knobs.Lookup(name)
	if !ok {
		h.t.Fatalf("no knob %s", name)
	}
	s := k.State()
	return s.Value, string(s.Source)
}

func TestNodesShareWhatOperatorsAndTheLeaderSay(t *testing.T) {
	up := new(counted)
	w := clustered(t, 3, smallest, up)
	leader := w.settled()
	follower, other := w.nodes[(leader+1)%3], w.nodes[(leader+2)%3]
	const name = "workers.movies"

	t.Run("pins", func(t *testing.T) {
		follower.do("PUT", follower.adminURL("/admin/v1/knobs/"+name+"/pin"), `{"value":7,"note":"for the test"}`).expect(t, 200)
		for _, n := range w.nodes {
			w.soon("the pin holds on all nodes", func() bool { v, s := n.knobState(name); return v == 7 && s == "pin" })
		}
		other.do("DELETE", other.adminURL("/admin/v1/knobs/"+name+"/pin"), "").expect(t, 200)
		for _, n := range w.nodes {
			w.soon("no node has the pin", func() bool { _, s := n.knobState(name); return s != "pin" })
		}
	})
	t.Run("decisions", func(t *testing.T) {
		for _, n := range w.nodes {
			w.soon("every node tells of the pin and its end, once", func() bool {
				a := n.do("GET", n.adminURL("/admin/v1/decisions?knob="+name), "").expect(t, 200)
				return strings.Count(a.body, `"pin"`) == 1 && strings.Count(a.body, `"unpin"`) == 1 && strings.Contains(a.body, `"node":"`+other.nodeName+`"`)
			})
		}
	})
	t.Run("orders to the tuner", func(t *testing.T) {
		other.tuner.SetFrozen(true)
		other.keeper.keep()
		for _, n := range w.nodes {
			w.soon("all are frozen", n.tuner.Frozen)
		}
		follower.tuner.SetFrozen(false)
		follower.keeper.keep()
		for _, n := range w.nodes {
			w.soon("none is frozen", func() bool { return !n.tuner.Frozen() })
		}
	})
	t.Run("tuned values", func(t *testing.T) {
		k, _ := w.nodes[leader].knobs.Lookup(name)
		if err := k.Resume(23, "a test"); err != nil {
			t.Fatal(err)
		}
		w.nodes[leader].keeper.kick()
		for _, n := range w.nodes {
			w.soon("the leader's value holds on all nodes", func() bool { v, _ := n.knobState(name); return v == 23 })
		}
		if st := follower.tuner.Status(); len(st) == 0 || st[0].Mode != "off" {
			t.Errorf("a follower tunes: %+v", st)
		}
	})
	t.Run("the page", func(t *testing.T) {
		w.soon("the page shows all nodes", func() bool {
			page := other.do("GET", other.adminURL("/"), "").expect(t, 200).body
			return strings.Contains(page, "Nodes of the cluster") && strings.Count(page, "(this one)") == 1 && strings.Contains(page, ">leader<")
		})
	})
	t.Run("purges", func(t *testing.T) {
		for _, n := range w.nodes {
			n.get("/proxy/movies/film").expect(t, 200)
		}
		w.nodes[0].do("POST", w.nodes[0].adminURL("/admin/v1/cache/purge"), `{"all":true}`).expect(t, 200)
		for _, n := range w.nodes {
			w.soon("the caches are empty", func() bool { return n.cache.Stats().Entries == 0 })
		}
	})
	t.Run("readiness", func(t *testing.T) {
		follower.get("/readyz").expect(t, 200, `"ready"`)
		w.proxies[(leader+1)%3].Cut()
		w.soon("it says that it is degraded", func() bool {
			return strings.Contains(follower.get("/readyz").expect(t, 200).body, `"degraded"`)
		})
		follower.get("/proxy/movies/other").expect(t, 200)
		w.soon("the page says so", func() bool {
			return strings.Contains(follower.do("GET", follower.adminURL("/"), "").body, `id="degraded"`)
		})
		follower.do("POST", follower.adminURL("/admin/v1/cache/purge"), `{"all":true}`).expect(t, 200) // is carried out later elsewhere
		w.nodes[leader].get("/proxy/movies/other").expect(t, 200)
		w.proxies[(leader+1)%3].Mend()
		w.soon("it is ready again", func() bool { return strings.Contains(follower.get("/readyz").body, `"ready"`) })
		w.soon("what was purged meanwhile is purged", func() bool { return w.nodes[leader].cache.Stats().Entries == 0 })
	})
}

func TestAnotherNodeLeadsWhenTheLeaderStops(t *testing.T) {
	w := clustered(t, 3, smallest, new(counted))
	leader := w.settled()
	next := w.nodes[(leader+1)%3]
	if err := w.nodes[leader].Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.soon("another leads and tunes", func() bool {
		v := next.cluster()
		if v.Leader == "" || v.Leader == w.nodes[leader].nodeName {
			return false
		}
		for i, n := range w.nodes {
			if i != leader && n.nodes.Leads() {
				st := n.tuner.Status()
				return len(st) > 0 && st[0].Mode == "active"
			}
		}
		return false
	})
	if n := len(next.cluster().Nodes); n != 2 {
		t.Errorf("%d nodes are in the list", n)
	}
}

const clusterJobs = `
upstreams: {movies: {base_url: UPSTREAM, retry: {max_attempts: 1}}}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {}}, cache: {mode: "off"}}
jobs: {backoff: 10ms}
`

package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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
	nodes   []*house
	config  string
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

const clusterJobs = `
upstreams: {movies: {base_url: UPSTREAM, retry: {max_attempts: 1}}}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {}}, cache: {mode: "off"}}
jobs: {backoff: 10ms}
`

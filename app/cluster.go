package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock/cluster"
	"penstock/configs"
	"penstock/engine"
	"penstock/engine/natsengine"
	"penstock/web"
)

// openEngine opens what keeps things: the cluster, if there is one, else the engine of data_dir; nil: there is
// neither.
func (a *App) openEngine(l *configs.Loaded) (engine.Engine, error) {
	c := l.Config
	dir := a.dataDir(c)
	if c.Cluster.URL == "" {
		if dir == "" {
			return nil, nil
		}
		return openEngine(dir, c.Engine, a.log)
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
	}
	var err error
	if a.nodeName, err = nodeName(c.Cluster.Node, dir); err != nil {
		return nil, err
	}
	return a.connectCluster(l)
}

func (a *App) connectCluster(l *configs.Loaded) (engine.Engine, error) {
	k := l.Config.Cluster
	password, err := l.Secret(k.Password)
	if err != nil {
		return nil, fmt.Errorf("cluster.password: %w", err)
	}
	token, err := l.Secret(k.Token)
	if err != nil {
		return nil, fmt.Errorf("cluster.token: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsengine.DefaultReadyTimeout)
	defer cancel()
	e, err := natsengine.Connect(ctx, natsengine.ClusterOptions{
		URL: k.URL, Name: "penstock " + a.nodeName, Prefix: k.Prefix, Replicas: k.Replicas,
		User: k.User, Password: password, Token: token, CredentialsFile: k.CredentialsFile, NKeyFile: k.NKeyFile,
		CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName,
		InsecureSkipVerify: k.TLS.InsecureSkipVerify, Log: a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster.url: %w", err)
	}
	return e, nil
}

// nodeName is how this node is called: as configured, else at random and, with a data_dir, for good.
func nodeName(configured, dir string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	name := "node-" + strings.ToLower(rand.Text()[:8])
	if dir == "" {
		return name, nil
	}
	path := filepath.Join(dir, "node")
	kept, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(kept))) > 0 {
		return strings.TrimSpace(string(kept)), nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path, []byte(name+"\n"), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("data_dir: the node's name can't be kept; set cluster.node or make the folder writable: %w", err)
	}
	return name, nil
}

// shared reports whether there may be other nodes.
func (a *App) shared() bool { return a.nodeName != "" }

// newNodes makes this node one of the cluster, if there is one.
func (a *App) newNodes(c *configs.Config) (err error) {
	if !a.shared() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	e := a.keeper.o.engine
	a.nodes, err = cluster.New(ctx, cluster.Options{
		Engine: e, Node: a.nodeName, Lease: c.Cluster.Lease, Describe: func() any { return a.describe() }, OnChange: a.onNodes, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.keeper.shareWith(a.nodeName, a.nodes.Leads, a.tuner.SetFollowing)
	a.keeper.leave = a.nodes.Stop
	return a.newPurges(ctx, c, e)
}

// startNodes joins the cluster.
func (a *App) startNodes(ctx context.Context) {
	if a.nodes == nil {
		return
	}
	a.nodes.Start()
	a.background.Go(func() { a.purges.send(ctx) })
	a.background.Go(func() { a.purges.follow(ctx) })
}

// onNodes passes on that nodes came or went, or that the lead changed.
func (a *App) onNodes() {
	if a.jobs != nil {
		a.jobs.NodesChanged()
	}
	a.keeper.kick()
}

// nodeInfo is what a node tells the others of itself.
type nodeInfo struct {
	Version string `json:"version"`
	Data    string `json:"data"`
	Admin   string `json:"admin"`
	// The traffic of the last sample: requests per second, the share answered from the cache, requests that
	// wait, upstream calls in flight; and jobs under way.
	RequestRate float64 `json:"request_rate"`
	HitRatio    float64 `json:"hit_ratio"`
	Queued      float64 `json:"queued"`
	InFlight    float64 `json:"calls_in_flight"`
	JobsRunning int     `json:"jobs_running"`
}

func (a *App) describe() nodeInfo {
	a.seen.mu.Lock()
	v := a.seen.values
	a.seen.mu.Unlock()
	n := nodeInfo{Version: a.o.Version, Data: a.DataAddr(), Admin: a.AdminAddr(), RequestRate: v["rate"], HitRatio: v["hit_ratio"], Queued: v["queued"]}
	for name := range a.table.Load().nodes {
		n.InFlight += v["calls_in_flight/"+name]
	}
	if a.jobs != nil {
		n.JobsRunning = a.jobs.Running()
	}
	return n
}

// clusterView is what GET /admin/v1/cluster answers.
type clusterView struct {
	// Mode is "single" or "cluster".
	Mode   string        `json:"mode"`
	Engine engine.Status `json:"engine"`
	cluster.View
}

func (a *App) viewCluster() any {
	v := clusterView{Mode: "single", Engine: a.keeper.status()}
	v.Nodes = []cluster.Member{}
	if a.nodes != nil {
		v.Mode, v.View = "cluster", a.nodes.View()
	}
	return v
}

// degraded says what does not work though requests go on; "": everything works.
func (a *App) degraded() string {
	s := a.keeper.status()
	switch {
	case !s.OK && s.Kind == "cluster":
		return "the cluster can't be reached: jobs are not accepted and the nodes go on by themselves until it is back (GET /admin/v1/cluster tells more)"
	case !s.OK:
		return "what must outlive the process can't be saved (GET /admin/v1/cluster tells more)"
	case a.nodes != nil && time.Since(a.started) > 2*a.current.Load().Config.Cluster.Lease && !a.nodes.InTouch():
		return "out of touch with the other nodes; requests go on"
	}
	return ""
}

// webNodes are the nodes as the page shows them.
func (a *App) webNodes() []web.Node {
	if a.nodes == nil {
		return nil
	}
	var nodes []web.Node
	for _, m := range a.nodes.View().Nodes {
		var i nodeInfo
		_ = json.Unmarshal(m.Info, &i) // of another version: what is missing shows as none
		nodes = append(nodes, web.Node{
			Name: m.Node, Self: m.Self, Leader: m.Leader, State: m.State, Admin: i.Admin, Seen: m.LastSeen,
			Rate: i.RequestRate, HitRatio: i.HitRatio, Queued: i.Queued, InFlight: i.InFlight, Jobs: i.JobsRunning,
		})
	}
	return nodes
}

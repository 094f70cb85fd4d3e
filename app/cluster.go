package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"penstock/configs"
	"penstock/engine"
	"penstock/engine/natsengine"
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

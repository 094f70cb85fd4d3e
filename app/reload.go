package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/api"
	"penstock/configs"
	"penstock/request"
	"penstock/tuner"
)

// reloads is the state of reloading.
type reloads struct {
	mu      sync.Mutex // serialises reloads
	tried   string     // the fingerprint of the file as last tried
	last    atomic.Pointer[ReloadStatus]
	ok, bad atomic.Int64
	by      atomic.Pointer[string] // who reloads now, or did last
}

// author is who made the last reload, for the ledger.
func (r *reloads) author() string {
	if by := r.by.Load(); by != nil {
		return *by
	}
	return "configuration"
}

// ReloadStatus is how the last reload ended.
type ReloadStatus struct {
	At time.Time
	// Trigger is what asked for it: "signal", "api", "file changed".
	Trigger string
	// Author is who did: the name of a token or a login, or the trigger.
	Author string
	// Err says why nothing was changed; nil: the reload succeeded. A faulty file gives a
	// [*configs.Faults].
	Err error
	// Changes are the differences that it brought.
	Changes []configs.Change
}

// LastReload tells how the last reload ended; nil if there was none.
func (a *App) LastReload() *ReloadStatus { return a.reloads.last.Load() }

// Reload loads the configuration anew and puts it in force, all or nothing. It returns what
// changed; keys marked RestartNeeded keep their old effect until a restart. Reloads are serialised.
func (a *App) Reload(trigger string) ([]configs.Change, error) { return a.reloadBy(trigger, trigger) }

func (a *App) reloadBy(author, trigger string) ([]configs.Change, error) {
	a.reloads.mu.Lock()
	defer a.reloads.mu.Unlock()
	if a.draining.Load() {
		return nil, request.Errorf(request.ProblemShuttingDown, "the process is shutting down; nothing was changed")
	}
	a.reloads.tried, _ = a.fingerprint()
	a.reloads.by.Store(&author)
	changes, err := a.reload()
	a.reloads.last.Store(&ReloadStatus{At: time.Now(), Trigger: trigger, Author: author, Err: err, Changes: changes})
	if err != nil {
		a.reloads.bad.Add(1)
		a.log.Error("reload failed: the configuration before stays in force", "trigger", trigger, "author", author, "error", err)
		return nil, err
	}
	a.reloads.ok.Add(1)
	a.log.Info("reloaded", "trigger", trigger, "author", author, "changes", len(changes))
	for _, c := range changes {
		a.log.Info("changed", "key", c.Key, "from", c.From, "to", c.To, "restart_needed", c.RestartNeeded)
	}
	return changes, nil
}

func (a *App) reload() ([]configs.Change, error) {
	l, err := Load(a.o.Config)
	if err != nil {
		return nil, err
	}
	changes := configs.Diff(a.current.Load(), l)
	commit, err := a.plan(l)
	if err != nil {
		return nil, err
	}
	commit()
	a.tellOpenness()
	return changes, nil
}

// Diff tells what a reload would change, and changes nothing.
func (a *App) Diff() ([]configs.Change, error) {
	l, err := Load(a.o.Config)
	if err != nil {
		return nil, err
	}
	return configs.Diff(a.current.Load(), l), nil
}

// plan builds and checks everything that a configuration needs, and changes nothing that is in force.
// commit swaps it in and can't fail.
func (a *App) plan(l *configs.Loaded) (commit func(), err error) {
	knobs := planKnobs(l.Config, l.Sources)
	secrets, err := readSecrets(l)
	if err != nil {
		return nil, err
	}
	hooks, err := webhookOptions(l)
	if err != nil {
		return nil, err
	}
	swapTracing, err := a.prepareTracing(l)
	if err != nil {
		return nil, err
	}
	swapTenants, err := a.prepareTenants(l.Config.Tenants)
	if err != nil {
		return nil, err
	}
	swapCache, err := a.cache.Prepare(a.cacheOptions(l.Config))
	if err != nil {
		return nil, err
	}
	forget, err := knobs.register(a.knobs)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			forget()
		}
	}()
	t, err := newTable(l.Config, knobs.ttl(a.knobs))
	if err != nil {
		return nil, err
	}
	a.keyTTLs(t)
	swapNodes, err := a.planNodes(l, t)
	if err != nil {
		return nil, err
	}
	return func() {
		if err := knobs.apply(a.knobs, l.Config.Tuning.Mode == string(tuner.ModeActive)); err != nil {
			a.log.Error("a knob did not take its value", "error", err) // planKnobs checked them all
		}
		_ = a.level.UnmarshalText([]byte(l.Config.Log.Level)) // configs checked it
		a.secrets.Store(secrets)
		swapTracing()
		swapTenants() // before what reads weights and shares
		swapCache()
		swapNodes()
		a.current.Store(l)
		a.applySettings(l.Config)
		a.applyAlerts(l.Config, hooks)
	}, nil
}

// planNodes prepares the nodes of t: those that go on, those that are new, those that go.
func (a *App) planNodes(l *configs.Loaded, t *table) (commit func(), err error) {
	old := a.table.Load().nodes
	t.nodes = make(map[string]*node, len(l.Config.Upstreams))
	var commits []func()
	var added []*node
	var faults []error
	for name := range l.Config.Upstreams {
		o, err := a.nodeOptions(l, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if n, ok := old[name]; ok {
			c, err := n.prepare(o)
			faults = append(faults, err)
			commits = append(commits, c)
			t.nodes[name] = n
			continue
		}
		n, err := a.newNode(name, o)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		added = append(added, n)
		t.nodes[name] = n
	}
	if err := errors.Join(faults...); err != nil {
		for _, n := range added {
			n.close()
			a.metrics.DropUpstream(n.name)
		}
		return nil, err
	}
	return func() {
		for _, c := range commits {
			c()
		}
		a.table.Store(t)
		for name, n := range old {
			if t.nodes[name] == nil {
				a.background.Go(func() { a.retire(n) })
			}
		}
	}, nil
}

// retire ends the node of an upstream that is no longer configured.
func (a *App) retire(n *node) {
	ctx, cancel := context.WithTimeout(context.Background(), retireTimeout)
	defer cancel()
	if err := n.retire(ctx); err != nil {
		a.log.Warn("calls to a removed upstream were cut", "upstream", n.name, "error", err)
	}
	if a.table.Load().nodes[n.name] == nil { // it may have come back meanwhile
		a.metrics.DropUpstream(n.name)
		a.window.Forget(n.name)
		a.flows.Delete(n.name)
	}
}

// fingerprint is that of the file and of the files that the configuration in force names.
func (a *App) fingerprint() (string, error) {
	return configs.Fingerprint(a.o.Config.Path, a.current.Load().References()...)
}

// poll looks at the file's content. A change must show twice, so that a file in the middle of a
// write is not taken.
func (a *App) poll(ctx context.Context) {
	ticker := time.NewTicker(a.o.PollInterval)
	defer ticker.Stop()
	seen := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := a.fingerprint()
		if err != nil {
			seen = "" // absent or empty: perhaps in the middle of being replaced
			continue
		}
		a.reloads.mu.Lock()
		tried := a.reloads.tried
		a.reloads.mu.Unlock()
		if now != tried && now == seen {
			_, _ = a.Reload("file changed") // logged there
		}
		seen = now
	}
}

// secrets are the secrets of the configuration in force.
type secrets struct {
	adminToken, webhook string
	tokens              []api.AdminToken
}

func readSecrets(l *configs.Loaded) (*secrets, error) {
	token, err := l.Secret(l.Config.Admin.Token)
	if err != nil {
		return nil, fmt.Errorf("admin.token: %w", err)
	}
	webhook, err := l.Secret(l.Config.Jobs.WebhookSecret)
	if err != nil {
		return nil, fmt.Errorf("jobs.webhook_secret: %w", err)
	}
	s := &secrets{adminToken: token, webhook: webhook}
	for _, name := range slices.Sorted(maps.Keys(l.Config.Admin.Tokens)) {
		t := l.Config.Admin.Tokens[name]
		secret, err := l.Secret(t.Secret())
		if err != nil {
			return nil, fmt.Errorf("admin.tokens.%s: %w", name, err)
		}
		s.tokens = append(s.tokens, api.AdminToken{Name: name, Secret: secret, ReadOnly: t.ReadOnly})
	}
	return s, nil
}

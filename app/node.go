package app

import (
	"context"
	"math"
	"time"

	"penstock/batcher"
	"penstock/configs"
	"penstock/scheduler"
	"penstock/upstream"
)

// node is the stages of one upstream: scheduler -> batcher -> client. It lives as long as its
// upstream is configured; a reload changes its options in place, so that its queue, its
// connections and its breaker live on.
type node struct {
	name      string
	client    *upstream.Client
	batcher   *batcher.Batcher
	scheduler *scheduler.Scheduler
}

// nodeOptions are the options of a node's stages.
type nodeOptions struct {
	client    upstream.Options
	batcher   batcher.Options
	scheduler scheduler.Options
}

func (a *App) newNode(name string, o nodeOptions) (*node, error) {
	n := &node{name: name}
	o.client.Retry.Room = n.room
	client, err := upstream.New(o.client, upstream.Metrics{Scope: a.metrics.Upstream(name), OnCall: a.onCall})
	if err != nil {
		return nil, err
	}
	n.client, n.batcher = client, batcher.New(o.batcher, a.tracer.Calls(name, client))
	n.scheduler = scheduler.New(o.scheduler, a.tracer.Batches(n.batcher))
	return n, nil
}

// prepare checks new options and builds what they need; commit puts them in force.
func (n *node) prepare(o nodeOptions) (commit func(), err error) {
	o.client.Retry.Room = n.room
	swap, err := n.client.Prepare(o.client)
	if err != nil {
		return nil, err
	}
	return func() {
		swap()
		n.batcher.Apply(o.batcher)
		n.scheduler.Apply(o.scheduler)
		n.scheduler.Kick()
	}, nil
}

// retire lets what is queued and in flight end, at most until ctx ends, and closes the node.
func (n *node) retire(ctx context.Context) error {
	err := n.scheduler.Drain(ctx)
	n.close()
	return err
}

// close fails what is queued and closes the connections.
func (n *node) close() {
	n.scheduler.Close()
	n.client.Close()
}

// nodeOptions maps an upstream's configuration to the options of its stages. Its knobs must have
// been registered.
func (a *App) nodeOptions(l *configs.Loaded, name string) (nodeOptions, error) {
	c := l.Config
	u, _ := c.ResolvedUpstream(name)
	scope := a.metrics.Upstream(name)
	o := nodeOptions{
		client: clientOptions(name, u),
		batcher: batcher.Options{
			Enabled: c.Batching.Enabled, Rules: batchRules(c, name), MaxItems: c.Batching.MaxItems,
			MaxAnswerBytes: int64(u.MaxResponseBytes), Scope: scope,
		},
		scheduler: scheduler.Options{
			Upstream: name, Workers: a.intKnob("workers." + name), QueueLength: u.Workers.QueueLength,
			Priorities: c.Priorities.Enabled, Weights: a.tenants.Weight, HoldMax: u.Timeouts.Total,
			BatchTarget: a.intKnob("batch.target." + name), BatchLinger: a.durationKnob("batch.linger." + name),
			PaceRate:    a.floatKnob("rate." + name),
			CoDelTarget: a.durationKnob("codel.target." + name), CoDelInterval: a.durationKnob("codel.interval." + name),
			OnWait: a.onWait(name),
			Scope:  scope,
		},
	}
	if u.Workers.QueueLength == 0 {
		o.scheduler.QueueLength = -1 // the scheduler's own zero is its default
	}
	o.client.Retry.BudgetRatio = a.floatKnob("retry.budget." + name)
	for _, r := range u.Rates {
		o.scheduler.Rates = append(o.scheduler.Rates, scheduler.Rate{Limit: r.Limit, Per: r.Per, Burst: r.Burst})
	}
	return o, o.scheduler.Validate()
}

func clientOptions(name string, u configs.Upstream) upstream.Options {
	maxIdle := u.Pool.MaxIdle
	if maxIdle == 0 {
		maxIdle = math.MaxInt32 // no limit; the stage's own zero is its default
	}
	if total := u.Timeouts.Total; total > 0 {
		u.Timeouts.ResponseHeader = min(u.Timeouts.ResponseHeader, total)
	} else {
		u.Timeouts.Total = noTimeout
	}
	o := upstream.Options{
		Name: name, BaseURL: u.BaseURL, Proxy: u.Proxy, Headers: u.Headers, MaxResponseBytes: int64(u.MaxResponseBytes),
		Timeouts: upstream.Timeouts{
			Connect: u.Timeouts.Connect, Total: u.Timeouts.Total,
			ResponseHeader: u.Timeouts.ResponseHeader,
		},
		Pool: upstream.Pool{
			MaxIdle: maxIdle, MaxIdlePerHost: min(u.Pool.MaxIdlePerHost, maxIdle), MaxPerHost: u.Pool.MaxPerHost,
			IdleTimeout: u.Pool.IdleTimeout, DisableHTTP2: !u.Pool.HTTP2,
		},
		TLS: upstream.TLS{
			CAFile: u.TLS.CAFile, CertFile: u.TLS.CertFile, KeyFile: u.TLS.KeyFile,
			ServerName: u.TLS.ServerName, InsecureSkipVerify: u.TLS.InsecureSkipVerify,
		},
		Retry: upstream.Retry{
			MaxAttempts: u.Retry.MaxAttempts, BaseDelay: u.Retry.BaseDelay, MaxDelay: u.Retry.MaxDelay,
			OnStatus: append([]int{}, u.Retry.OnStatus...), // never nil, which would mean the stage's default
		},
		Breaker: upstream.Breaker{
			Disabled: !u.Breaker.Enabled, FailureRatio: u.Breaker.FailureRatio, MinCalls: u.Breaker.MinCalls,
			Window: u.Breaker.Window, OpenFor: u.Breaker.OpenFor, HalfOpenProbes: u.Breaker.HalfOpenProbes,
		},
	}
	for _, c := range u.Credentials {
		o.Credentials = append(o.Credentials, upstream.Credential{
			Header: c.Header, Query: c.Query, Prefix: c.Prefix, Env: c.Env, File: c.File,
		})
	}
	return o
}

// batchRules are the rules of an upstream's routes, by route. Load has checked them.
func batchRules(c *configs.Config, upstreamName string) map[string]batcher.Rule {
	rules := make(map[string]batcher.Rule)
	for name := range c.Routes {
		if r, _ := c.ResolvedRoute(name); r.Upstream == upstreamName && r.Batch.Form != "" {
			rules[name] = batchRule(r.Batch)
		}
	}
	return rules
}

func batchRule(b configs.Batch) batcher.Rule {
	body, _ := b.Body.(map[string]any)
	return batcher.Rule{
		Form: batcher.Form(b.Form), Param: b.Param, Method: b.Method, Path: b.Path, Query: b.Query,
		Name: b.Name, Separator: b.Separator, Repeat: b.Repeat, Body: body, ArrayPath: b.ArrayPath, Item: b.Item,
		By: batcher.By(b.By), ItemsPath: b.ItemsPath, IDPath: b.IDPath, ItemPath: b.ItemPath,
		StatusPath: b.StatusPath, ErrorPath: b.ErrorPath, ErrorStatus: b.ErrorStatus, MissingStatus: b.MissingStatus,
		RetryMissing: b.RetryMissing, MaxItems: b.MaxItems, MaxBytes: int64(b.MaxBytes),
		IgnoreHeaders: b.IgnoreHeaders, SplitOn: b.SplitOn,
	}
}

// noTimeout stands for no bound where the stage's own zero is its default.
const noTimeout = 10 * 365 * 24 * time.Hour

// retireTimeout bounds how long the node of a removed upstream may take to end its calls.
const retireTimeout = time.Minute

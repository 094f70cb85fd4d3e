package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"penstock/cache"
	"penstock/configs"
	"penstock/engine"
)

const (
	// purgeAge is how long purges are kept for nodes that are away; purgeRecords is how many.
	purgeAge     = 24 * time.Hour
	purgeRecords = 10_000
	// purgesWaiting bounds the purges that wait for the cluster to come back; more become one of everything.
	purgesWaiting = 1000
	// clockError is by how much the clocks of nodes and cluster may differ.
	clockError = time.Minute
)

// purges carries purges to all nodes, by a log of the engine that each node reads to its end: one that was
// away carries out what it missed.
type purges struct {
	a     *App
	log   engine.Log
	run   string
	since time.Time // older purges don't concern this node's cache
	wake  chan struct{}

	mu      sync.Mutex // guards waiting
	waiting []cache.PurgeRequest
}

// purgeRecord is a purge in the log.
type purgeRecord struct {
	Run   string             `json:"run"`
	Node  string             `json:"node"`
	Purge cache.PurgeRequest `json:"purge"`
}

func (a *App) newPurges(ctx context.Context, c *configs.Config, e engine.Engine) error {
	l, err := e.Log(ctx, engine.LogOptions{Name: "purges", MaxAge: purgeAge, MaxRecords: purgeRecords, MaxBytes: 16 << 20})
	if err != nil {
		return fmt.Errorf("purges can't be shared: %w", err)
	}
	a.purges = &purges{a: a, log: l, run: a.nodes.Run(), since: a.started, wake: make(chan struct{}, 1)}
	if path := a.cacheOptions(c).PersistPath; path != "" {
		if f, err := os.Stat(path); err == nil {
			a.purges.since = f.ModTime() // what is loaded was saved then
		}
	}
	return nil
}

// tell has the other nodes purge what was purged here. It does not wait for them.
func (p *purges) tell(r cache.PurgeRequest) {
	if p == nil {
		return
	}
	p.mu.Lock()
	if p.waiting = append(p.waiting, r); len(p.waiting) > purgesWaiting {
		p.waiting = []cache.PurgeRequest{{All: true}}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// send writes the purges that wait into the log, until ctx ends.
func (p *purges) send(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		waiting := p.waiting
		p.waiting = nil
		p.mu.Unlock()
		for i, r := range waiting {
			raw, err := json.Marshal(purgeRecord{p.run, p.a.nodeName, r})
			if err == nil {
				_, err = p.log.Append(ctx, raw)
			}
			if err != nil {
				p.mu.Lock()
				p.waiting = append(waiting[i:], p.waiting...)
				p.mu.Unlock()
				rest(ctx, refollow)
				break
			}
		}
		p.mu.Lock()
		more := len(p.waiting) > 0
		p.mu.Unlock()
		if more {
			continue
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
	}
}

// follow carries out the other nodes' purges, until ctx ends.
func (p *purges) follow(ctx context.Context) {
	after := uint64(0)
	if time.Since(p.since) > purgeAge-clockError {
		p.everything("the saved cache is older than the purges that are kept")
	}
	for ctx.Err() == nil {
		if news, err := p.log.Follow(ctx, after); err == nil {
			for r := range news {
				if after > 0 && r.Seq > after+1 {
					p.everything("purges were missed while the cluster was away")
				}
				after = r.Seq
				p.carryOut(r)
			}
		}
		rest(ctx, refollow)
	}
}

func (p *purges) carryOut(r engine.Record) {
	var what purgeRecord
	if err := json.Unmarshal(r.Data, &what); err != nil || what.Run == p.run || r.Time.Before(p.since.Add(-clockError)) {
		return
	}
	n := p.a.cache.Purge(what.Purge)
	p.a.log.Info("cache purged by another node", "node", what.Node, "key", what.Purge.Key, "prefix", what.Purge.Prefix,
		"route", what.Purge.Route, "upstream", what.Purge.Upstream, "tag", what.Purge.Tag, "all", what.Purge.All, "purged", n)
}

func (p *purges) everything(why string) {
	n := p.a.cache.Purge(cache.PurgeRequest{All: true})
	if n > 0 {
		p.a.log.Warn("the whole cache was purged", "why", why, "purged", n)
	}
}

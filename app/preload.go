package app

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"penstock/cache"
	"penstock/configs"
	"penstock/knob"
	"penstock/preload"
	"penstock/request"
	"penstock/upstream"
)

const (
	preloadFile = "preload.penstock"
	// preloadSaveInterval is how often what the preloader learned is written, besides at the stop.
	preloadSaveInterval = 5 * time.Minute
	// maxPreloadFile is the largest file that is read back.
	maxPreloadFile = 1 << 30
)

func (a *App) preloadOptions(c *configs.Config) preload.Options {
	return preload.Options{
		Enabled: knob.Bool{Knob: a.mustKnob("preload.enabled")}, Threshold: a.floatKnob("preload.threshold"),
		BudgetRatio: a.floatKnob("preload.budget"), MaxItems: c.Preload.MaxItems, SessionHeader: c.Preload.SessionHeader,
		Spare: a.spare, Fresh: a.cache.Fresh, BatchMax: a.batchMax, RouteOf: a.Route, Scope: a.metrics.Process(),
	}
}

func preloadPolicy(c configs.PreloadPolicy) request.PreloadPolicy {
	p := request.PreloadPolicy{Off: !c.Enabled, Shared: c.Share}
	for _, l := range c.Links {
		p.Links = append(p.Links, request.Link{Place: l.From, Route: l.Route, Param: cmp.Or(l.Param, "id")})
	}
	return p
}

// spare reports whether an upstream can take calls that nobody asked for.
func (a *App) spare(name string) bool {
	n := a.table.Load().nodes[name]
	return n != nil && n.client.State().Breaker == upstream.BreakerClosed && n.scheduler.Spare()
}

// batchMax is how many requests of a route share a call.
func (a *App) batchMax(r *request.Route) int {
	l := a.current.Load()
	if l == nil || r == nil || !l.Config.Batching.Enabled {
		return 1
	}
	route, ok := l.Config.ResolvedRoute(r.Name)
	if !ok || route.Batch.Form == "" {
		return 1
	}
	if m := route.Batch.MaxItems; m > 0 {
		return m
	}
	return max(l.Config.Batching.MaxItems, 1)
}

// onAccess shows the preloader what the cache was asked.
func (a *App) onAccess(x cache.Access) {
	if x.Prefetch {
		return
	}
	if x.Hit {
		a.topKeys.Add(x.Key, x.Upstream, x.Route)
	}
	a.preload.Observe(preload.Access{Request: x.Request, Hit: x.Hit, ExpiresAt: x.ExpiresAt})
}

// onEvict tells the preloader what had to leave the cache. The cache is there before the preloader.
func (a *App) onEvict(tenant, key string) {
	if a.preload != nil {
		a.preload.Evicted(tenant, key)
	}
}

// savedPreload is what the preloader of an earlier process learned; nil: nothing, or it can't be read.
func (a *App) savedPreload(c *configs.Config) []byte {
	dir := a.dataDir(c)
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, preloadFile)
	if st, err := os.Stat(path); err != nil || st.Size() > maxPreloadFile {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("what the preloader learned can't be read, so it begins anew", "file", path, "error", err)
	}
	return b
}

// savePreload writes what the preloader learned, whole or not at all.
func (a *App) savePreload() {
	l := a.current.Load()
	if l == nil {
		return
	}
	dir := a.dataDir(l.Config)
	if dir == "" {
		return
	}
	b, err := a.preload.Save()
	if err == nil {
		err = replaceFile(filepath.Join(dir, preloadFile), b)
	}
	if err != nil {
		a.log.Warn("what the preloader learned can't be kept; check that data_dir can be written", "error", err)
	}
}

// replaceFile puts b in the place of a file in one step.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// keepPreload saves from time to time until ctx ends.
func (a *App) keepPreload(ctx context.Context) {
	t := time.NewTicker(preloadSaveInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			a.savePreload()
		case <-ctx.Done():
			return
		}
	}
}

package cache

import (
	"context"
	"time"
)

// Prepare checks o; commit puts it in force and can't fail. PersistPath, Scope, OnAccess and
// Logger stay as they were given to New.
func (c *Cache) Prepare(o Options) (commit func(), err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	return func() {
		old := c.settings.Load()
		o.PersistPath, o.Scope, o.OnAccess, o.Logger = old.PersistPath, old.Scope, old.OnAccess, old.Logger
		o.OnLook, o.OnEvict, o.Second = old.OnLook, old.OnEvict, old.Second
		c.settings.Store(&o)
		if o.MaxBytes != old.MaxBytes || o.entryFloor() != old.entryFloor() {
			c.store.resize(o.MaxBytes, o.entryFloor())
		}
		if o.PersistInterval != old.PersistInterval || o.CleanupInterval != old.CleanupInterval {
			c.disk.wake()
		}
	}, nil
}

// Apply is Prepare and commit in one.
func (c *Cache) Apply(o Options) error {
	commit, err := c.Prepare(o)
	if err != nil {
		return err
	}
	commit()
	return nil
}

// maintain cleans up and saves at their intervals, until Close.
func (c *Cache) maintain() {
	var lastSave, lastClean = time.Now(), time.Now()
	for {
		o := c.settings.Load()
		next := time.Hour
		if o.CleanupInterval > 0 {
			next = min(next, time.Until(lastClean.Add(o.CleanupInterval)))
		}
		if o.PersistInterval > 0 && o.PersistPath != "" {
			next = min(next, time.Until(lastSave.Add(o.PersistInterval)))
		}
		timer := time.NewTimer(max(next, 0))
		select {
		case <-c.base.Done():
			timer.Stop()
			return
		case <-c.disk.changed:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if o.CleanupInterval > 0 && time.Since(lastClean) >= o.CleanupInterval {
			c.store.otter.CleanUp()
			c.confineAll()
			lastClean = time.Now()
		}
		if o.PersistInterval > 0 && o.PersistPath != "" && time.Since(lastSave) >= o.PersistInterval {
			if err := c.Save(c.base); err != nil && c.base.Err() == nil {
				c.log.Error("cache: saving failed; check the directory of data_dir", "path", o.PersistPath, "error", err)
			}
			lastSave = time.Now()
		}
	}
}

// Save writes the cache to PersistPath; without one it does nothing.
func (c *Cache) Save(ctx context.Context) error { return c.disk.save(ctx) }

// Close ends the flights, waits for them, and saves the cache. Requests after it fail with
// ProblemShuttingDown unless stored. It may be called more than once.
func (c *Cache) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.tasks.Wait()
	if !first {
		return nil
	}
	err := c.Save(context.Background())
	c.store.close()
	c.memos.close()
	c.habits.close()
	c.failing.close()
	return err
}

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"penstock/cache"
	"penstock/configs"
	"penstock/engine"
)

// secondLevel is the cache that the nodes of a cluster share: a shelf of the engine. Its keys begin with a generation,
// which all nodes follow; a new one leaves all that was there behind.
type secondLevel struct {
	e     engine.Engine
	bytes int64

	mu         sync.Mutex // guards what follows
	shelf      engine.Shelf
	kv         engine.KV
	generation string // empty: not known yet, so nothing is read or written
	announced  bool   // the others have been told of it
}

// The second level's times.
const (
	secondRetry   = time.Second
	secondTimeout = 5 * time.Second
	generationKey = "generation"
)

var errSecondAway = errors.New("the cache that the nodes share is not there yet")

// newSecond opens the second level of a cluster's caches.
func (a *App) newSecond(c *configs.Config) cache.SecondLevel {
	if !a.shared() || a.keeper == nil || !c.Cache.L2.Enabled {
		return nil
	}
	if _, ok := a.keeper.o.engine.(engine.Shelver); !ok {
		return nil
	}
	a.second = &secondLevel{e: a.keeper.o.engine, bytes: int64(c.Cache.L2.MaxBytes)}
	return a.second
}

// follow keeps up with the generation until ctx ends.
func (s *secondLevel) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.watch(ctx); err != nil {
			s.forgetGeneration()
		}
		select {
		case <-time.After(secondRetry):
		case <-ctx.Done():
		}
	}
}

// forgetGeneration keeps the shelf from being used while others may have changed the generation unseen.
func (s *secondLevel) forgetGeneration() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.announced {
		s.generation = ""
	}
}

func (s *secondLevel) watch(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	s.announce(ctx)
	entries, err := s.kv.Watch(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(secondRetry)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-entries:
			if !ok {
				return errSecondAway
			}
			s.learn(e)
		case <-tick.C:
		}
		s.announce(ctx)
	}
}

func (s *secondLevel) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, secondTimeout)
	defer cancel()
	kv, err := s.e.KV(ctx, engine.KVOptions{Name: "cache"})
	if err != nil {
		return err
	}
	shelf, err := s.e.(engine.Shelver).Shelf(ctx, engine.ShelfOptions{Name: "answers", MaxBytes: s.bytes})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.kv, s.shelf = kv, shelf
	s.mu.Unlock()
	return nil
}

// learn takes another node's generation, unless this one has a newer one to tell of.
func (s *secondLevel) learn(e engine.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.generation != "" && !s.announced:
	case e.Current && s.generation == "":
		s.generation = rand.Text() // nobody has begun one
	case e.Key == generationKey && !e.Deleted:
		s.generation, s.announced = string(e.Value), true
	}
}

// announce tells the others of a generation that began here.
func (s *secondLevel) announce(ctx context.Context) {
	s.mu.Lock()
	generation, told, kv := s.generation, s.announced, s.kv
	s.mu.Unlock()
	if generation == "" || told || kv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, secondTimeout)
	defer cancel()
	if _, err := kv.Put(ctx, generationKey, []byte(generation)); err != nil {
		return
	}
	s.mu.Lock()
	s.announced = s.announced || s.generation == generation
	s.mu.Unlock()
}

// at gives the shelf, and the key in the generation in force.
func (s *secondLevel) at(key string) (engine.Shelf, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation == "" || s.shelf == nil {
		return nil, "", errSecondAway
	}
	return s.shelf, s.generation + "." + key, nil
}

// Get implements cache.SecondLevel.
func (s *secondLevel) Get(ctx context.Context, key string) ([]byte, error) {
	shelf, key, err := s.at(key)
	if err != nil {
		return nil, err
	}
	data, err := shelf.Get(ctx, key)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	return data, err
}

// Put implements cache.SecondLevel.
func (s *secondLevel) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	shelf, key, err := s.at(key)
	if err != nil {
		return err
	}
	return shelf.Put(ctx, key, value, ttl)
}

// Delete implements cache.SecondLevel.
func (s *secondLevel) Delete(ctx context.Context, key string) error {
	shelf, key, err := s.at(key)
	if err != nil {
		return err
	}
	return shelf.Delete(ctx, key)
}

// Clear implements cache.SecondLevel: it begins a new generation, of which the others hear as soon as they can be told.
func (s *secondLevel) Clear(ctx context.Context) error {
	s.mu.Lock()
	s.generation, s.announced = rand.Text(), false
	s.mu.Unlock()
	s.announce(ctx)
	return nil
}

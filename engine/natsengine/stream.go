package natsengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// opening is a stream, or what stands on one, that is opened when it can be: at once if the engine is
// embedded or the cluster answers, else at the first call that finds it there.
type opening[T any] struct {
	e    *Engine
	make func(ctx context.Context) (T, error)

	mu     sync.Mutex // guards what follows; held while it is opened
	opened bool
	it     T
}

// openPause is how long nothing is opened after the cluster was found away: else a start would wait for
// each stream in turn.
const openPause = 2 * time.Second

// first opens it, or leaves that for later if the cluster is away.
func (o *opening[T]) first(ctx context.Context) error {
	_, err := o.get(ctx)
	if o.e.remote != nil && errors.Is(err, engine.ErrUnavailable) && !o.e.isClosed() {
		return nil
	}
	return err
}

// get gives it.
func (o *opening[T]) get(ctx context.Context) (it T, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opened {
		return o.it, nil
	}
	if r := o.e.remote; r != nil && time.Since(time.Unix(0, r.passed.Load())) < openPause {
		return it, fmt.Errorf("%w: the cluster was away a moment ago", engine.ErrUnavailable)
	}
	err = o.e.call(ctx, func(ctx context.Context) error {
		it, err = o.make(ctx)
		return o.e.explain(err)
	})
	if err == nil {
		o.it, o.opened = it, true
	}
	return it, err
}

// do calls f with it. A stream that is gone (the cluster began anew) is made again by the next call.
func (o *opening[T]) do(ctx context.Context, f func(ctx context.Context, it T) error) error {
	it, err := o.get(ctx)
	if err != nil {
		return err
	}
	err = o.e.call(ctx, func(ctx context.Context) error { return f(ctx, it) })
	if o.e.remote != nil && (errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse)) {
		o.mu.Lock()
		o.opened = false
		o.mu.Unlock()
	}
	return err
}

func (e *Engine) isClosed() bool {
	select {
	case <-e.quit:
		return true
	default:
		return false
	}
}

// name is what a stream, bucket or store is called on the server.
func (e *Engine) name(name string) string {
	if e.remote == nil {
		return name
	}
	return e.remote.prefix + name
}

// replicas is on how many servers a stream is kept.
func (e *Engine) replicas() int {
	if e.remote == nil {
		return 1
	}
	return e.remote.o.Replicas
}

package natsengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// Options set up an Engine.
type Options struct {
	// Dir is the folder of the store, made if it is not there. Required.
	Dir string
	// SyncInterval, if not zero, is how often what was written is synced to the disk: a power cut then
	// costs the writes of so long. Zero: every write is synced before it is acknowledged.
	SyncInterval time.Duration
	// MaxStoreBytes bounds what all buckets and logs together may take on disk: default 1 GiB. Each
	// reserves its own maximum of it when it is opened.
	MaxStoreBytes int64
	// MaxMemoryBytes bounds the server's streams in memory: default 32 MiB. Penstock has none.
	MaxMemoryBytes int64
	// ReadyTimeout is how long the store may take to be read: default 30 s. An error after that.
	ReadyTimeout time.Duration
	// Log takes the server's warnings; nil: none.
	Log *slog.Logger
}

// The defaults of the options, and the bound of a call whose context has none.
const (
	DefaultMaxStoreBytes  = 1 << 30
	DefaultMaxMemoryBytes = 32 << 20
	DefaultReadyTimeout   = 30 * time.Second
	callTimeout           = 5 * time.Second
)

func (o *Options) ensureDefaults() error {
	if o.Dir == "" {
		return errors.New("natsengine: Options needs Dir")
	}
	o.MaxStoreBytes = cmp.Or(o.MaxStoreBytes, DefaultMaxStoreBytes)
	o.MaxMemoryBytes = cmp.Or(o.MaxMemoryBytes, DefaultMaxMemoryBytes)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, DefaultReadyTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Engine is an open store with its server, or a connection to a cluster. Make it with Open or Connect.
type Engine struct {
	o      Options
	server *server.Server // nil: of a cluster
	conn   *nats.Conn
	js     jetstream.JetStream
	remote *remote // nil: embedded

	mu    sync.Mutex // guards store's marker
	store *store     // nil: of a cluster

	quit      chan struct{} // closed when Close begins
	closeOnce sync.Once
	closed    chan struct{} // closed when Close is done
	closeErr  error
}

// Open opens the store in o.Dir and starts the server on it. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (_ *Engine, err error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	s, err := openStore(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, store: s, quit: make(chan struct{}), closed: make(chan struct{})}
	defer func() {
		if err != nil {
			e.stopServer()
			err = errors.Join(err, s.close())
		}
	}()
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	if err := e.replaceDamaged(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// start starts the server and connects to it.
func (e *Engine) start(ctx context.Context) error {
	faults := &serverLog{log: e.o.Log}
	srv, err := server.NewServer(&server.Options{
		ServerName: "penstock", DontListen: true, JetStream: true, StoreDir: e.store.natsDir(), SyncAlways: e.o.SyncInterval == 0,
		SyncInterval:       e.o.SyncInterval,
		JetStreamMaxMemory: e.o.MaxMemoryBytes, JetStreamMaxStore: e.o.MaxStoreBytes,
		NoSigs: true, DisableJetStreamBanner: true,
	})
	if err != nil {
		return fmt.Errorf("natsengine: %w", err)
	}
	srv.SetLoggerV2(faults, false, false, false)
	e.server = srv
	// Start reads the whole store before it returns. Of a store that it can't use it only tells the
	// log, and is never ready.
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	if !e.waitReady(ctx, started) || faults.fatal() != nil || !srv.JetStreamEnabled() || !srv.ReadyForConnections(time.Second) {
		srv.Shutdown()
		<-started
		return fmt.Errorf("the store %s did not become ready within %v; move the folder away to start with nothing kept, "+
			"or run with --ephemeral: %w", e.o.Dir, e.o.ReadyTimeout, cmp.Or(faults.fatal(), ctx.Err(), errors.New("the server gave no reason")))
	}
	return e.connect()
}

func (e *Engine) waitReady(ctx context.Context, started <-chan struct{}) bool {
	timer := time.NewTimer(e.o.ReadyTimeout)
	defer timer.Stop()
	select {
	case <-started:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (e *Engine) connect() error {
	conn, err := nats.Connect("", nats.InProcessServer(e.server), nats.Name("penstock"), nats.MaxReconnects(-1),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectWait(100*time.Millisecond),
		nats.Timeout(callTimeout), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			e.o.Log.Warn("engine: the connection reports a fault", "error", err)
		}))
	if err != nil {
		return fmt.Errorf("natsengine: connect to the embedded server: %w", err)
	}
	e.conn = conn
	e.js, err = jetstream.New(conn, jetstream.WithDefaultTimeout(callTimeout))
	return err
}

// replaceDamaged moves away the streams that the server should have found in the store and did not.
func (e *Engine) replaceDamaged(ctx context.Context) error {
	missing, err := e.missing(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	e.stopServer()
	for _, name := range missing {
		to, err := e.store.quarantine(name)
		if err != nil {
			return fmt.Errorf("the store's stream %s is damaged and could not be moved away: %w", name, err)
		}
		e.store.marker.Streams = slices.DeleteFunc(e.store.marker.Streams, func(s string) bool { return s == name })
		e.o.Log.Warn("engine: a damaged part of the store was moved away; it begins empty", "part", name, "to", to)
	}
	if err := e.store.save(); err != nil {
		return err
	}
	return e.start(ctx)
}

func (e *Engine) missing(ctx context.Context) (names []string, err error) {
	for _, name := range e.store.marker.Streams {
		_, err := e.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			names = append(names, name)
		case err != nil:
			return nil, fmt.Errorf("natsengine: look for stream %s: %w", name, err)
		}
	}
	return names, nil
}

// stopServer ends the connection and the server, and waits for both.
func (e *Engine) stopServer() {
	if e.conn != nil {
		e.conn.Close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	e.conn, e.server = nil, nil
}

// Status implements engine.Engine.
func (e *Engine) Status() engine.Status {
	s := engine.Status{Kind: "embedded"}
	if e.remote != nil {
		s.Kind = "cluster"
	}
	select {
	case <-e.quit:
		s.Detail = "it was closed"
		return s
	default:
	}
	if e.remote != nil {
		s.Detail = e.remote.fault(e.conn)
		s.OK = s.Detail == ""
		return s
	}
	if state := e.conn.Status(); state != nats.CONNECTED {
		s.Detail = "the connection to the embedded server is " + state.String()
		return s
	}
	s.OK = true
	return s
}

// Close implements engine.Engine. When ctx ends first the server goes on closing; what was
// acknowledged is on disk already.
func (e *Engine) Close(ctx context.Context) error {
	e.closeOnce.Do(func() {
		close(e.quit)
		go func() {
			defer close(e.closed)
			e.conn.Close()
			if e.server != nil {
				e.server.Shutdown()
				e.server.WaitForShutdown()
			}
			if e.store != nil {
				e.closeErr = e.store.close()
			}
		}()
	})
	select {
	case <-e.closed:
		return e.closeErr
	case <-ctx.Done():
		return fmt.Errorf("natsengine: the store is still being closed: %w", ctx.Err())
	}
}

// call runs one call to the server in bounded time and names its failure. While a cluster is away it
// fails at once.
func (e *Engine) call(ctx context.Context, f func(ctx context.Context) error) error {
	select {
	case <-e.quit:
		return fmt.Errorf("%w: it was closed", engine.ErrUnavailable)
	default:
	}
	if e.remote != nil && !e.conn.IsConnected() {
		return fmt.Errorf("%w: %s", engine.ErrUnavailable, e.remote.fault(e.conn))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f(ctx)
	if e.remote != nil {
		e.remote.answered(err)
	}
	if away(err) {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	return err
}

// opened writes down that a stream exists from now on.
func (e *Engine) opened(stream string) error {
	if e.store == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.store.remember(stream)
}

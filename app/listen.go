package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"penstock/api"
)

// server is one listener with its HTTP server.
type server struct {
	name     string
	http     *http.Server
	listener *drainListener
	failed   chan<- error // what ended Serve, if not our own closing; with room for one
	closing  atomic.Bool
	open     atomic.Int64 // connections
}

type serverOptions struct {
	name              string // the setting that holds the address, for messages
	address           string
	handler           http.Handler
	maxHeaderBytes    int
	readHeaderTimeout time.Duration
	idleTimeout       time.Duration
	log               *slog.Logger
	failed            chan<- error
	lane              bool // fresh hits are answered ahead of the server
}

// listen binds the address, so that a taken port is an error at once, and does not serve yet.
func listen(o serverOptions) (*server, error) {
	l, err := net.Listen("tcp", o.address)
	if err != nil {
		return nil, fmt.Errorf("%s: can't listen on %s (is another process there? port 0 takes a free one): %w", o.name, o.address, err)
	}
	s := &server{
		name: o.name, failed: o.failed,
		listener: &drainListener{TCPListener: l.(*net.TCPListener), closed: make(chan struct{})},
	}
	if o.lane {
		s.listener.lane = api.NewLane(o.handler, api.LaneOptions{
			IdleTimeout: o.idleTimeout, HeaderTimeout: o.readHeaderTimeout, Closed: s.closing.Load,
		})
	}
	s.http = &http.Server{
		Handler:           s.closeWhenDraining(o.handler),
		MaxHeaderBytes:    o.maxHeaderBytes,
		ReadHeaderTimeout: o.readHeaderTimeout,
		IdleTimeout:       o.idleTimeout,
		ErrorLog:          slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateIdle:
				api.AtRest(c)
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.open.Add(-1)
			}
		},
	}
	return s, nil
}

// closeWhenDraining asks clients to leave with their next answer. SetKeepAlivesEnabled(false)
// would instead cut idle connections, on which a request may be under way.
func (s *server) closeWhenDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) serve() {
	err := s.http.Serve(s.listener)
	if !errors.Is(err, http.ErrServerClosed) && !s.listener.draining.Load() {
		s.failed <- fmt.Errorf("%s: %w", s.name, err)
	}
}

func (s *server) addr() string { return s.listener.Addr().String() }

// lingerTime is how long an idle connection is left open while draining, so that a request that is
// under way on it still arrives.
const lingerTime = time.Second

// drain takes no more connections, lets those that are open end with their next answer, and waits
// for requests in flight until ctx ends; then it cuts them.
func (s *server) drain(ctx context.Context) error {
	s.listener.drain()
	s.closing.Store(true)
	linger, cancel := context.WithTimeout(ctx, lingerTime)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for s.open.Load() > 0 && linger.Err() == nil {
		select {
		case <-ticker.C:
		case <-linger.Done():
		}
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return fmt.Errorf("%s: requests were still in flight when server.drain_timeout ended: %w", s.name, err)
	}
	return nil
}

func (s *server) close() {
	_ = s.http.Close()
	_ = s.listener.Close()
}

// drainListener can be closed without resetting the connections that the kernel has already
// completed: it accepts on until none has come for acceptQuiet.
type drainListener struct {
	*net.TCPListener
	lane     *api.Lane
	draining atomic.Bool
	once     sync.Once
	closed   chan struct{}
}

const (
	acceptQuiet = 5 * time.Millisecond
	acceptMost  = 500 * time.Millisecond
)

// Accept implements net.Listener.
func (l *drainListener) Accept() (net.Conn, error) {
	for quiet := 0; ; {
		if l.draining.Load() {
			_ = l.SetDeadline(time.Now().Add(max(acceptQuiet>>quiet, acceptQuiet/64)))
		}
		c, err := l.TCPListener.Accept()
		switch {
		case err == nil:
			return l.lane.Wrap(c), nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		}
		// The first timeout, and with a race the second, may be drain's waking. A busy port is never
		// quiet for long, so each wait is shorter than the one before.
		if quiet++; quiet > 2 {
			_ = l.Close()
			return nil, net.ErrClosed
		}
	}
}

func (l *drainListener) drain() {
	l.draining.Store(true)
	_ = l.SetDeadline(time.Now()) // wakes Accept
	select {
	case <-l.closed:
	case <-time.After(acceptMost):
		_ = l.Close()
	}
}

// Close implements net.Listener. It may be called again.
func (l *drainListener) Close() (err error) {
	l.once.Do(func() {
		err = l.TCPListener.Close()
		close(l.closed)
	})
	return err
}

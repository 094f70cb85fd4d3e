package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

const (
	// maxBulk is how many streams run at once at most.
	maxBulk = 256
	// maxEndedBulk is how many streams that have ended are shown.
	maxEndedBulk = 64
	// progressInterval is how often the progress of a stream is sent.
	progressInterval = time.Second
)

// StreamProgress is how far a stream is.
type StreamProgress struct {
	ID     string `json:"id"`
	Route  string `json:"route"`
	Tenant string `json:"tenant,omitempty"`
	// State is running, done, cancelled or broken.
	State   string    `json:"state"`
	Started time.Time `json:"started"`
	// Read counts the lines that were read, Lines those that have their output: OK below 400, Failed the
	// others and the errors, Hits from the cache.
	Read   int64 `json:"read"`
	Lines  int64 `json:"lines"`
	OK     int64 `json:"ok"`
	Failed int64 `json:"failed"`
	Hits   int64 `json:"hits"`
	// Bytes is how much of the input was read, Size how much there is; 0: the client does not say.
	Bytes      int64 `json:"bytes"`
	Size       int64 `json:"size,omitempty"`
	DurationMs int64 `json:"duration_ms"`
}

// lineStream is one stream under way, or lately so.
type lineStream struct {
	id, route, tenant string
	started           time.Time
	ctx               context.Context
	stop              context.CancelCauseFunc

	read, lines, ok, failed, hits, bytes atomic.Int64
	// size is how long the input is; 0: the client does not say.
	size int64
	// outcome is how it ended, and ended when; written before done is closed.
	outcome string
	ended   time.Time
	done    chan struct{}
}

func (s *lineStream) cancel() { s.stop(nil) }

func (s *lineStream) count(l *streamLine, hit bool) {
	s.lines.Add(1)
	if l.Error == nil && l.Status < 400 {
		s.ok.Add(1)
	} else {
		s.failed.Add(1)
	}
	if hit {
		s.hits.Add(1)
	}
}

func (s *lineStream) progress() StreamProgress {
	p := StreamProgress{ID: s.id, Route: s.route, Tenant: s.tenant, State: "running", Started: s.started,
		Read: s.read.Load(), Lines: s.lines.Load(), OK: s.ok.Load(), Failed: s.failed.Load(), Hits: s.hits.Load(),
		Bytes: s.bytes.Load(), Size: s.size}
	until := time.Now()
	select {
	case <-s.done:
		p.State, until = s.outcome, s.ended
	default:
	}
	p.DurationMs = until.Sub(s.started).Milliseconds()
	return p
}

// Streams knows the streams under way, and the last ones that ended. The zero value is empty. It may be
// used at once.
type Streams struct {
	mu    sync.Mutex // guards what follows
	byID  map[string]*lineStream
	ended []string // oldest first
}

// begin makes a stream. It ends with ctx, or when it is cancelled.
func (b *Streams) begin(ctx context.Context, route, tenant string, size int64) (*lineStream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.byID)-len(b.ended) >= maxBulk {
		return nil, &request.Error{Problem: request.ProblemReducedCapacity, RetryAfter: 10 * time.Second,
			Detail: fmt.Sprintf("%d streams run already; wait until one has ended", maxBulk)}
	}
	if b.byID == nil {
		b.byID = make(map[string]*lineStream)
	}
	s := &lineStream{id: newID(), route: route, tenant: tenant, size: size, started: time.Now(), done: make(chan struct{})}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	b.byID[s.id] = s
	return s, nil
}

// end writes down how a stream ended.
func (b *Streams) end(s *lineStream, err error) {
	switch {
	case err == nil:
		s.outcome = "done"
	case errors.Is(context.Cause(s.ctx), errStreamCancelled):
		s.outcome = "cancelled"
	default:
		s.outcome = "broken"
	}
	s.ended = time.Now()
	close(s.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended = append(b.ended, s.id); len(b.ended) > maxEndedBulk {
		delete(b.byID, b.ended[0])
		b.ended = slices.Delete(b.ended, 0, 1)
	}
}

// List gives the streams of a tenant, or of all if it is nil, the newest first.
func (b *Streams) List(tenant *string) []StreamProgress {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []StreamProgress{}
	for _, s := range b.byID {
		if tenant == nil || s.tenant == *tenant {
			all = append(all, s.progress())
		}
	}
	slices.SortFunc(all, func(a, b StreamProgress) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// ownStream finds the tenant's stream that the path names. Another tenant's is not there.
func (d *data) ownStream(w http.ResponseWriter, r *http.Request) (*lineStream, error) {
	tenant, err := d.identify(w, r)
	if err != nil {
		return nil, err
	}
	return d.bulk.find(chi.URLParam(r, "id"), &tenant.Name)
}

// find finds a stream, of one tenant if that is not nil.
func (b *Streams) find(id string, tenant *string) (*lineStream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.byID[id]
	if s == nil || tenant != nil && s.tenant != *tenant {
		return nil, &request.Error{Problem: request.ProblemNotFound,
			Detail: fmt.Sprintf("there is no stream %.100q on this node; X-Stream-Id of its answer names it", id)}
	}
	return s, nil
}

// cancelled ends a stream, if it has not ended, and gives its last state.
func (s *lineStream) cancelled(ctx context.Context) (StreamProgress, error) {
	s.stop(errStreamCancelled)
	select {
	case <-s.done:
		return s.progress(), nil
	case <-ctx.Done():
		return StreamProgress{}, ctx.Err()
	}
}

// serveStreams lists the tenant's streams.
func (d *data) serveStreams(w http.ResponseWriter, r *http.Request) {
	tenant, err := d.identify(w, r)
	if err != nil {
		d.fail(w, r, exchangeOf(r), err)
		return
	}
	d.writeJSON(w, r, http.StatusOK, map[string]any{"streams": d.bulk.List(&tenant.Name)})
}

// serveStreamCancel ends a stream.
func (d *data) serveStreamCancel(w http.ResponseWriter, r *http.Request) {
	s, err := d.ownStream(w, r)
	var p StreamProgress
	if err == nil {
		p, err = s.cancelled(r.Context())
	}
	if err != nil {
		d.fail(w, r, exchangeOf(r), err)
		return
	}
	d.writeJSON(w, r, http.StatusOK, p)
}

// serveStreamEvents sends the progress of a stream each second, until it has ended.
func (d *data) serveStreamEvents(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	s, err := d.ownStream(w, r)
	if err == nil && d.streams.Add(1) > maxJobStreams {
		err = request.Errorf(request.ProblemReducedCapacity, "%d event streams are open already; close some", maxJobStreams)
	}
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	defer d.streams.Add(-1)
	e := startEvents(w, x)
	defer e.end()
	wake := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(x)
	var ticking sync.WaitGroup
	defer ticking.Wait()
	defer cancel()
	ticking.Go(func() { tick(ctx, s.done, wake) })
	n := 0
	e.run(x, wake, func() error {
		p := s.progress()
		raw, err := json.Marshal(p)
		if err != nil {
			return err
		}
		n++
		if err := e.send("progress", strconv.Itoa(n), raw); err != nil {
			return err
		}
		if p.State != "running" {
			return errJobEnded
		}
		return nil
	})
}

// tick wakes each second and once when done is closed, until ctx ends.
func tick(ctx context.Context, done <-chan struct{}, wake chan<- struct{}) {
	t := time.NewTicker(progressInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-done:
			done = nil
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

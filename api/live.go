package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"penstock/request"
)

// maxViewers is how many live streams the admin plane has open at most.
const maxViewers = 512

// Live hands one snapshot at a time to all who watch. A snapshot is made and marshalled when the first
// viewer asks for it after a Tick, and shared by all; with no viewer none is made. Nothing is buffered for a
// viewer: one that is slow finds the newest snapshot when it comes back.
type Live struct {
	build func() any

	mu      sync.Mutex // guards what follows
	at      time.Time  // of the last Tick
	viewers map[chan struct{}]struct{}

	making sync.Mutex // held while a frame is made; guards last
	last   *frame
}

// frame is one snapshot, as it is sent.
type frame struct {
	id    int64
	json  []byte
	event []byte // the whole server-sent event
}

// NewLive returns a Live whose snapshots build makes. build is called by one goroutine at a time.
func NewLive(build func() any) *Live {
	return &Live{build: build, viewers: make(map[chan struct{}]struct{})}
}

// Tick says that there is something new since at. It never waits.
func (l *Live) Tick(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
	for wake := range l.viewers {
		select {
		case wake <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}

// Viewers is how many watch now.
func (l *Live) Viewers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.viewers)
}

// watch adds a viewer; false: there are too many.
func (l *Live) watch() (wake chan struct{}, leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) >= maxViewers {
		return nil, nil, false
	}
	wake = make(chan struct{}, 1)
	l.viewers[wake] = struct{}{}
	return wake, func() {
		l.mu.Lock()
		delete(l.viewers, wake)
		l.mu.Unlock()
	}, true
}

// frame is the snapshot of the last Tick, made now if nobody has asked for it yet.
func (l *Live) frame() (*frame, error) {
	l.mu.Lock()
	id := l.at.UnixMilli()
	l.mu.Unlock()
	l.making.Lock()
	defer l.making.Unlock()
	if l.last != nil && l.last.id >= id && l.last.id != 0 {
		return l.last, nil
	}
	b, err := json.Marshal(l.build())
	if err != nil {
		return nil, err
	}
	var e bytes.Buffer
	e.Grow(len(b) + 64)
	fmt.Fprintf(&e, "id: %d\nevent: now\ndata: %s\n\n", id, b)
	l.last = &frame{id: id, json: append(b, '\n'), event: e.Bytes()}
	return l.last, nil
}

// serveNow answers the newest snapshot.
func (a *admin) serveNow(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	f, err := a.o.Live.frame()
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	x.status = http.StatusOK
	_, _ = w.Write(f.json)
}

// serveLive sends each snapshot as a server-sent event.
func (a *admin) serveLive(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	wake, leave, ok := a.o.Live.watch()
	if !ok {
		a.fail(w, r, x, &request.Error{Problem: request.ProblemReducedCapacity, RetryAfter: streamRetry,
			Detail: fmt.Sprintf("%d viewers watch, which is the most; close one", maxViewers)})
		return
	}
	defer leave()
	e := startEvents(w, x)
	defer e.end()
	if r.Method == http.MethodHead {
		return
	}
	var sent *frame
	e.run(r.Context(), wake, func() error {
		f, err := a.o.Live.frame()
		if err != nil || f == sent {
			return err
		}
		sent = f
		return e.write(f.event)
	})
}

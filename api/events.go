package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	// eventKeepAlive is how often a comment is sent, so that proxies and clients see the stream live.
	eventKeepAlive = 15 * time.Second
	// eventTimeout is how long a client may take to accept an event before it is dropped.
	eventTimeout = 10 * time.Second
	// streamRetry is when a client should come back after the end of a stream.
	streamRetry = 2 * time.Second
	// maxStreams is how many event streams the admin plane has open at most.
	maxStreams = 64
)

// events writes server-sent events to one client. A client that does not read is dropped, never
// waited for; nothing is buffered for it.
type events struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// startEvents begins the answer.
func startEvents(w http.ResponseWriter, x *exchange) *events {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	x.status = http.StatusOK
	w.WriteHeader(http.StatusOK)
	return &events{w: w, rc: http.NewResponseController(w)}
}

// end takes the deadline off a connection that lives on.
func (e *events) end() { _ = e.rc.SetWriteDeadline(time.Time{}) }

// run calls send at the start and at each token of wake, with keep-alive comments between, until ctx
// ends or the client is gone.
func (e *events) run(ctx context.Context, wake <-chan struct{}, send func() error) {
	if e.write(fmt.Appendf(nil, "retry: %d\n\n", streamRetry.Milliseconds())) != nil || send() != nil {
		return
	}
	ticker := time.NewTicker(eventKeepAlive)
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-wake:
			err = send()
		case <-ticker.C:
			err = e.write([]byte(": alive\n\n"))
		}
		if err != nil {
			return
		}
	}
}

// send writes one event. data must hold no line break, which JSON doesn't.
func (e *events) send(name, id string, data []byte) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", id, name, data)
	return e.write(b.Bytes())
}

func (e *events) write(b []byte) error {
	_ = e.rc.SetWriteDeadline(time.Now().Add(eventTimeout)) // a writer without deadlines is a test's
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.rc.Flush()
}

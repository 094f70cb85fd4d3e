package observe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"penstock/request"
)

// measuredBody reports, once, how a streamed answer ended.
type measuredBody struct {
	io.ReadCloser
	status int
	length int64 // how many bytes make it whole, -1 if unknown
	done   func(outcome string, bytes int64)

	mu    sync.Mutex // guards what follows; Close may come from another goroutine than Read
	bytes int64
	ended bool
}

// newMeasuredBody wraps the body of a, keeping its WriteTo if it has one.
func newMeasuredBody(a *request.Response, length int64, done func(outcome string, bytes int64)) io.ReadCloser {
	b := &measuredBody{ReadCloser: a.Body, status: a.Status, length: length, done: done}
	if _, ok := a.Body.(io.WriterTo); ok {
		return &measuredWriterTo{b}
	}
	return b
}

// bodyLength is how long the answer's body will be: the announced length, but nothing where HTTP says
// that there is no body whatever Content-Length says (RFC 9110, section 6.4.1).
func bodyLength(method string, a *request.Response) int64 {
	if method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		return 0
	}
	return a.ContentLength
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.add(int64(n))
	if err == io.EOF {
		b.end(statusClass(b.status))
	} else if err != nil {
		b.end(brokenOutcome(err))
	}
	return n, err
}

// Close ends the measuring. A body closed before its end was given up by the client, unless all
// that was announced has been read.
func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.mu.Lock()
	whole := b.length >= 0 && b.bytes >= b.length
	b.mu.Unlock()
	if whole {
		b.end(statusClass(b.status))
	} else {
		b.end(string(request.ProblemClientClosed))
	}
	return err
}

func (b *measuredBody) add(n int64) {
	b.mu.Lock()
	b.bytes += n
	b.mu.Unlock()
}

func (b *measuredBody) end(outcome string) {
	b.mu.Lock()
	ended, bytes := b.ended, b.bytes
	b.ended = true
	b.mu.Unlock()
	if !ended {
		b.done(outcome, bytes)
	}
}

// brokenOutcome names the outcome of an answer whose body failed.
func brokenOutcome(err error) string {
	var e *request.Error
	switch {
	case errors.As(err, &e):
		return string(e.Problem)
	case errors.Is(err, context.DeadlineExceeded):
		return string(request.ProblemDeadline)
	case errors.Is(err, context.Canceled):
		return string(request.ProblemClientClosed)
	}
	return string(request.ProblemUpstreamInvalid)
}

type measuredWriterTo struct{ *measuredBody }

// WriteTo writes the rest of the body. A failing writer is the client gone; a failing body tells by
// its own error.
func (b *measuredWriterTo) WriteTo(w io.Writer) (int64, error) {
	t := &trackedWriter{w: w}
	n, err := b.ReadCloser.(io.WriterTo).WriteTo(t)
	b.add(n)
	switch {
	case err == nil:
		b.end(statusClass(b.status))
	case t.failed:
		b.end(string(request.ProblemClientClosed))
	default:
		b.end(brokenOutcome(err))
	}
	return n, err
}

// trackedWriter remembers whether it was the writer that failed.
type trackedWriter struct {
	w      io.Writer
	failed bool
}

func (t *trackedWriter) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	if err != nil {
		t.failed = true
	}
	return n, err
}

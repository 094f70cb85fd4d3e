package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errLongStream is the fault of a stream with more bytes than it announced.
var errLongStream = errors.New("the body is longer than its Content-Length")

// stream is a request body that is sent once. It remembers why it could not be read, so that the
// upstream is not blamed for it.
//
// net/http's transport does not return before the body's Read has, not even when the context has
// ended, and a server's request body can't be closed while it is read. So that a client that sends
// nothing can't hold a call beyond its time, the client's body is read on a goroutine of its own
// (pump), which ends when that Read returns, at the latest with the client's connection.
type stream struct {
	ctx    context.Context // the request's
	rc     io.ReadCloser   // only pump reads it
	length int64           // -1: unknown
	read   atomic.Int64
	fault  atomic.Pointer[error]
	// waiting: the client is what is waited for.
	waiting atomic.Bool

	start, stop sync.Once
	ask         chan struct{}
	chunks      chan chunk
	done        chan struct{} // closed by Close
	rest        chunk         // only Read's goroutine uses it
}

// chunk is what one Read of the client's body gave. data is pump's buffer, and the reader's until
// it asks again.
type chunk struct {
	data []byte
	err  error
}

const pumpBytes = 32 << 10

func newStream(ctx context.Context, rc io.ReadCloser, length int64) *stream {
	return &stream{
		ctx: ctx, rc: rc, length: length,
		ask: make(chan struct{}), chunks: make(chan chunk, 1), done: make(chan struct{}),
	}
}

func (s *stream) pump() {
	buf := make([]byte, pumpBytes)
	for {
		select {
		case <-s.ask:
		case <-s.done:
			return
		}
		n, err := s.rc.Read(buf)
		s.chunks <- chunk{buf[:n], err}
	}
}

// Read reads on. It ends with the request's context and with Close.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest.data) == 0 && s.rest.err == nil {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest.data)
	s.rest.data = s.rest.data[n:]
	if len(s.rest.data) > 0 {
		return n, nil
	}
	return n, s.rest.err
}

// next takes the next chunk from pump.
func (s *stream) next() error {
	s.start.Do(func() { go s.pump() })
	s.waiting.Store(true)
	select {
	case <-s.done: // either this is seen here, or Close sees waiting
		return io.ErrClosedPipe
	default:
	}
	select {
	case s.ask <- struct{}{}:
	case <-s.done:
		return io.ErrClosedPipe
	}
	select {
	case s.rest = <-s.chunks:
	case <-s.ctx.Done():
		s.rest.err = context.Cause(s.ctx)
		return s.rest.err
	case <-s.done:
		s.rest.err = io.ErrClosedPipe
		return s.rest.err
	}
	s.waiting.Store(false)
	read := s.read.Add(int64(len(s.rest.data)))
	switch err := s.rest.err; {
	case s.length >= 0 && read > s.length:
		s.fail(errLongStream)
	case err == io.EOF && read < s.length:
		s.rest.err = io.ErrUnexpectedEOF
		s.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		s.fail(err)
	}
	return nil
}

func (s *stream) fail(err error) { s.fault.CompareAndSwap(nil, &err) }

// failed is why the stream could not be read, nil if it could.
func (s *stream) failed() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close closes the body, once, whoever comes first. It does not wait for a client that is slow.
func (s *stream) Close() error {
	var err error
	s.stop.Do(func() {
		close(s.done)
		if s.waiting.Load() {
			go s.rc.Close() // a server's body waits for its Read to return
			return
		}
		err = s.rc.Close()
	})
	return err
}

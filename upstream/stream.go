package upstream

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errLongStream is the fault of a stream with more bytes than it announced.
var errLongStream = errors.New("the body is longer than its Content-Length")

// stream is a request body that is sent once. It remembers why it could not be read, so that the
// upstream is not blamed for it. The transport may read it while Do's caller closes it.
type stream struct {
	rc     io.ReadCloser
	length int64 // -1: unknown
	read   atomic.Int64
	fault  atomic.Pointer[error]
	closed atomic.Bool
	once   sync.Once
}

// Read reads on.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.rc.Read(p)
	read := s.read.Add(int64(n))
	switch {
	case s.length >= 0 && read > s.length:
		s.fail(errLongStream)
	case err == io.EOF && read < s.length:
		s.fail(io.ErrUnexpectedEOF)
		err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		s.fail(err)
	}
	return n, err
}

func (s *stream) fail(err error) {
	if !s.closed.Load() {
		s.fault.CompareAndSwap(nil, &err)
	}
}

// failed is why the stream could not be read, nil if it could.
func (s *stream) failed() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close closes the body, once, whoever comes first.
func (s *stream) Close() (err error) {
	s.once.Do(func() {
		s.closed.Store(true)
		err = s.rc.Close()
	})
	return err
}

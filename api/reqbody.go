package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"penstock/request"
)

// holdBytes is how large a body may be to be held in memory, so that it can be sent again.
const holdBytes = 64 << 10

// takeBody moves r's body into req: into Data if it is small, else as a Stream of at most limit
// bytes, which is returned too.
func takeBody(w http.ResponseWriter, r *http.Request, req *request.Request, limit int64) (*boundedBody, error) {
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	hold := min(holdBytes, limit)
	size := hold + 1 // one more, to see that there is no more
	if r.ContentLength > 0 {
		size = min(size, r.ContentLength)
	}
	head := make([]byte, size)
	n, err := io.ReadFull(r.Body, head)
	head = head[:n]
	whole := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && r.ContentLength < 0 ||
		err == nil && int64(n) == r.ContentLength && int64(n) <= hold
	switch {
	case whole:
		if n > 0 {
			req.Data, req.Key = head, ""
		}
		return nil, nil
	case err != nil:
		return nil, request.Errorf(request.ProblemBadRequest, "the body broke off after %d bytes: %w", n, err)
	case limit <= holdBytes:
		return nil, bodyTooLarge(limit)
	}
	// The upstream may answer before it has read all; then both directions are open at once.
	_ = http.NewResponseController(w).EnableFullDuplex()
	body := &boundedBody{head: head, rest: r.Body, limit: limit, left: limit}
	req.Stream, req.StreamLength, req.Key = body, r.ContentLength, ""
	return body, nil
}

func bodyTooLarge(limit int64) *request.Error {
	return &request.Error{Problem: request.ProblemBodyTooLarge,
		Detail: fmt.Sprintf("the body is over %d bytes; send less or raise server.max_body_bytes", limit)}
}

// boundedBody is a body of which the head was read already; it fails once it is over its limit.
type boundedBody struct {
	head  []byte
	rest  io.ReadCloser
	limit int64
	left  int64
	over  atomic.Bool // read by the handler while the upstream's goroutine may still read on
}

// Read gives the head, then the rest.
func (b *boundedBody) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		b.left -= int64(n)
		return n, nil
	}
	if b.over.Load() {
		return 0, bodyTooLarge(b.limit)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.rest.Read(p)
	if int64(n) > b.left {
		b.over.Store(true)
		return int(b.left), bodyTooLarge(b.limit)
	}
	b.left -= int64(n)
	return n, err
}

// Close closes the client's side.
func (b *boundedBody) Close() error { return b.rest.Close() }

// readBody reads a whole body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, bodyTooLarge(limit)
	}
	if err != nil {
		return nil, request.Errorf(request.ProblemBadRequest, "the body broke off after %d bytes: %w", len(b), err)
	}
	return b, nil
}

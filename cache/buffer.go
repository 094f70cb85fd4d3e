package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

const (
	// windowBytes is how far the slowest reader of a body that is not kept may lag behind.
	windowBytes = 1 << 20
	minChunk    = 4 << 10
	maxChunk    = 64 << 10
	// maxFirstChunk bounds what an announced length makes us allocate before any byte came.
	maxFirstChunk = 256 << 10
)

var errReaderClosed = errors.New("read from a closed body")

// chunk is a piece of a body. The bytes below len(data) never change; its capacity beyond that
// belongs to the writer.
type chunk struct {
	data []byte
	next *chunk
}

// buffer is a body that grows while it is read: one writer (the flight), any number of readers,
// each at its own pace.
//
// It is kept whole from its start, so that readers may join and it can be stored, until window
// is called. From then on it holds only what attached readers have not read yet: chunks are a
// linked list without a head, which the readers' own positions keep alive. The writer then
// pauses while the slowest reader is more than windowBytes behind.
type buffer struct {
	mu       sync.Mutex // guards all below
	head     *chunk     // nil once windowed
	tail     *chunk
	size     int64 // bytes written
	windowed bool
	// length is how long the body will be if its sender is right and it is to be kept, else -1. whole, once it is
	// made, has all of it from the start: the chunks after the first lie in it, so that a body is not put
	// together from pieces at its end.
	length  int64
	whole   []byte
	done    bool
	err     error // how it ended, io.EOF if well
	trailer http.Header
	readers map[*reader]struct{}
	grown   chan struct{} // closed and replaced when readers may go on
	room    chan struct{} // closed when the writer may go on, nil if it does not wait
}

func newBuffer(length int64) *buffer {
	first := int64(minChunk)
	if length > 0 {
		first = min(length, maxFirstChunk)
	}
	c := &chunk{data: make([]byte, 0, first)}
	return &buffer{length: length, head: c, tail: c, readers: make(map[*reader]struct{}), grown: make(chan struct{})}
}

// space is where the writer puts the next bytes. Writer only.
func (b *buffer) space() []byte {
	t := b.tail // only the writer changes it
	if len(t.data) == cap(t.data) {
		n := b.more(t)
		b.mu.Lock()
		t.next, b.tail = n, n
		b.mu.Unlock()
		t = n
	}
	return t.data[len(t.data):cap(t.data)]
}

// more is the chunk after t, which is full. Writer only.
func (b *buffer) more(t *chunk) *chunk {
	b.mu.Lock()
	first, read := b.head == t, b.size
	b.mu.Unlock()
	if first && b.length > read { // so much has come that the rest is believed
		b.whole = append(make([]byte, 0, b.length), t.data...)
		return &chunk{data: b.whole[read:read:b.length]}
	}
	return &chunk{data: make([]byte, 0, min(max(2*cap(t.data), minChunk), maxChunk))}
}

// commit makes the first n bytes of space readable. Writer only.
func (b *buffer) commit(n int) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.tail.data = b.tail.data[:len(b.tail.data)+n]
	b.size += int64(n)
	b.wake()
	b.mu.Unlock()
}

// finish ends the body with err, io.EOF if it is complete. Writer only.
func (b *buffer) finish(err error, trailer http.Header) {
	b.mu.Lock()
	b.done, b.err, b.trailer = true, err, trailer
	b.wake()
	b.mu.Unlock()
}

// ended reports whether finish was called.
func (b *buffer) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done
}

// wake is called with mu held.
func (b *buffer) wake() {
	close(b.grown)
	b.grown = make(chan struct{})
}

// window stops keeping what was read: no reader can attach any more.
func (b *buffer) window() {
	b.mu.Lock()
	b.head, b.windowed = nil, true
	b.mu.Unlock()
}

// awaitRoom waits until the slowest reader is near enough. Writer only.
func (b *buffer) awaitRoom(ctx context.Context) error {
	for {
		b.mu.Lock()
		if !b.windowed || b.lag() <= windowBytes {
			b.mu.Unlock()
			return nil
		}
		room := make(chan struct{})
		b.room = room
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitSize waits until size bytes have come or the body has ended, and gives the error if it ended badly.
func (b *buffer) awaitSize(ctx context.Context, size int64) error {
	for {
		b.mu.Lock()
		done, err, enough, grown := b.done, b.err, b.size >= size, b.grown
		b.mu.Unlock()
		switch {
		case done && err != io.EOF:
			return err
		case done || enough:
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return gone(ctx)
		}
	}
}

// lag is how far the slowest reader is behind; called with mu held.
func (b *buffer) lag() int64 {
	var most int64
	for r := range b.readers {
		most = max(most, b.size-r.pos)
	}
	return most
}

// signalRoom is called with mu held whenever lag may have shrunk.
func (b *buffer) signalRoom() {
	if b.room != nil && b.lag() <= windowBytes {
		close(b.room)
		b.room = nil
	}
}

// bytes is the whole body as one slice, with the first unseen bytes of space, nil if it is windowed.
// Writer only.
func (b *buffer) bytes(unseen int) []byte {
	b.mu.Lock()
	head, tail, size := b.head, b.tail, b.size+int64(unseen)
	b.mu.Unlock()
	if head == nil {
		return nil
	}
	last := tail.data[:len(tail.data)+unseen]
	if head == tail && cap(last)-len(last) <= len(last)/8 {
		return last[:len(last):len(last)]
	}
	if size <= int64(cap(b.whole)) && size > 0 {
		return b.whole[:size:size]
	}
	all := make([]byte, 0, size)
	for c := head; c != tail; c = c.next {
		all = append(all, c.data...)
	}
	return append(all, last...)
}

// attach adds a reader from the start of the body, or returns nil if that is gone. The reader
// ends with ctx. onLeave is called once, with no lock held, when it is closed or ctx ends.
func (b *buffer) attach(ctx context.Context, onLeave func()) *reader {
	b.mu.Lock()
	if b.head == nil {
		b.mu.Unlock()
		return nil
	}
	r := &reader{b: b, ctx: ctx, at: b.head, onLeave: onLeave}
	b.readers[r] = struct{}{}
	b.mu.Unlock()
	if ctx.Done() != nil {
		r.stop = context.AfterFunc(ctx, r.leave)
	}
	return r
}

// reader is one reader of a buffer; an io.ReadCloser for one goroutine.
type reader struct {
	b   *buffer
	ctx context.Context
	// trailer, if not nil, gets the values of its names when the body has ended.
	trailer http.Header
	stop    func() bool
	onLeave func()

	at     *chunk // guarded by b.mu, as all below
	off    int
	pos    int64
	left   bool
	closed bool
}

// Read gives what is there, and waits only if nothing is.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		piece, wait, err := r.take(len(p))
		if len(piece) > 0 {
			return copy(p, piece), nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-wait:
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
}

// take moves on by at most n bytes, or gives the end, or a channel to wait on.
func (r *reader) take(n int) (piece []byte, wait <-chan struct{}, err error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.closed {
		return nil, nil, errReaderClosed
	}
	if r.left {
		return nil, nil, context.Cause(r.ctx)
	}
	for r.off == len(r.at.data) && r.at.next != nil {
		r.at, r.off = r.at.next, 0
	}
	if avail := len(r.at.data) - r.off; avail > 0 {
		n = min(n, avail)
		piece = r.at.data[r.off : r.off+n]
		r.off += n
		r.pos += int64(n)
		b.signalRoom()
		return piece, nil, nil
	}
	if !b.done {
		return nil, b.grown, nil
	}
	if r.trailer != nil && b.err == io.EOF {
		for name := range r.trailer {
			r.trailer[name] = b.trailer[name]
		}
	}
	return nil, nil, b.err
}

// Close lets go of the body. It may be called at any time, and more than once.
func (r *reader) Close() error {
	r.b.mu.Lock()
	r.closed = true
	r.b.mu.Unlock()
	if r.stop != nil {
		r.stop()
	}
	r.leave()
	return nil
}

func (r *reader) leave() {
	b := r.b
	b.mu.Lock()
	if r.left {
		b.mu.Unlock()
		return
	}
	r.left = true
	r.at = &chunk{}
	delete(b.readers, r)
	b.signalRoom()
	b.mu.Unlock()
	if r.onLeave != nil {
		r.onLeave()
	}
}

package resume

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
)

const (
	// windowLines and windowBytes bound what was read and has no answer yet. It is more than a service has
	// inside of one stream, so that it never waits for it.
	windowLines = 1 << 14
	windowBytes = 16 << 20
	// maxLine is where a line is cut off that is too long for any service, which will say so.
	maxLine = 64 << 20
)

// entry is a line of the input that waits for its answer; raw is nil when it has come.
type entry struct {
	number int64
	raw    []byte
}

// window holds the lines that were read from the input and have no answer yet, in their order, so that
// they can be sent again when the connection breaks, also where the input can't be read twice.
type window struct {
	answered *answered
	progress *Progress

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // something of it did
	lines   []entry
	open    int // entries without an answer
	bytes   int // of these
	next    int // of lines: what is to be sent next in this stream
	sent    int64
	read    int64 // the number of the last line that was read
	ended   bool  // the input did
	fault   error // of the input
	closed  bool
}

func newWindow(a *answered, p *Progress) *window {
	w := &window{answered: a, progress: p}
	w.changed.L = &w.mu
	return w
}

// fill reads the input to its end, or until the window is closed. It blocks while the window is full.
func (w *window) fill(in io.Reader) {
	r := bufio.NewReaderSize(in, 64<<10)
	var line []byte
	for number := int64(1); ; number++ {
		line = line[:0]
		size := 0
		var err error
		for {
			var part []byte
			part, err = r.ReadSlice('\n')
			size += len(part)
			line = append(line, part[:min(len(part), max(0, maxLine-len(line)))]...)
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if size > 0 && !w.put(number, line, size) {
			return
		}
		if err != nil {
			w.end(err)
			return
		}
	}
}

// put takes a line that wants an answer; false: the window is closed.
func (w *window) put(number int64, line []byte, size int) bool {
	text := bytes.TrimSpace(line)
	w.progress.read(size, len(text) > 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = number
	switch {
	case len(text) == 0:
		w.answered.add(number) // the service gives none to a blank line
		return !w.closed
	case w.answered.has(number):
		return !w.closed
	}
	for !w.closed && w.open > 0 && (w.open >= windowLines || w.bytes+len(text) > windowBytes) {
		w.changed.Wait()
	}
	w.lines = append(w.lines, entry{number, slices.Clone(text)})
	w.open++
	w.bytes += len(text)
	w.changed.Broadcast()
	return !w.closed
}

func (w *window) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if !errors.Is(err, io.EOF) {
		w.fault = err
	}
	w.progress.ended()
	w.changed.Broadcast()
}

// close ends all waiting.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
}

// begin waits for a line that wants an answer and begins to send with the first of them; false: there
// is none, and won't be.
func (w *window) begin() (offset int64, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && !w.ended && w.open == 0 {
		w.changed.Wait()
	}
	if w.open == 0 || w.closed {
		return 0, false, w.fault
	}
	w.compact()
	w.next, w.sent = 0, w.lines[0].number-1
	return w.sent, true, nil
}

// rest is about how many bytes of the input want to be sent; 0: nobody knows.
func (w *window) rest() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	unread := w.progress.unread()
	if unread < 0 {
		return 0
	}
	return unread + int64(w.bytes+w.open)
}

// compact drops what has its answer.
func (w *window) compact() {
	before := len(w.lines)
	sent := w.next
	kept := w.lines[:0]
	for i, e := range w.lines {
		if e.raw != nil {
			kept = append(kept, e)
		} else if i < w.next {
			sent--
		}
	}
	clear(w.lines[len(kept):before])
	w.lines, w.next = kept, sent
}

// answer takes note that a line has its answer; false: it had one, or was never sent.
func (w *window) answer(number int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := slices.BinarySearchFunc(w.lines, number, func(e entry, n int64) int { return int(e.number - n) })
	if !ok || i >= w.next || w.lines[i].raw == nil {
		return false
	}
	w.open--
	w.bytes -= len(w.lines[i].raw)
	w.lines[i].raw = nil
	w.answered.add(number)
	if len(w.lines) > 2*w.open+1024 {
		w.compact()
	}
	w.changed.Broadcast()
	return true
}

// sending is the body of one stream: what is in the window and what comes into it.
type sending struct {
	w      *window
	mu     sync.Mutex // guards what follows; held while Read waits
	rest   []byte     // of what is to be sent
	buffer []byte
	closed bool // guarded by w.mu
}

// blanks stand for lines that need no answer.
var blanks = bytes.Repeat([]byte{'\n'}, 4<<10)

// Read implements io.Reader. It gives a blank line for each that needs no answer.
func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		if len(s.rest) == 0 {
			more, err := s.line(n == 0)
			if err != nil && n == 0 {
				return 0, err
			}
			if !more {
				break
			}
		}
		c := copy(p[n:], s.rest)
		n, s.rest = n+c, s.rest[c:]
	}
	return n, nil
}

// line takes the next line of the window; false: there is none now, and it was not to be waited for.
func (s *sending) line(wait bool) (bool, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.next < len(w.lines) && w.lines[w.next].raw == nil {
			w.next++
		}
		switch {
		case s.closed || w.closed:
			return false, errors.New("the stream was closed")
		case w.next < len(w.lines):
			e := w.lines[w.next]
			if gap := e.number - w.sent - 1; gap > 0 {
				s.rest = blanks[:min(gap, int64(len(blanks)))]
				w.sent += int64(len(s.rest))
				return true, nil
			}
			s.buffer = append(append(s.buffer[:0], e.raw...), '\n')
			s.rest = s.buffer
			w.sent = e.number
			w.next++
			return true, nil
		case w.ended && w.fault != nil:
			return false, w.fault
		case w.ended:
			return false, io.EOF
		case !wait:
			return false, nil
		}
		w.changed.Wait()
	}
}

// Close has Read give nothing more; the window can be sent anew then.
func (s *sending) Close() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.closed = true
	s.w.changed.Broadcast()
	return nil
}

package bulk

import (
	"net/http"

	"penstock/request"
)

// Line is one line on its way.
type Line struct {
	// Number is the line's own: its place in the input, from 1, or what it says itself.
	Number int64
	// Raw is what was read, without the line break. Encode replaces it by what is to be written.
	Raw []byte

	// Request is what decode made of it.
	Request *request.Request
	// Same, if not nil, is the line of the chunk whose answer this one shares.
	Same *Line
	// Status and Body are the answer's; Hit: it came from the cache.
	Status int
	Header http.Header
	Body   []byte
	Hit    bool
	// Err is why there is none.
	Err error
	// Attempts is how often it was sent.
	Attempts int

	// plain: an array is no line.
	plain bool
}

// done reports whether the line has its answer, or never will.
func (l *Line) done() bool { return l.Status != 0 || l.Err != nil }

// share takes over the answer of the line that asked the same.
func (l *Line) share() {
	l.Status, l.Header, l.Body, l.Hit, l.Err = l.Same.Status, l.Same.Header, l.Same.Body, l.Same.Hit, l.Same.Err
}

// Chunk is lines that travel together.
type Chunk struct {
	Lines []*Line
	seq   int
}

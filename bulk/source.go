package bulk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"penstock/request"
)

// LineOptions say how a source of lines is read. What is zero gets its default.
type LineOptions struct {
	// First is the number of the first line: default 1.
	First int64
	// MaxBytes bounds a line: default 10 MiB. A longer one is skipped and gets a fault of its own.
	MaxBytes int
	// Plain: the lines are counted, and an array is no line. For who sends a file as it is.
	Plain bool
}

// Lines reads NDJSON: a JSON object of params on each line, or an array of a line number and such an
// object, [17, {"id": 4}], for who sends only some lines of a file. Blank lines are counted and
// skipped. Errors of r but io.EOF end the stream.
func Lines(r io.Reader, o LineOptions) Source {
	s := &lines{r: bufio.NewReaderSize(r, 64<<10), next: o.First, max: o.MaxBytes, plain: o.Plain}
	if s.next == 0 {
		s.next = 1
	}
	if s.max == 0 {
		s.max = 10 << 20
	}
	return s
}

type lines struct {
	r     *bufio.Reader
	next  int64
	max   int
	plain bool
}

// Next implements Source.
func (s *lines) Next() (*Line, error) {
	for {
		raw, tooLong, err := s.read()
		if err != nil && (!errors.Is(err, io.EOF) || len(raw) == 0 && !tooLong) {
			return nil, err
		}
		l := &Line{Number: s.next, Raw: raw, plain: s.plain}
		s.next++
		if tooLong {
			l.Err = request.Errorf(request.ProblemBodyTooLarge, "line %d is over %d bytes; send less or raise server.max_body_bytes", l.Number, s.max)
			return l, nil
		}
		if l.Raw = bytes.TrimSpace(raw); len(l.Raw) > 0 {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// read reads up to and with the next line end, or to the end of the input. Of a line that is too long
// it gives nothing.
func (s *lines) read() (line []byte, tooLong bool, err error) {
	for {
		part, err := s.r.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(part) > s.max+1; tooLong {
			line = nil
		} else {
			line = append(line, part...) // a copy: part is the reader's
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// params reads what a line asks.
func (l *Line) params() (map[string]any, error) {
	raw := l.Raw
	if raw[0] == '[' && !l.plain {
		var parts []json.RawMessage
		if err := json.Unmarshal(raw, &parts); err != nil || len(parts) != 2 || json.Unmarshal(parts[0], &l.Number) != nil || l.Number < 1 {
			return nil, request.Errorf(request.ProblemBadRequest, "line %d is an array, but not of its number and the params, such as [17, {\"id\": 4}]", l.Number)
		}
		raw = parts[1]
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // ids of 2^53 and more must stay what they are
	var params map[string]any
	err := dec.Decode(&params)
	if err == nil && dec.More() {
		err = errors.New("there is more behind the object")
	}
	if err != nil || params == nil {
		if err == nil {
			err = errors.New("null is no object")
		}
		return nil, request.Errorf(request.ProblemBadRequest, "line %d is no JSON object of the route's params, such as {\"id\": 4}: %w", l.Number, err)
	}
	return params, nil
}

package client

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// event is one server-sent event.
type event struct {
	// id is the last one that the stream gave, as the standard has it.
	id, name string
	data     []byte
}

// maxEventBytes bounds one line and one event.
const maxEventBytes = 4 << 20

// readEvents calls f for each event of a stream (the WHATWG standard's text/event-stream) until its
// end, which is io.EOF, or an error of f. An event that the end cuts off is dropped.
func readEvents(r io.Reader, f func(event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventBytes)
	lines.Split(splitEventLines)
	var e event
	var data bytes.Buffer
	seen := false
	for first := true; lines.Scan(); first = false {
		line := lines.Bytes()
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			if seen {
				e.data = bytes.TrimSuffix(data.Bytes(), []byte("\n"))
				if err := f(e); err != nil {
					return err
				}
			}
			data.Reset()
			e.name, seen = "", false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				e.id = string(value)
			}
		case "event":
			e.name = string(value)
		case "data":
			if data.Len()+len(value) > maxEventBytes {
				return fmt.Errorf("an event is over %d bytes", maxEventBytes)
			}
			data.Write(value)
			data.WriteByte('\n')
			seen = true
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// splitEventLines cuts at \n, \r\n and \r.
func splitEventLines(b []byte, atEOF bool) (advance int, token []byte, err error) {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0 && atEOF && len(b) > 0:
		return len(b), b, nil
	case i < 0:
		return 0, nil, nil
	case b[i] == '\n':
		return i + 1, b[:i], nil
	case i+1 < len(b) && b[i+1] == '\n':
		return i + 2, b[:i], nil
	case i+1 < len(b) || atEOF:
		return i + 1, b[:i], nil
	}
	return 0, nil, nil // whether \n follows shows with the next bytes
}

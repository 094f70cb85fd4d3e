package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"penstock/request"
)

// maxStreamLine bounds one line of a stream's answers.
const maxStreamLine = 64 << 20

// StreamQuery says how a stream of lines is to be answered.
type StreamQuery struct {
	// Route names a route of the configuration.
	Route string
	// Ready: answers come as they are ready; else in the order of the lines.
	Ready bool
	// Select is a JSON path that is applied to good answers; empty: the whole answer.
	Select string
	// Offset is how many lines come before the first that is sent.
	Offset int64
	// Plain: the lines are counted; else one that is an array says its own number, [17, {"id": 4}].
	Plain bool
	// Size is how many bytes will be sent, about, so that the server can show progress; 0: nobody knows.
	Size int64
	// Urgency is 0 (most urgent) to 7; nil: the route's own.
	Urgency *request.Urgency
}

func (q *StreamQuery) path() string {
	v := url.Values{}
	if q.Ready {
		v.Set("order", "ready")
	}
	if q.Select != "" {
		v.Set("select", q.Select)
	}
	if q.Offset > 0 {
		v.Set("offset", strconv.FormatInt(q.Offset, 10))
	}
	if q.Size > 0 {
		v.Set("size", strconv.FormatInt(q.Size, 10))
	}
	if q.Plain {
		v.Set("numbered", "false")
	}
	path := "/v1/stream/" + url.PathEscape(q.Route)
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return path
}

// StreamLine is what one line of a stream got.
type StreamLine struct {
	// Line is its number, from 1.
	Line int64 `json:"line"`
	// Status is that of the answer, or of what went wrong.
	Status int `json:"status"`
	// Summary is not nil on the last line only.
	Summary *StreamSummary `json:"summary"`
}

// StreamSummary ends a stream.
type StreamSummary struct {
	ID    string `json:"id"`
	State string `json:"state"`
	// Read counts the lines that were read, Lines those that were answered, by how it went.
	Read       int64 `json:"read"`
	Lines      int64 `json:"lines"`
	OK         int64 `json:"ok"`
	Failed     int64 `json:"failed"`
	Hits       int64 `json:"hits"`
	DurationMS int64 `json:"duration_ms"`
}

// ParseStreamLine reads the number and the status of an answer, or the summary.
func ParseStreamLine(raw []byte) (StreamLine, error) {
	if l, ok := quickStreamLine(raw); ok {
		return l, nil
	}
	var l StreamLine
	if err := json.Unmarshal(raw, &l); err != nil {
		return l, fmt.Errorf("it is no line of a stream's answers: %w", err)
	}
	if l.Summary == nil && (l.Line < 1 || l.Status == 0) {
		return l, errors.New("it is no line of a stream's answers: there is no line number, or no status")
	}
	return l, nil
}

// quickStreamLine reads {"line":17,"status":200,...} without looking at what follows, since a file of
// answers may have millions of such lines.
func quickStreamLine(raw []byte) (l StreamLine, ok bool) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"line":`))
	if !ok {
		return l, false
	}
	n, rest := digits(rest, 18)
	rest, ok = bytes.CutPrefix(rest, []byte(`,"status":`))
	status, rest := digits(rest, 4)
	if !ok || n < 1 || status == 0 || len(rest) < 1 || rest[0] != ',' && rest[0] != '}' || raw[len(raw)-1] != '}' {
		return l, false
	}
	return StreamLine{Line: n, Status: int(status)}, true
}

// digits reads a number of at most so many digits, 0 for what is none.
func digits(b []byte, most int) (n int64, rest []byte) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
		if i == most {
			return 0, b
		}
	}
	return n, b[i:]
}

// Stream is a stream under way. Read it to its end and close it.
type Stream struct {
	// ID is the server's name for it.
	ID   string
	body io.ReadCloser
	in   *bufio.Reader
	line []byte
}

// ErrStreamIncomplete says that a stream's answer ended without its summary: lines may be missing.
var ErrStreamIncomplete = errors.New("the stream's answer broke off before its summary")

// Stream sends lines of params as lines gives them, and returns when the first is welcome. Answers come
// while lines are still sent. lines may be read after Stream and Next have returned, until it is closed,
// if it is an io.Closer.
func (c *Client) Stream(ctx context.Context, q StreamQuery, lines io.Reader) (*Stream, error) {
	more := http.Header{}
	if q.Urgency != nil {
		more.Set("Priority", "u="+strconv.Itoa(int(*q.Urgency)))
	}
	resp, err := c.with(more).openBody(ctx, http.MethodPost, q.path(), "application/x-ndjson", lines)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return &Stream{ID: resp.Header.Get("X-Stream-Id"), body: resp.Body, in: bufio.NewReaderSize(resp.Body, 64<<10)}, nil
}

// Next gives the next answer as it came, without the line break, and what it says of itself. The bytes
// are good until the next call. After the summary it returns io.EOF, after a broken connection an error
// that is ErrStreamIncomplete.
func (s *Stream) Next() (StreamLine, []byte, error) {
	s.line = s.line[:0]
	for more := true; more; {
		part, err := s.in.ReadSlice('\n')
		s.line = append(s.line, part...)
		switch more = errors.Is(err, bufio.ErrBufferFull); {
		case len(s.line) > maxStreamLine:
			return StreamLine{}, nil, fmt.Errorf("an answer is over %d bytes", maxStreamLine)
		case err != nil && !more:
			return StreamLine{}, nil, fmt.Errorf("%w: %w", ErrStreamIncomplete, err)
		}
	}
	raw := s.line[:len(s.line)-1]
	l, err := ParseStreamLine(raw)
	if err != nil {
		return l, nil, fmt.Errorf("the answer to a stream is not what a Penstock of this version sends: %.200q: %w", raw, err)
	}
	if l.Summary != nil {
		return l, raw, io.EOF
	}
	return l, raw, nil
}

// Close ends the stream, also before its end.
func (s *Stream) Close() error { return s.body.Close() }

// StreamState tells what became of a stream of this tenant: running, done, cancelled or broken; empty
// if the server does not know it, any more or at all.
func (c *Client) StreamState(ctx context.Context, id string) (string, error) {
	var list struct {
		Streams []StreamSummary `json:"streams"`
	}
	err := c.getJSON(ctx, "/v1/streams", &list)
	for _, s := range list.Streams {
		if s.ID == id {
			return s.State, err
		}
	}
	return "", err
}

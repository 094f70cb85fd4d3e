package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"penstock/request"
)

// rawItem is one item of a batch as it was read.
type rawItem struct {
	index  int
	number int // the input line, from 1; 0: the input has no lines
	id     json.RawMessage
	raw    []byte
	err    error // the item can't be read, but those after it can
}

// itemSource gives one item after the other and io.EOF at the end. Any other error ends the input
// too.
type itemSource func() (rawItem, error)

// arrayItems splits a JSON array.
func arrayItems(raw []byte) (itemSource, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		detail := `send a JSON array of requests, or lines of them as Content-Type: application/x-ndjson`
		if e, ok := errors.AsType[*json.SyntaxError](err); ok && len(bytes.TrimSpace(raw)) > 0 {
			return nil, request.Errorf(request.ProblemBadRequest, "bad JSON at byte %d: %w; %s", e.Offset, e, detail)
		}
		return nil, request.Errorf(request.ProblemBadRequest, "the body is no batch; %s", detail)
	}
	return func() (rawItem, error) {
		if len(items) == 0 {
			return rawItem{}, io.EOF
		}
		it := rawItem{raw: items[0]}
		items = items[1:]
		return it, nil
	}, nil
}

// ndjsonItems reads lines as they come; blank ones are skipped.
func ndjsonItems(w http.ResponseWriter, r *http.Request, l Limits) itemSource {
	// Answers go out while questions still come in. HTTP/2 does so anyhow, and says so by an error.
	_ = http.NewResponseController(w).EnableFullDuplex()
	br := bufio.NewReaderSize(r.Body, l.BufferBytes)
	if r.Header.Get("Expect") != "" {
		_, _ = br.Peek(1) // net/http says 100 Continue only if it is read before the answer begins
	}
	number := 0
	return func() (rawItem, error) {
		for {
			line, tooLong, err := readLine(br, l.MaxBodyBytes)
			if err != nil {
				return rawItem{}, err
			}
			number++
			if tooLong {
				return rawItem{number: number, err: &request.Error{Problem: request.ProblemBodyTooLarge,
					Detail: fmt.Sprintf("line %d is over %d bytes; send less or raise server.max_body_bytes", number, l.MaxBodyBytes)}}, nil
			}
			if len(bytes.TrimSpace(line)) > 0 {
				return rawItem{number: number, raw: line}, nil
			}
		}
	}
}

// readLine reads up to and with the next line end, or to the end of the input. Of a line over
// limit bytes it gives nothing but tooLong.
func readLine(br *bufio.Reader, limit int64) (line []byte, tooLong bool, err error) {
	for read := int64(0); ; {
		part, err := br.ReadSlice('\n')
		read += int64(len(part))
		switch {
		case read > limit+1:
			line, tooLong = nil, true
		default:
			line = append(line, part...) // a copy: part is the reader's
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && read > 0:
			return line, tooLong, nil
		}
		return line, tooLong, err
	}
}

// batchLine is one line of a batch's answer.
type batchLine struct {
	ID    json.RawMessage `json:"id,omitempty"`
	Index int             `json:"index"`
	// Line is the number of the input line, from 1.
	Line    int               `json:"line,omitempty"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	// Body is the answer's JSON as it is; or a string, of text or of base64, as Encoding says.
	Body     json.RawMessage `json:"body,omitempty"`
	Encoding string          `json:"encoding,omitempty"`
	Error    *problemDoc     `json:"error,omitempty"`

	hit bool
}

// lineHeaders are the answer's headers that a line carries.
var lineHeaders = []string{"Content-Type", "Content-Encoding", "Location", "Retry-After"}

// line makes the line of an answer.
func (it rawItem) line(resp *request.Response, body []byte) *batchLine {
	l := &batchLine{ID: it.id, Index: it.index, Line: it.number, Status: resp.Status, hit: resp.Cache.Hit,
		Headers: make(map[string]string, 2)}
	for _, name := range lineHeaders {
		if v := resp.Header[name]; len(v) > 0 {
			l.Headers[strings.ToLower(name)] = v[0]
		}
	}
	if s := cacheStatus(&resp.Cache); s != "" {
		l.Headers["cache-status"] = s
	}
	_, coded := l.Headers["content-encoding"]
	switch {
	case len(body) == 0:
	case !coded && jsonType(l.Headers["content-type"]) && json.Valid(body):
		l.Body, l.Encoding = body, "json"
	case !coded && utf8.Valid(body):
		l.Body, l.Encoding = jsonString(string(body)), "text"
	default:
		l.Body, l.Encoding = jsonString(base64.StdEncoding.EncodeToString(body)), "base64"
	}
	return l
}

func jsonString(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // strings always encode
	return bytes.TrimRight(b.Bytes(), "\n")
}

func jsonType(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

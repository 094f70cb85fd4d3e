package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

// Bulk leads lines of params through its stages.
type Bulk interface {
	// Run reads s.In to its end and writes an output for each line. An error is a fault of the stream, not
	// of a line; that of a bad s.Select is a [request.Error] and comes before anything is read.
	Run(ctx context.Context, s BulkStream) error
}

// BulkStream is one stream.
type BulkStream struct {
	In io.Reader
	// First is the number of the first line of In.
	First int64
	// Plain: the lines are counted; else one that is an array says its own number.
	Plain bool
	// Ordered: the outputs come in the order of the lines.
	Ordered bool
	// Select is a JSON path that is applied to good answers; "": the whole answer.
	Select string
	// Build makes the request of a line. It may wait.
	Build func(ctx context.Context, number int64, params map[string]any) (*request.Request, error)
	// Encode makes the output of a line from its answer, or from err. Without a line break.
	Encode func(number int64, resp *request.Response, body []byte, err error) []byte
	// Write takes outputs, each ended by a line break.
	Write func(lines []byte) error
}

// streamLine is one line of the output.
type streamLine struct {
	Line   int64 `json:"line"`
	Status int   `json:"status"`
	// Body is the answer's JSON as it is; or a string, of text or of base64, as Encoding says.
	Body     json.RawMessage `json:"body,omitempty"`
	Encoding string          `json:"encoding,omitempty"`
	Error    *problemDoc     `json:"error,omitempty"`
}

// serveStream answers POST /v1/stream/{route}.
func (d *data) serveStream(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	tenant, err := d.identify(w, r)
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	s, spec, err := d.openStream(r, x, tenant)
	if err != nil {
		d.fail(w, r, x, err)
		return
	}
	defer s.cancel()
	rc := http.NewResponseController(w)
	// The source may wait for a line that won't come any more, the sink for a client that takes nothing.
	stop := context.AfterFunc(s.ctx, func() {
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		_ = rc.SetWriteDeadline(time.Unix(1, 0))
	})
	defer stop()
	begun := false
	begin := func() {
		// Answers go out while questions still come in. HTTP/2 does so anyhow, and says so by an error.
		_ = rc.EnableFullDuplex()
		h := w.Header()
		h.Set("Content-Type", "application/x-ndjson")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Stream-Id", s.id)
		x.status, begun = http.StatusOK, true
		w.WriteHeader(http.StatusOK)
		_ = rc.Flush()
	}
	spec.Write = func(lines []byte) error {
		if _, err := w.Write(lines); err != nil {
			return err
		}
		return rc.Flush()
	}
	spec.In = beginning{r.Body, begin, &begun, &s.bytes}
	err = d.o.Bulk.Run(s.ctx, spec)
	d.bulk.end(s, err)
	switch {
	case err != nil && !begun:
		d.fail(w, r, x, err)
	case err != nil:
		if !x.clientGone() {
			d.log.WarnContext(x, "a stream broke off; the connection was closed", "stream", s.id, "route", s.route, "error", err)
		}
		panic(http.ErrAbortHandler) // without a summary: the answer is not whole
	default:
		if !begun {
			begin()
		}
		_ = json.NewEncoder(w).Encode(map[string]StreamProgress{"summary": s.progress()})
	}
}

// beginning begins the answer when the body is read first, so that a stream that can't be run gets a
// problem document.
type beginning struct {
	io.Reader
	begin func()
	begun *bool
	bytes *atomic.Int64
}

// Read implements io.Reader.
func (b beginning) Read(p []byte) (int, error) {
	if !*b.begun {
		b.begin()
	}
	n, err := b.Reader.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// openStream reads what must be right before the stream begins.
func (d *data) openStream(r *http.Request, x *exchange, tenant Tenant) (*lineStream, BulkStream, error) {
	spec := BulkStream{First: 1, Ordered: true}
	name, query := chi.URLParam(r, "route"), r.URL.Query()
	if d.o.Bulk == nil {
		return nil, spec, request.Errorf(request.ProblemUnavailable, "streams are off in this service")
	}
	if _, ok := d.o.Routes.Route(name); !ok {
		return nil, spec, d.unknownRoute(name)
	}
	switch order := query.Get("order"); order {
	case "", "input":
	case "ready":
		spec.Ordered = false
	default:
		return nil, spec, request.Errorf(request.ProblemBadRequest, "order must be input (as asked) or ready (as answers come), not %.100q", order)
	}
	if text := query.Get("offset"); text != "" {
		n, err := strconv.ParseInt(text, 10, 62)
		if err != nil || n < 0 {
			return nil, spec, request.Errorf(request.ProblemBadRequest, "offset must be how many lines come before the first that is sent, not %.100q", text)
		}
		spec.First = n + 1
	}
	switch numbered := query.Get("numbered"); numbered {
	case "", "true":
	case "false":
		spec.Plain = true
	default:
		return nil, spec, request.Errorf(request.ProblemBadRequest, "numbered must be true (a line may be an array of its number and the params) or false, not %.100q", numbered)
	}
	spec.Select = query.Get("select")
	size := max(r.ContentLength, 0)
	if text := query.Get("size"); text != "" {
		n, err := strconv.ParseInt(text, 10, 62)
		if err != nil || n < 0 {
			return nil, spec, request.Errorf(request.ProblemBadRequest, "size must be how many bytes will be sent, about, not %.100q", text)
		}
		size = n
	}
	in, err := d.readIntent(r, tenant)
	if err != nil {
		return nil, spec, err
	}
	s, err := d.bulk.begin(x.Context, name, tenant.Name, size)
	if err != nil {
		return nil, spec, err
	}
	spec.Build = func(ctx context.Context, number int64, params map[string]any) (*request.Request, error) {
		s.read.Add(1)
		if err := tenant.await(ctx); err != nil {
			return nil, err
		}
		return d.build(&call{route: name, params: params}, in, x.id+"."+strconv.FormatInt(number, 10), time.Now())
	}
	spec.Encode = func(number int64, resp *request.Response, body []byte, err error) []byte {
		return d.encodeLine(s, x, number, resp, body, err)
	}
	return s, spec, nil
}

// await counts a line when there is room for it in the tenant's rate: a stream is held back and not
// refused.
func (t Tenant) await(ctx context.Context) error {
	for t.Quota != nil {
		_, _, wait := t.Quota.Take()
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// encodeLine makes the output of a line, and counts it.
func (d *data) encodeLine(s *lineStream, x *exchange, number int64, resp *request.Response, body []byte, err error) []byte {
	out := streamLine{Line: number}
	if err == nil {
		err = checkStatus(resp)
	}
	if err != nil {
		f := classify(x, err)
		if s.ctx.Err() == nil {
			d.logFault(x, f, err)
		}
		doc := f.document(x.id, "/v1/stream/"+s.route+"#"+strconv.FormatInt(number, 10))
		out.Status, out.Error = doc.Status, &doc
	} else {
		l := rawItem{}.line(resp, body)
		out.Status, out.Body = l.Status, l.Body
		if l.Encoding != "json" {
			out.Encoding = l.Encoding
		}
	}
	s.count(&out, err == nil && resp.Cache.Hit)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(out) != nil { // a body that was valid JSON always encodes
		return nil
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// errStreamCancelled is why a stream that was cancelled ends.
var errStreamCancelled = errors.New("the stream was cancelled")

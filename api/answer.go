package api

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/request"
)

const copyBytes = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// via is what RFC 9110 asks of an intermediary in both directions. Never changed.
var via = []string{"1.1 penstock"}

// answer passes resp on to the client and closes its body. An answer that breaks off midway
// breaks the connection.
func (d *data) answer(w http.ResponseWriter, r *http.Request, x *exchange, resp *request.Response) {
	defer resp.Body.Close()
	if err := checkStatus(resp); err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	d.copyHeader(w.Header(), x, resp)
	bodyless := r.Method == http.MethodHead || noBody(resp.Status)
	setLength(w.Header(), x, resp, bodyless)
	x.status = resp.Status
	w.WriteHeader(resp.Status)
	if bodyless {
		return
	}
	if err := copyBody(w, resp); err != nil {
		d.abort(x, err)
	}
	copyTrailer(w.Header(), resp.Trailer)
}

// checkStatus refuses what net/http can't write as the status of an answer.
func checkStatus(resp *request.Response) error {
	if resp.Status >= 200 && resp.Status <= 999 {
		return nil
	}
	return &request.Error{Problem: request.ProblemUpstreamInvalid,
		Detail: "the upstream answered with the status " + strconv.Itoa(resp.Status) + ", which is no final one"}
}

// abort breaks the connection: the client must see that the answer is not whole.
func (d *data) abort(x *exchange, err error) {
	if _, writing := errors.AsType[writeError](err); !writing && !x.clientGone() {
		d.log.WarnContext(x, "an answer broke off midway; the connection was closed", "status", x.status, "error", err)
	}
	panic(http.ErrAbortHandler)
}

func noBody(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// copyHeader takes over the shared header's values and adds what the way through Penstock says.
func (d *data) copyHeader(h http.Header, x *exchange, resp *request.Response) {
	for name, values := range resp.Header {
		if !request.HopByHop(name) && !forCaches(name) {
			h[name] = values
		}
	}
	for _, names := range resp.Header["Connection"] {
		dropNamed(h, names)
	}
	h[headerRequestID] = x.value(x.id) // the upstream's own would not lead to our log
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	x.showQuota(h)
	c := &resp.Cache
	if s := cacheStatus(c); s != "" {
		h["Cache-Status"] = x.after(h["Cache-Status"], s)
	}
	if c.HasAge {
		h["Age"] = x.value(strconv.FormatInt(max(0, int64(c.Age/time.Second)), 10))
	}
	if d.o.ServerTiming() {
		if s := serverTiming(c, resp.Timing); s != "" {
			h["Server-Timing"] = x.after(h["Server-Timing"], s)
		}
	}
	if old := h["Via"]; len(old) > 0 {
		h["Via"] = x.after(old, via[0])
	} else {
		h["Via"] = via
	}
}

// after puts s behind the values of a header that is shared with others.
func (x *exchange) after(shared []string, s string) []string {
	if len(shared) == 0 {
		return x.value(s)
	}
	return append(shared[:len(shared):len(shared)], s)
}

// setLength makes Content-Length tell the truth about what will be written, and announces
// trailers, which need a body of unknown length.
func setLength(h http.Header, x *exchange, resp *request.Response, bodyless bool) {
	switch {
	case bodyless:
		return // what the upstream says of the body that is not there stays
	case len(resp.Trailer) > 0:
		delete(h, "Content-Length")
		names := make([]string, 0, len(resp.Trailer))
		for name := range resp.Trailer {
			names = append(names, name)
		}
		h["Trailer"] = x.value(strings.Join(names, ", "))
	case resp.ContentLength < 0:
		delete(h, "Content-Length")
	default:
		v := h["Content-Length"]
		if len(v) == 1 {
			if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n == resp.ContentLength {
				return
			}
		}
		h["Content-Length"] = x.value(strconv.FormatInt(resp.ContentLength, 10))
	}
}

// copyTrailer gives the values of the trailers; those that were not announced need a prefix.
func copyTrailer(h http.Header, trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	announced := ", " + strings.Join(h["Trailer"], ", ") + ", "
	for name, values := range trailer {
		if !strings.Contains(announced, ", "+name+", ") {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// writeError marks a failure of the client's side of the connection.
type writeError struct{ error }

// copyBody writes the body as it comes. A body of unknown length, or one of events, is flushed
// after each piece; else net/http's buffer saves system calls.
func copyBody(w http.ResponseWriter, resp *request.Response) error {
	if b, ok := resp.Body.(*request.Body); ok && len(resp.Trailer) == 0 {
		if _, err := b.WriteTo(w); err != nil {
			return writeError{err}
		}
		return nil
	}
	rc := http.NewResponseController(w)
	live := resp.ContentLength < 0 || len(resp.Trailer) > 0 || eventStream(resp.Header)
	if live {
		if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return writeError{err}
		}
	}
	buf := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buf)
	var written int64
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return writeError{werr}
			}
			written += int64(n)
			if live {
				_ = rc.Flush() // a broken connection shows at the next write
			}
		}
		if err == io.EOF {
			if resp.ContentLength >= 0 && written < resp.ContentLength {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func eventStream(h http.Header) bool {
	v := h["Content-Type"]
	return len(v) > 0 && strings.HasPrefix(v[0], "text/event-stream")
}

// forCaches reports whether a header tells caches on the way what an answer is about, which is not
// for clients.
func forCaches(name string) bool { return name == "Surrogate-Key" || name == "Cache-Tag" }

// dropNamed deletes the headers that a Connection value names.
func dropNamed(h http.Header, names string) {
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			delete(h, http.CanonicalHeaderKey(name))
		}
	}
}

package batcher

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// answer is what a batch call brought.
type answer struct {
	resp *request.Response
	body []byte
	// upstream is how long the call took, split how long taking the answer apart did.
	upstream, split time.Duration

	// ok goes with an item, failed with a member's own failure, none with a missing member.
	ok, failed, none http.Header
}

// ofTheWhole are headers of a batch's answer that are not true of a part of it. Set-Cookie is one:
// a session that the upstream began for one call must not be shared by several clients.
var ofTheWhole = []string{
	"Content-Length", "Content-Encoding", "Content-Range", "Content-Location", "Content-Md5", "Content-Digest",
	"Repr-Digest", "Digest", "Etag", "Last-Modified", "Accept-Ranges", "Link", "Location", "Set-Cookie", "Trailer",
	"Transfer-Encoding", "Content-Disposition", "X-Total-Count",
}

// headers makes the header maps of the members' answers; members share them, as they are
// read-only from here on.
func (a *answer) headers(r *compiledRule) {
	a.ok = a.resp.Header.Clone()
	if a.ok == nil {
		a.ok = make(http.Header)
	}
	for _, name := range ofTheWhole {
		a.ok.Del(name)
	}
	if !isJSON(a.ok.Get("Content-Type")) {
		a.ok.Set("Content-Type", "application/json")
	}
	a.failed = noStore(a.ok.Clone())
	a.none = a.ok.Clone()
	a.none.Set("Content-Type", "application/problem+json")
}

// refusal makes the header of the failure of the whole call, which no member's key may keep.
// Retry-After and the quota fields stay.
func (a *answer) refusal() {
	a.failed = a.resp.Header.Clone()
	if a.failed == nil {
		a.failed = make(http.Header)
	}
	for _, name := range ofTheWhole {
		a.failed.Del(name)
	}
	noStore(a.failed)
}

func noStore(h http.Header) http.Header {
	h.Set("Cache-Control", "no-store")
	h.Del("Expires")
	h.Del("Age")
	return h
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json") && t != "application/problem+json")
}

// member is one member's answer. A 404 or 410 says something of the member that may be kept as
// long as the rest; other failures may not.
func (a *answer) member(status int, body []byte) *request.Response {
	h := a.ok
	if status >= http.StatusBadRequest && status != http.StatusNotFound && status != http.StatusGone {
		h = a.failed
	}
	return a.with(status, h, body)
}

// copy is the answer to the whole call, for one member.
func (a *answer) copy(status int, body []byte) *request.Response {
	return a.with(status, a.failed, body)
}

// missing is the answer to a member that the batch's answer left out: a problem document, since
// there are no words of the upstream's to give.
func (a *answer) missing(r *compiledRule, m *request.Request) *request.Response {
	status := r.MissingStatus
	doc := struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{
		request.ProblemNotFound.Type(), http.StatusText(status), status,
		fmt.Sprintf("the upstream's answer to a batch of route %q has nothing for this one", m.Route.Name),
	}
	if status == http.StatusNotFound {
		doc.Title = request.ProblemNotFound.Title()
	} else {
		doc.Type = "about:blank"
	}
	body, _ := json.Marshal(doc) // strings and a number can't fail
	h := a.none
	if status != http.StatusNotFound && status != http.StatusGone {
		h = noStore(h.Clone())
	}
	return a.with(status, h, body)
}

func (a *answer) with(status int, h http.Header, body []byte) *request.Response {
	t := a.resp.Timing
	if t.Upstream == 0 {
		t.Upstream = a.upstream
	}
	t.Batch += a.split
	return &request.Response{
		Status: status, Header: h, Body: request.NewBody(body), ContentLength: int64(len(body)), Timing: t,
	}
}

// again is a copy of a response whose body was read.
func again(resp *request.Response, body []byte) *request.Response {
	c := *resp
	c.Body, c.ContentLength = request.NewBody(body), int64(len(body))
	return &c
}

// readAll reads an answer of at most limit bytes, and undoes gzip, which some upstreams use
// unasked.
func readAll(resp *request.Response, limit int64) ([]byte, error) {
	body, err := request.ReadAll(resp, limit)
	if err != nil {
		return nil, err
	}
	switch coding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("the batch's answer is not the gzip that it says it is: %w", err)
		}
		plain := &request.Response{Body: io.NopCloser(zr), ContentLength: -1}
		return request.ReadAll(plain, limit)
	default:
		return nil, fmt.Errorf("the batch's answer has the content coding %q, which can't be split", coding)
	}
}

// unusable is the error of an answer, or part of one, that can't be used.
func unusable(r *compiledRule, m *request.Request, err error) error {
	var e *request.Error
	if errors.As(err, &e) {
		return err
	}
	return &request.Error{
		Problem:  request.ProblemUpstreamInvalid,
		Detail:   fmt.Sprintf("batch of form %s: %s; if it goes on, correct routes.%s.batch", r.Form, err, m.Route.Name),
		Upstream: m.Route.Upstream,
		Err:      err,
	}
}

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"penstock/request"
)

// maxAnswerBytes bounds what the client holds in memory of one answer.
const maxAnswerBytes = 64 << 20

// Options are the settings of a Client. The zero value works.
type Options struct {
	// HTTPClient makes the calls; nil: a client of its own without a timeout, so that the
	// context given to each method is what bounds it.
	HTTPClient *http.Client
	// Tenant is sent as TenantHeader with each call; empty: none is sent.
	Tenant string
	// TenantHeader is the header that the server's tenants.header names; empty: X-Tenant.
	TenantHeader string
	// Header is sent with each call, e.g. Authorization for an API key.
	Header http.Header
}

// Client calls the data plane.
type Client struct {
	caller
}

// New returns a Client of the data plane at baseURL, such as http://127.0.0.1:8080. It fails if
// baseURL is not an absolute http or https URL.
func New(baseURL string, o Options) (*Client, error) {
	h := o.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	if o.Tenant != "" {
		name := o.TenantHeader
		if name == "" {
			name = "X-Tenant"
		}
		h.Set(name, o.Tenant)
	}
	c, err := newCaller(baseURL, o.HTTPClient, h)
	return &Client{c}, err
}

// Item is one request by route.
type Item struct {
	// ID is the caller's own name of the item in a batch; empty: its position counts.
	ID string `json:"id,omitempty"`
	// Route names a route of the configuration.
	Route string `json:"route"`
	// Params are the route's params: strings, numbers, booleans, or what its template takes.
	Params map[string]any `json:"params,omitempty"`
	// Urgency is 0 (most urgent) to 7; nil: the route's own.
	Urgency *request.Urgency `json:"urgency,omitempty"`
	// DeadlineMS is after how many milliseconds the answer is not wanted any more; 0: no deadline.
	DeadlineMS int64 `json:"deadline_ms,omitempty"`
	// Cache is the Cache-Control to ask with, as the server's OpenAPI document lists; empty: none.
	Cache string `json:"cache,omitempty"`
}

// Answer is the upstream's answer to an Item.
type Answer struct {
	// Status is the upstream's HTTP status.
	Status int
	Header http.Header
	Body   []byte
}

// CacheStatus says how Penstock's cache handled the request.
func (a *Answer) CacheStatus() CacheStatus { return ParseCacheStatus(a.Header) }

// RequestID is the id under which Penstock logged the request; empty if it sent none.
func (a *Answer) RequestID() string { return a.Header.Get("X-Request-Id") }

// Send asks for one item and returns the upstream's answer, whatever its status. A *Problem says
// that Penstock itself refused or failed.
func (c *Client) Send(ctx context.Context, item Item) (*Answer, error) {
	body, err := json.Marshal(item)
	if err != nil {
		return nil, fmt.Errorf("the item can't be written as JSON: %w", err)
	}
	return c.call(ctx, http.MethodPost, "/v1/requests", "application/json", body)
}

// Stats returns the data plane's /v1/stats as the server wrote it: its shape is in the server's
// OpenAPI document and grows from release to release.
func (c *Client) Stats(ctx context.Context) (json.RawMessage, error) {
	var raw json.RawMessage
	err := c.getJSON(ctx, "/v1/stats", &raw)
	return raw, err
}

// caller makes calls below a base URL. It is what Client and Admin share.
type caller struct {
	base   string
	http   *http.Client
	header http.Header
}

func newCaller(base string, hc *http.Client, header http.Header) (caller, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return caller{}, fmt.Errorf("%q is not a URL such as http://127.0.0.1:8080", base)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return caller{}, fmt.Errorf("%q must not have a query or a fragment", base)
	}
	if hc == nil {
		hc = &http.Client{}
	}
	return caller{base: strings.TrimRight(base, "/"), http: hc, header: header}, nil
}

// with is the caller with more headers.
func (c *caller) with(more http.Header) *caller {
	header := c.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for name, values := range more {
		header[name] = values
	}
	return &caller{base: c.base, http: c.http, header: header}
}

// open makes a call and returns the response as it is; the caller must close its body.
func (c *caller) open(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	if body == nil {
		return c.openBody(ctx, method, path, contentType, nil)
	}
	return c.openBody(ctx, method, path, contentType, bytes.NewReader(body))
}

// openBody is open with a body that is read while it is sent.
func (c *caller) openBody(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &ConnError{URL: c.base, Err: err}
	}
	return resp, nil
}

// call makes a call and reads the whole answer.
func (c *caller) call(ctx context.Context, method, path, contentType string, body []byte) (*Answer, error) {
	resp, err := c.open(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the answer to %s %s broke off: %w", method, path, err)
	}
	if len(b) > maxAnswerBytes {
		return nil, fmt.Errorf("the answer to %s %s is over %d bytes", method, path, maxAnswerBytes)
	}
	if p := decodeProblem(resp.StatusCode, resp.Header, b); p != nil {
		return nil, p
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: b}, nil
}

// plane makes a call to an endpoint of Penstock's own, where every status but 2xx is a failure.
func (c *caller) plane(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	contentType := ""
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = b, "application/json"
	}
	a, err := c.call(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	if a.Status/100 != 2 {
		return &Problem{Status: a.Status, Title: http.StatusText(a.Status), Detail: firstLine(a.Body)}
	}
	if out == nil || a.Status == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("the answer to %s %s is not the JSON expected; is %s a Penstock of this version? %w", method, path, c.base, err)
	}
	return nil
}

func (c *caller) getJSON(ctx context.Context, path string, out any) error {
	return c.plane(ctx, http.MethodGet, path, nil, out)
}

// firstLine keeps a page of HTML out of an error message.
func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return line
}

// ConnError says that no answer came: nothing listens at URL, it hung up, or ctx ended.
type ConnError struct {
	URL string
	Err error
}

// Error says what to look at.
func (e *ConnError) Error() string {
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer from %s in time", e.URL)
	case errors.Is(e.Err, context.Canceled):
		return fmt.Sprintf("the call to %s was cancelled", e.URL)
	}
	cause := e.Err
	if ue, ok := errors.AsType[*url.Error](cause); ok {
		cause = ue.Err
	}
	return fmt.Sprintf("no answer from %s: %v (does it run, and is the address right?)", e.URL, cause)
}

// Unwrap gives the cause.
func (e *ConnError) Unwrap() error { return e.Err }

// query writes "?a=b" of the pairs whose value is not empty.
func query(pairs ...string) string {
	q := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

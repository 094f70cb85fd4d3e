package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// client sends spans by HTTP: what the SDK's exporter leaves to its transport. The official transport would
// link all of gRPC into the binary (docs/adr/0005).
type client struct {
	url    string
	header http.Header
	http   *http.Client
}

var _ otlptrace.Client = (*client)(nil)

func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("tracing.endpoint: it must be the URL of a collector, such as http://127.0.0.1:4318/v1/traces")
	}
	return nil
}

func newClient(o Options) *client {
	return &client{url: o.Endpoint, header: o.Header, http: &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		// A redirect would take the credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// Start implements [otlptrace.Client]; there is nothing to start.
func (*client) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client]; provider closes the client.
func (*client) Stop(context.Context) error { return nil }

// The wait before an export is tried again, which doubles up to the greatest.
const (
	leastBackoff    = 100 * time.Millisecond
	greatestBackoff = 5 * time.Second
)

// UploadTraces implements [otlptrace.Client]. It tries until ctx ends, as long as trying again may help (OTLP 1.x,
// "Failures": 429, 502, 503 and 504, and no answer at all).
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire the same as ExportTraceServiceRequest, by OTLP's own promise.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	for wait := leastBackoff; ; wait = min(2*wait, greatestBackoff) {
		again, err := c.post(ctx, body)
		if err == nil || !again {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// post sends it once, and says whether trying again may help.
func (c *client) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := c.http.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return ctx.Err() == nil, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	if resp.StatusCode/100 != 2 {
		return again, fmt.Errorf("it answered with status %d", resp.StatusCode)
	}
	return false, nil
}

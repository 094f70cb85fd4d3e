package tracing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"penstock/request"
)

// follow calls do and ends the span with its answer: at once where the body is held in memory or there is none, which
// other stages know by its type; else when the body has ended.
func follow(span trace.Span, do func() (*request.Response, error)) (answer *request.Response, err error) {
	returned := false
	defer func() {
		if !returned { // a panic, which is caught further out
			span.SetStatus(codes.Error, string(request.ProblemInternal))
			span.End()
		}
	}()
	answer, err = do()
	returned = true
	if err != nil {
		failed(span, err)
		span.End()
		return nil, err
	}
	answered(span, answer)
	if _, held := answer.Body.(*request.Body); held || answer.Body == http.NoBody {
		span.End()
		return answer, nil
	}
	answer.Body = &body{ReadCloser: answer.Body, span: span}
	return answer, nil
}

// answered notes what kind of answer it was.
func answered(span trace.Span, a *request.Response) {
	span.SetAttributes(attribute.Int("http.response.status_code", a.Status))
	if c := cacheWord(&a.Cache); c != "" {
		span.SetAttributes(attribute.String("penstock.cache", c))
	}
	if a.Status >= 500 {
		span.SetStatus(codes.Error, http.StatusText(a.Status))
	}
}

// failed notes the problem, by its name: the details may say more than others should read.
func failed(span trace.Span, err error) {
	name := string(request.ProblemInternal)
	var e *request.Error
	if errors.As(err, &e) {
		name = string(e.Problem)
	} else if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		name = string(request.ProblemClientClosed)
	}
	span.SetAttributes(attribute.String("error.type", name))
	span.SetStatus(codes.Error, name)
}

// cacheWord is what the cache did, in one word; empty: it was not asked.
func cacheWord(c *request.CacheStatus) string {
	switch {
	case c.Hit && c.HasTTL && c.TTL < 0:
		return "stale"
	case c.Hit:
		return "hit"
	case c.Collapsed:
		return "coalesced"
	}
	return c.Fwd
}

// body ends the span with the answer's body.
type body struct {
	io.ReadCloser
	span trace.Span
	once sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

// Close closes the body.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end(io.EOF)
	return err
}

func (b *body) end(err error) {
	b.once.Do(func() {
		if err != io.EOF {
			failed(b.span, err)
		}
		b.span.End()
	})
}

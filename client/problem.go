package client

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/request"
)

// Problem is an RFC 9457 problem document of Penstock's, as an error.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	// RequestID is the id under which Penstock logged the request.
	RequestID string `json:"request_id,omitempty"`
	// Errors lists every fault of an input.
	Errors []request.FieldError `json:"errors,omitempty"`
	// RetryAfter is how long to wait before asking again; 0: not said.
	RetryAfter time.Duration `json:"-"`
}

// Kind is the problem's stable name, e.g. request.ProblemUnknownRoute; it is empty if the type is
// not one of Penstock's.
func (p *Problem) Kind() request.Problem {
	for _, prefix := range []string{"urn:penstock:problem:", "https://iana.org/assignments/http-problem-types#"} {
		if name, ok := strings.CutPrefix(p.Type, prefix); ok {
			return request.Problem(name)
		}
	}
	return ""
}

// Error gives the detail, all faults, the wait and the request's id.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Detail != "" {
		b.WriteString(p.Detail)
	} else {
		b.WriteString(p.Title)
	}
	fmt.Fprintf(&b, " (%d", p.Status)
	if k := p.Kind(); k != "" {
		b.WriteString(" " + string(k))
	}
	if p.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %s", p.RetryAfter)
	}
	if p.RequestID != "" {
		b.WriteString(", request " + p.RequestID)
	}
	b.WriteByte(')')
	for _, f := range p.Errors {
		b.WriteString("\n  ")
		if f.Pointer != "" {
			b.WriteString(f.Pointer + ": ")
		}
		b.WriteString(f.Detail)
	}
	return b.String()
}

// decodeProblem returns the problem that an answer is, nil if it is none of Penstock's own.
func decodeProblem(status int, h http.Header, body []byte) *Problem {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/problem+json" {
		return nil
	}
	p := new(Problem)
	if err := json.Unmarshal(body, p); err != nil {
		return nil
	}
	if p.Kind() == "" && p.Type != "" && p.Type != "about:blank" {
		return nil // an upstream's own problem document: it is an answer
	}
	if p.Status == 0 {
		p.Status = status
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	p.RetryAfter = parseRetryAfter(h.Get("Retry-After"))
	return p
}

// parseRetryAfter reads delay-seconds; 0 for what it can't read, a date included, since
// Penstock sends none.
func parseRetryAfter(s string) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n), 1<<31) * time.Second
}

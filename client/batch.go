package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Line is what one item of a batch got: an answer of the upstream, or an error of Penstock's.
type Line struct {
	// ID is the item's own, empty if it had none.
	ID string `json:"id"`
	// Index is the item's position in the batch, from 0.
	Index  int `json:"index"`
	Status int `json:"status"`
	// Header holds the few headers that lines carry, Cache-Status among them.
	Header map[string]string `json:"headers"`
	// Raw is the body as the line carries it, and Encoding says how: "json", "text", "base64", or
	// empty for no body.
	Raw      json.RawMessage `json:"body"`
	Encoding string          `json:"encoding"`
	// Problem is set if Penstock refused or failed.
	Problem *Problem `json:"error"`
}

// Body is the answer's body.
func (l *Line) Body() ([]byte, error) {
	switch l.Encoding {
	case "":
		return nil, nil
	case "json":
		return l.Raw, nil
	}
	var s string
	if err := json.Unmarshal(l.Raw, &s); err != nil {
		return nil, fmt.Errorf("item %d: the body is not text: %w", l.Index, err)
	}
	if l.Encoding == "base64" {
		return base64.StdEncoding.DecodeString(s)
	}
	return []byte(s), nil
}

// Summary ends a batch.
type Summary struct {
	Items      int   `json:"items"`
	OK         int   `json:"ok"`
	Failed     int   `json:"failed"`
	Hits       int   `json:"hits"`
	DurationMS int64 `json:"duration_ms"`
}

// ErrIncomplete says that a batch's answer ended without its summary: lines may be missing.
var ErrIncomplete = errors.New("the batch's answer broke off before its summary")

// Batch asks for many items at once. each is called for every line as it comes, in the order of
// readiness; an error of its ends the batch and is returned.
func (c *Client) Batch(ctx context.Context, items []Item, each func(Line) error) (Summary, error) {
	if items == nil {
		items = []Item{}
	}
	body, err := json.Marshal(items)
	if err != nil {
		return Summary{}, fmt.Errorf("the items can't be written as JSON: %w", err)
	}
	resp, err := c.open(ctx, http.MethodPost, "/v1/batch", "application/json", body)
	if err != nil {
		return Summary{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Summary{}, refusal(resp)
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var l struct {
			Line
			Summary *Summary `json:"summary"`
		}
		switch err := dec.Decode(&l); {
		case ctx.Err() != nil:
			return Summary{}, context.Cause(ctx)
		case err != nil:
			return Summary{}, fmt.Errorf("%w: %w", ErrIncomplete, err)
		case l.Summary != nil:
			return *l.Summary, nil
		}
		if err := each(l.Line); err != nil {
			return Summary{}, err
		}
	}
}

// refusal makes an error of an answer that is not the one expected.
func refusal(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if p := decodeProblem(resp.StatusCode, resp.Header, b); p != nil {
		return p
	}
	return &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: firstLine(bytes.TrimSpace(b))}
}

// Route is a declared route.
type Route struct {
	Name     string                `json:"name"`
	Upstream string                `json:"upstream"`
	Method   string                `json:"method"`
	Path     string                `json:"path"`
	Urgency  int                   `json:"urgency"`
	Params   map[string]RouteParam `json:"params"`
	Cache    string                `json:"cache"`
}

// RouteParam is one param of a route.
type RouteParam struct {
	Required bool   `json:"required"`
	Pattern  string `json:"pattern"`
	Default  any    `json:"default"`
	Doc      string `json:"doc"`
}

// Routes lists the declared routes by name.
func (c *Client) Routes(ctx context.Context) ([]Route, error) {
	var out struct {
		Routes []Route `json:"routes"`
	}
	err := c.getJSON(ctx, "/v1/routes", &out)
	return out.Routes, err
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Decision is one change of one knob that the tuner or an operator made.
type Decision struct {
	ID string `json:"id"`
	// Rev is the number of the decision's last change.
	Rev      uint64             `json:"rev,omitempty"`
	Time     time.Time          `json:"time"`
	Knob     string             `json:"knob"`
	Upstream string             `json:"upstream,omitempty"`
	Route    string             `json:"route,omitempty"`
	From     float64            `json:"from"`
	To       float64            `json:"to"`
	Rule     string             `json:"rule"`
	Reason   string             `json:"reason"`
	Signals  map[string]float64 `json:"signals,omitempty"`
	Expected string             `json:"expected,omitempty"`
	// Mode is shadow for a decision that was not applied.
	Mode   string `json:"mode,omitempty"`
	Author string `json:"author,omitempty"`
	// Verdict is better, neutral or worse, empty while it is not judged; Measured says why.
	Verdict  string    `json:"verdict,omitempty"`
	Measured string    `json:"measured,omitempty"`
	JudgedAt time.Time `json:"judged_at,omitzero"`
	// Confidence, 0..1, says how sure it is that the verdict is not chance; 0: not known.
	Confidence float64 `json:"confidence,omitempty"`
	RolledBack bool    `json:"rolled_back,omitempty"`
	Repeats    int     `json:"repeats,omitempty"`
}

// DecisionQuery narrows a list or a stream of decisions. Its zero value asks for all.
type DecisionQuery struct {
	// Knob and Verdict (better, neutral, worse): only those; empty: all.
	Knob, Verdict string
	// Since: only decisions made at or after it.
	Since time.Time
	// Limit is 1 to 1000, 0 for the server's default. A stream has none.
	Limit int
}

func (q DecisionQuery) encode() string {
	since, limit := "", ""
	if !q.Since.IsZero() {
		since = q.Since.UTC().Format(time.RFC3339Nano)
	}
	if q.Limit != 0 {
		limit = strconv.Itoa(q.Limit)
	}
	return query("knob", q.Knob, "verdict", q.Verdict, "since", since, "limit", limit)
}

// Decisions lists decisions, the newest first.
func (a *Admin) Decisions(ctx context.Context, q DecisionQuery) ([]Decision, error) {
	var out struct {
		Decisions []Decision `json:"decisions"`
	}
	err := a.getJSON(ctx, "/admin/v1/decisions"+q.encode(), &out)
	return out.Decisions, err
}

// Decision returns one decision.
func (a *Admin) Decision(ctx context.Context, id string) (Decision, error) {
	var out Decision
	err := a.getJSON(ctx, "/admin/v1/decisions/"+url.PathEscape(id), &out)
	return out, err
}

// TailDecisions calls f for each decision when it is made and again when it is judged, until ctx ends,
// the connection breaks or f returns an error, and returns that. It begins with what changed after the
// event last ("" for none: with what comes, or with all since q.Since) and returns the last event seen,
// from which another call can go on.
func (a *Admin) TailDecisions(ctx context.Context, q DecisionQuery, last string, f func(Decision) error) (string, error) {
	q.Limit = 0
	c := a.caller
	if last != "" {
		c.header = c.header.Clone()
		c.header.Set("Last-Event-ID", last)
	}
	resp, err := c.open(ctx, http.MethodGet, "/admin/v1/decisions/stream"+q.encode(), "", nil)
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		if p := decodeProblem(resp.StatusCode, resp.Header, b); p != nil {
			return last, p
		}
		return last, &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: firstLine(b)}
	}
	var stop error
	err = readEvents(resp.Body, func(e event) error {
		if e.name == "decision" {
			var d Decision
			if err := json.Unmarshal(e.data, &d); err != nil {
				stop = fmt.Errorf("an event is not the JSON expected; is %s a Penstock of this version? %w", a.base, err)
			} else {
				stop = f(d)
			}
		}
		if stop == nil {
			last = e.id
		}
		return stop
	})
	switch {
	case stop != nil:
		return last, stop
	case ctx.Err() != nil:
		return last, ctx.Err()
	}
	return last, &ConnError{URL: a.base, Err: fmt.Errorf("%w: %w", ErrBroken, err)}
}

// ErrBroken says that a stream that had begun broke off.
var ErrBroken = errors.New("the stream broke off")

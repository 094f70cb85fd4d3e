package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

// DecisionQuery narrows a list of decisions.
type DecisionQuery struct {
	// Knob: only decisions about it; empty: all.
	Knob string
	// Verdict: only decisions judged so; empty: all.
	Verdict string
	// Since: only decisions made at or after it; zero: all.
	Since time.Time
	// Limit is the most to list, newest first; 1 to 1000.
	Limit int
}

// DecisionEvent is a decision as it became by a change.
type DecisionEvent struct {
	// Rev is the number of that change; it rises, also across restarts.
	Rev uint64
	// Decision is written as JSON.
	Decision any
}

// Decisions is the tuner's ledger; what it gives is answered as JSON.
type Decisions interface {
	// List gives a slice, newest first.
	List(q DecisionQuery) any
	// Get finds one decision.
	Get(id string) (any, bool)
	// Changes gives the decisions that match and were changed after rev, in the order of their last
	// change, at most q.Limit.
	Changes(rev uint64, q DecisionQuery) []DecisionEvent
	// Rev is the number of the last change.
	Rev() uint64
	// Follow gives a channel that holds a token when something has changed, until cancel is called.
	Follow() (wake <-chan struct{}, cancel func())
}

const (
	defaultDecisions = 100
	maxDecisions     = 1000
)

// verdicts are what a decision can be judged as.
var verdicts = []string{"better", "neutral", "worse"}

// decisionQuery reads the parameters that lists and streams have in common.
func decisionQuery(query url.Values) (DecisionQuery, error) {
	q := DecisionQuery{Knob: query.Get("knob"), Verdict: query.Get("verdict"), Limit: defaultDecisions}
	if q.Verdict != "" && !slices.Contains(verdicts, q.Verdict) {
		return q, request.Errorf(request.ProblemBadRequest, "verdict must be one of %s", strings.Join(verdicts, ", "))
	}
	if s := query.Get("since"); s != "" {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return q, request.Errorf(request.ProblemBadRequest, "since must be a time such as 2026-01-31T15:04:05Z (RFC 3339; escape a + as %%2B)")
		}
		q.Since = at
	}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxDecisions {
			return q, request.Errorf(request.ProblemBadRequest, "limit must be a whole number from 1 to %d", maxDecisions)
		}
		q.Limit = n
	}
	return q, nil
}

func (a *admin) serveDecisions(w http.ResponseWriter, r *http.Request) {
	q, err := decisionQuery(r.URL.Query())
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	var list any
	if a.o.Decisions != nil {
		list = a.o.Decisions.List(q)
	}
	if v := reflect.ValueOf(list); !v.IsValid() || v.Kind() == reflect.Slice && v.IsNil() {
		list = []struct{}{} // a list is never null
	}
	a.writeJSON(w, r, http.StatusOK, map[string]any{"decisions": list})
}

func (a *admin) serveDecision(w http.ResponseWriter, r *http.Request) {
	id := chi.URLParam(r, "id")
	if a.o.Decisions != nil {
		if d, ok := a.o.Decisions.Get(id); ok {
			a.writeJSON(w, r, http.StatusOK, d)
			return
		}
	}
	a.fail(w, r, exchangeOf(r), noDecision(id))
}

func noDecision(id string) error {
	return &request.Error{Problem: request.ProblemNotFound,
		Detail: fmt.Sprintf("there is no decision %.100q, or it is no longer kept; GET /admin/v1/decisions lists them", id)}
}

// serveDecisionStream sends each decision when it is made and again when it is judged, as server-sent
// events whose id is the number of the change.
func (a *admin) serveDecisionStream(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	if a.o.Decisions == nil {
		a.notFound(w, r)
		return
	}
	q, err := decisionQuery(r.URL.Query())
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	rev, err := a.streamStart(r, q)
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	if a.streams.Add(1) > maxStreams {
		a.streams.Add(-1)
		a.fail(w, r, x, &request.Error{Problem: request.ProblemReducedCapacity, RetryAfter: streamRetry,
			Detail: fmt.Sprintf("%d event streams are open, which is the most; close one", maxStreams)})
		return
	}
	defer a.streams.Add(-1)
	q.Limit = maxDecisions
	wake, cancel := a.o.Decisions.Follow()
	defer cancel()
	e := startEvents(w, x)
	defer e.end()
	if r.Method == http.MethodHead {
		return
	}
	e.run(r.Context(), wake, func() error {
		rev, err = a.sendChanges(e, rev, q)
		return err
	})
}

// streamStart is the change after which a stream begins: the one that the client saw last, all that
// since asks for, or now.
func (a *admin) streamStart(r *http.Request, q DecisionQuery) (uint64, error) {
	if s := r.Header.Get("Last-Event-ID"); s != "" {
		rev, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, request.Errorf(request.ProblemBadRequest, "Last-Event-ID must be the id of an event of this stream")
		}
		return rev, nil
	}
	if !q.Since.IsZero() {
		return 0, nil
	}
	return a.o.Decisions.Rev(), nil
}

// sendChanges sends what changed after rev and returns up to where it came.
func (a *admin) sendChanges(e *events, rev uint64, q DecisionQuery) (uint64, error) {
	for {
		now := a.o.Decisions.Rev()
		changes := a.o.Decisions.Changes(rev, q)
		for _, c := range changes {
			b, err := json.Marshal(c.Decision)
			if err != nil {
				return rev, err
			}
			if err := e.send("decision", strconv.FormatUint(c.Rev, 10), b); err != nil {
				return rev, err
			}
			rev = c.Rev
		}
		if len(changes) < q.Limit {
			return max(rev, now), nil
		}
	}
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"penstock/request"
)

// TuningChange is an operator's orders to the tuner. What is nil stays as it is.
type TuningChange struct {
	// Frozen stops all tuning.
	Frozen *bool
	// Mode is for all knobs; "" takes the order back, so that the configured mode holds again.
	Mode *string
	// Modes are for single knobs, by name or by a pattern that ends in ".*"; "" takes one back.
	Modes map[string]string
	// Author and Note say who wants it and why.
	Author, Note string
}

// Tuning is the tuner as the admin plane sees it.
type Tuning interface {
	// View is answered as JSON.
	View() any
	// Change puts orders in force, all or none, and returns when they are kept.
	Change(c TuningChange) error
	// RollBack puts a decision's knob back and gives the decision as it is then; found is false if
	// there is no such decision.
	RollBack(id, author, note string) (decision any, found bool, err error)
}

// tuningModes are the modes that can be ordered.
var tuningModes = []string{"off", "shadow", "active"}

// maxModes bounds the orders for single knobs in one request.
const maxModes = 1000

// maxNote bounds what operators write about why, in bytes.
const (
	maxNote = 1000
)

func (a *admin) mountTuning(m chi.Router) {
	if a.o.Tuning == nil {
		return
	}
	m.Get("/tuning", a.serveTuning)
	m.Patch("/tuning", a.serveTuningChange)
	m.Post("/decisions/{id}/rollback", a.serveRollback)
}

func (a *admin) serveTuning(w http.ResponseWriter, r *http.Request) {
	a.writeJSON(w, r, http.StatusOK, a.o.Tuning.View())
}

// tuningBody is a merge patch (RFC 7396): null takes an order back.
type tuningBody struct {
	Frozen *bool              `json:"frozen"`
	Mode   json.RawMessage    `json:"mode"`
	Modes  map[string]*string `json:"modes"`
	Author string             `json:"author"`
	Note   string             `json:"note"`
}

func (b *tuningBody) change(ctx context.Context) (TuningChange, error) {
	c := TuningChange{Frozen: b.Frozen, Author: b.Author, Note: b.Note}
	faults := signed(ctx, &c.Author, b.Note)
	fault := func(pointer, detail string) {
		faults = append(faults, request.FieldError{Pointer: pointer, Detail: detail})
	}
	mode := func(pointer, text string) {
		if !slices.Contains(tuningModes, text) {
			fault(pointer, "must be one of "+strings.Join(tuningModes, ", ")+", or null to take the order back")
		}
	}
	switch {
	case len(b.Mode) == 0:
	case string(b.Mode) == "null":
		c.Mode = new(string)
	default:
		var text string
		_ = json.Unmarshal(b.Mode, &text) // what is no string is no mode
		mode("/mode", text)
		c.Mode = &text
	}
	if len(b.Modes) > maxModes {
		fault("/modes", "has too many members; use patterns such as cache.ttl.*")
	}
	c.Modes = make(map[string]string, len(b.Modes))
	for name, m := range b.Modes {
		text := ""
		if m != nil {
			text = *m
			mode("/modes/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), text)
		}
		c.Modes[name] = text
	}
	if c.Frozen == nil && c.Mode == nil && len(c.Modes) == 0 {
		fault("", "nothing is to be changed; give frozen, mode or modes")
	}
	return c, unprocessable(faults)
}

// unprocessable is a 422 that lists the faults, nil if there are none.
func unprocessable(faults []request.FieldError) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortFunc(faults, func(x, y request.FieldError) int { return strings.Compare(x.Pointer, y.Pointer) })
	e, _ := faultsError(faults).(*request.Error)
	e.Problem = request.ProblemUnprocessable
	return e
}

func (a *admin) serveTuningChange(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	var body tuningBody
	if err := readStrict(w, r, &body); err != nil {
		a.fail(w, r, x, err)
		return
	}
	c, err := body.change(x)
	if err == nil {
		if err = a.o.Tuning.Change(c); err != nil {
			err = request.Errorf(request.ProblemUnprocessable, "%w", err)
		}
	}
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, a.o.Tuning.View())
}

func (a *admin) serveRollback(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	var body struct {
		Author string `json:"author"`
		Note   string `json:"note"`
	}
	if err := readOptional(w, r, &body); err != nil {
		a.fail(w, r, x, err)
		return
	}
	if err := unprocessable(signed(x, &body.Author, body.Note)); err != nil {
		a.fail(w, r, x, err)
		return
	}
	id := chi.URLParam(r, "id")
	d, found, err := a.o.Tuning.RollBack(id, body.Author, body.Note)
	switch {
	case !found:
		a.fail(w, r, x, noDecision(id))
	case err != nil:
		a.fail(w, r, x, request.Errorf(request.ProblemUnprocessable, "%w", err))
	default:
		a.writeJSON(w, r, http.StatusOK, d)
	}
}

// readOptional is readStrict for a body that may be left out.
func readOptional(w http.ResponseWriter, r *http.Request, v any) error {
	if r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 { // of unknown length: it may still be empty
		first := make([]byte, 1)
		n, err := io.ReadFull(r.Body, first)
		if errors.Is(err, io.EOF) {
			return nil
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader(string(first[:n])), r.Body), r.Body}
	}
	return readStrict(w, r, v)
}

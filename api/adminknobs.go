package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"penstock/knob"
	"penstock/request"
)

// knobView is what the admin plane tells of a knob. Values are in the knob's base unit (seconds
// for a duration, 0 or 1 for a bool); null stands for infinity.
type knobView struct {
	Name       string    `json:"name"`
	Kind       knob.Kind `json:"kind"`
	Unit       string    `json:"unit,omitempty"`
	Doc        string    `json:"doc,omitempty"`
	Default    *float64  `json:"default"`
	Min        *float64  `json:"min"`
	Max        *float64  `json:"max"`
	MaxStep    *float64  `json:"max_step,omitempty"`
	Value      *float64  `json:"value"`
	Text       string    `json:"text"`
	Source     string    `json:"source"`
	Base       *float64  `json:"base"`
	BaseSource string    `json:"base_source"`
	Tuned      *float64  `json:"tuned,omitempty"`
	Pin        *pinView  `json:"pin,omitempty"`
}

type pinView struct {
	Value    *float64   `json:"value"`
	Text     string     `json:"text"`
	Note     string     `json:"note,omitempty"`
	Author   string     `json:"author,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	FromFile bool       `json:"from_file"`
}

func viewKnob(k *knob.Knob) knobView {
	s := k.State()
	v := knobView{Name: s.Spec.Name, Kind: s.Spec.Kind, Unit: s.Spec.Unit, Doc: s.Spec.Doc,
		Default: finite(s.Spec.Default), Min: finite(s.Spec.Min), Max: finite(s.Spec.Max),
		Value: finite(s.Value), Text: s.Spec.Format(s.Value), Source: string(s.Source),
		Base: finite(s.Base), BaseSource: string(s.BaseSource), Tuned: s.Tuned}
	if s.Spec.MaxStep > 0 {
		v.MaxStep = finite(s.Spec.MaxStep)
	}
	if p := s.Pin; p != nil {
		v.Pin = &pinView{Value: finite(p.Value), Text: s.Spec.Format(p.Value), Note: p.Note, Author: p.Author, FromFile: p.FromFile}
		if !p.Until.IsZero() {
			v.Pin.Until = &p.Until
		}
	}
	return v
}

// finite is nil for what JSON can't say.
func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func (a *admin) serveKnobs(w http.ResponseWriter, r *http.Request) {
	views := []knobView{}
	for _, k := range a.o.Knobs.All() {
		views = append(views, viewKnob(k))
	}
	a.writeJSON(w, r, http.StatusOK, map[string]any{"knobs": views})
}

func (a *admin) knob(r *http.Request) (*knob.Knob, error) {
	name, err := url.PathUnescape(chi.URLParam(r, "name"))
	if err != nil {
		return nil, request.Errorf(request.ProblemBadRequest, "the knob's name in the path is not well escaped")
	}
	if k, ok := a.o.Knobs.Lookup(name); ok {
		return k, nil
	}
	text := fmt.Sprintf("no knob is named %.100q", name)
	var names []string
	for _, k := range a.o.Knobs.All() {
		names = append(names, k.Spec().Name)
	}
	if s := closest(name, names); s != "" {
		text += fmt.Sprintf(" (did you mean %q?)", s)
	}
	return nil, &request.Error{Problem: request.ProblemNotFound, Detail: text + "; GET /admin/v1/knobs lists the knobs"}
}

func (a *admin) serveKnob(w http.ResponseWriter, r *http.Request) {
	k, err := a.knob(r)
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, viewKnob(k))
}

func (a *admin) servePin(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	k, err := a.knob(r)
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	var body pinBody
	if err := readStrict(w, r, &body); err != nil {
		a.fail(w, r, x, err)
		return
	}
	pin, err := body.pin(x, k.Spec())
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	if err := k.Pin(pin); err != nil {
		a.fail(w, r, x, request.Errorf(request.ProblemUnprocessable, "%w", err))
		return
	}
	a.o.PinsChanged()
	a.writeJSON(w, r, http.StatusOK, viewKnob(k))
}

func (a *admin) serveUnpin(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	k, err := a.knob(r)
	if err != nil {
		a.fail(w, r, x, err)
		return
	}
	had, err := k.UnpinBy(AuthorOf(x), false, true)
	switch {
	case err != nil:
		a.fail(w, r, x, request.Errorf(request.ProblemUnprocessable, "%w", err))
		return
	case !had:
		a.fail(w, r, x, request.Errorf(request.ProblemNotFound, "knob %s is not pinned", k.Spec().Name))
		return
	}
	a.o.PinsChanged()
	a.writeJSON(w, r, http.StatusOK, viewKnob(k))
}

// pinBody is what PUT .../pin takes.
type pinBody struct {
	Value json.RawMessage `json:"value"`
	Until *time.Time      `json:"until"`
	For   *string         `json:"for"`
	Note  string          `json:"note"`
	// Author says who pins, where the token does not say it.
	Author string `json:"author"`
}

func (b pinBody) pin(ctx context.Context, s knob.Spec) (knob.Pin, error) {
	p := knob.Pin{Note: b.Note, Author: b.Author}
	faults := signed(ctx, &p.Author, b.Note)
	var err error
	if p.Value, err = b.value(s); err != nil {
		faults = append(faults, request.FieldError{Pointer: "/value", Detail: err.Error()})
	}
	switch {
	case b.Until != nil && b.For != nil:
		faults = append(faults, request.FieldError{Pointer: "/for", Detail: "give until or for, not both"})
	case b.Until != nil:
		p.Until = *b.Until
	case b.For != nil:
		d, err := time.ParseDuration(*b.For)
		if err != nil || d <= 0 {
			faults = append(faults, request.FieldError{Pointer: "/for", Detail: `for must be a positive duration such as "1h30m"`})
		}
		p.Until = time.Now().Add(d)
	}
	return p, unprocessable(faults)
}

// value takes a number, a string as the knob's values are written, or a bool.
func (b pinBody) value(s knob.Spec) (float64, error) {
	text := strings.TrimSpace(string(b.Value))
	switch {
	case text == "" || text == "null":
		return 0, fmt.Errorf("value is missing; knob %s is a %s", s.Name, s.Kind)
	case text[0] == '"':
		if err := json.Unmarshal(b.Value, &text); err != nil {
			return 0, err
		}
	case text[0] == '{' || text[0] == '[':
		return 0, fmt.Errorf("value must be a number, a string or a bool; knob %s is a %s", s.Name, s.Kind)
	}
	return s.Parse(text)
}

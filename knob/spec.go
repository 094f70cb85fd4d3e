package knob

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Kind is the type of a knob's value.
type Kind string

// The kinds of knob. Internally every value is a float64: a Duration in seconds, a Bool 0 or 1.
const (
	KindInt      Kind = "int"
	KindFloat    Kind = "float"
	KindDuration Kind = "duration"
	KindBool     Kind = "bool"
)

// Spec describes a knob. The docs table, the JSON schema and the ranges on the page come from it.
type Spec struct {
	// Name is dotted and unique: "workers.movies", "cache.ttl.movie".
	Name string
	Kind Kind
	// Unit is for people: "permits", "req/s", "bytes", "s"; may be empty.
	Unit string
	// Default, Min and Max are in the knob's base unit (seconds for a duration). Min <= Default
	// <= Max.
	Default, Min, Max float64
	// MaxStep is the most that the tuner may change the value by at once; 0: no bound.
	MaxStep float64
	// Doc is one sentence: what it does, and what more and less of it mean.
	Doc string
}

// Validate reports what is wrong with the spec itself.
func (s Spec) Validate() error {
	if s.Name == "" {
		return fmt.Errorf("knob without a name")
	}
	if math.IsNaN(s.Default) || s.Min > s.Max || s.Default < s.Min || s.Default > s.Max {
		return fmt.Errorf("knob %s: default %s is not within [%s, %s]", s.Name, s.Format(s.Default), s.Format(s.Min), s.Format(s.Max))
	}
	return nil
}

// Check reports why v can't be the knob's value, nil if it can.
func (s Spec) Check(v float64) error {
	if math.IsNaN(v) || v < s.Min || v > s.Max {
		return fmt.Errorf("knob %s: %s is not within [%s, %s]", s.Name, s.Format(v), s.Format(s.Min), s.Format(s.Max))
	}
	if (s.Kind == KindInt || s.Kind == KindBool) && v != math.Trunc(v) {
		return fmt.Errorf("knob %s: %v is not a whole number", s.Name, v)
	}
	return nil
}

// Format writes v as people write it: "12", "0.25", "1m30s", "true".
func (s Spec) Format(v float64) string {
	switch s.Kind {
	case KindInt:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case KindDuration:
		return toDuration(v).String()
	case KindBool:
		return strconv.FormatBool(v != 0)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Parse reads what Format writes; a duration may also be a plain number of seconds. It checks
// the bounds.
func (s Spec) Parse(text string) (float64, error) {
	v, err := s.parse(text)
	if err != nil {
		return 0, fmt.Errorf("knob %s: %q is not a %s", s.Name, text, s.Kind)
	}
	return v, s.Check(v)
}

func (s Spec) parse(text string) (float64, error) {
	switch s.Kind {
	case KindDuration:
		if d, err := time.ParseDuration(text); err == nil {
			return d.Seconds(), nil
		}
	case KindBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return 0, err
		}
		return fromBool(b), nil
	}
	return strconv.ParseFloat(text, 64)
}

func toDuration(v float64) time.Duration {
	if ns := v * float64(time.Second); ns < math.MaxInt64 {
		return time.Duration(math.Round(ns))
	}
	return math.MaxInt64
}

func fromBool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

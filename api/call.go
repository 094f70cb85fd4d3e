package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock/request"
)

// call is one request for a declared route, as POST /v1/requests and the batch take it.
type call struct {
	// id is the caller's own name of the call as it was sent: a JSON string or number; nil: none.
	id       json.RawMessage
	route    string
	params   map[string]any
	urgency  *request.Urgency
	deadline time.Duration // 0: none
	cache    string        // the Cache-Control to ask with, "" for none
}

// callFields reads one member of the JSON object each. A returned error is the fault's detail.
var callFields = map[string]func(c *call, raw json.RawMessage) error{
	"id":          (*call).readID,
	"route":       (*call).readRoute,
	"params":      (*call).readParams,
	"urgency":     (*call).readUrgency,
	"deadline_ms": (*call).readDeadline,
	"cache":       (*call).readCache,
}

const callExample = `{"route": "NAME", "params": {...}}`

// parseCall reads a call strictly and reports all its faults at once. With an error, the call has
// the id if that much could be read.
func parseCall(raw []byte) (*call, error) {
	c := new(call)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return c, jsonFault(raw, err)
	}
	if members == nil {
		return c, request.Errorf(request.ProblemBadRequest, "null is no request; send an object such as %s", callExample)
	}
	var faults []request.FieldError
	for _, name := range slices.Sorted(maps.Keys(members)) {
		read, ok := callFields[name]
		if !ok {
			faults = append(faults, unknownMember(name, slices.Sorted(maps.Keys(callFields))))
			continue
		}
		if err := read(c, members[name]); err != nil {
			faults = append(faults, request.FieldError{Pointer: "/" + name, Detail: err.Error()})
		}
	}
	if _, ok := members["route"]; !ok {
		faults = append(faults, request.FieldError{Pointer: "/route", Detail: "route is missing; GET /v1/routes lists the routes"})
	}
	return c, faultsError(faults)
}

// faultsError makes one error of the faults, nil if there are none.
func faultsError(faults []request.FieldError) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return &request.Error{Problem: request.ProblemBadRequest, Detail: faults[0].Detail, Fields: faults}
	}
	return &request.Error{Problem: request.ProblemBadRequest,
		Detail: fmt.Sprintf("the request has %d faults, the first: %s", len(faults), faults[0].Detail), Fields: faults}
}

func unknownMember(name string, known []string) request.FieldError {
	text := fmt.Sprintf("unknown member %.100q", name)
	if s := closest(name, known); s != "" {
		text += fmt.Sprintf(" (did you mean %q?)", s)
	} else {
		text += "; there are " + strings.Join(known, ", ")
	}
	return request.FieldError{Pointer: "/" + pointerEscaper.Replace(fmt.Sprintf("%.100s", name)), Detail: text}
}

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// jsonFault says what is wrong with raw as a JSON object.
func jsonFault(raw []byte, err error) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return request.Errorf(request.ProblemBadRequest, "the body is empty; send %s", callExample)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return request.Errorf(request.ProblemBadRequest, "bad JSON at byte %d: %w", e.Offset, e)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return request.Errorf(request.ProblemBadRequest, "a JSON %s is no request; send an object such as %s", e.Value, callExample)
	}
	return request.Errorf(request.ProblemBadRequest, "bad JSON: %w", err)
}

func (c *call) readID(raw json.RawMessage) error {
	switch {
	case len(raw) > 1024:
		return errors.New("id is over 1024 bytes")
	case raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		c.id = raw
	case string(raw) != "null":
		return errors.New("id must be a string or a number")
	}
	return nil
}

func (c *call) readRoute(raw json.RawMessage) error {
	if json.Unmarshal(raw, &c.route) != nil || c.route == "" {
		return errors.New("route must be a route's name; GET /v1/routes lists the routes")
	}
	return nil
}

func (c *call) readParams(raw json.RawMessage) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // ids of 2^53 and more must stay what they are
	if dec.Decode(&c.params) != nil {
		return errors.New("params must be an object of names and values")
	}
	return nil
}

func (c *call) readUrgency(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	u, err := request.ParseUrgency(string(raw))
	if err != nil {
		return fmt.Errorf("bad urgency: %.100s is not a whole number from 0 (most urgent) to 7", raw)
	}
	c.urgency = &u
	return nil
}

func (c *call) readDeadline(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	var ms int64
	if json.Unmarshal(raw, &ms) != nil || ms < 1 || ms > maxDeadline.Milliseconds() {
		return errors.New("deadline_ms must be a whole number of milliseconds from 1 to 86400000")
	}
	c.deadline = time.Duration(ms) * time.Millisecond
	return nil
}

func (c *call) readCache(raw json.RawMessage) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		switch s {
		case "", "default":
			return nil
		case "no-cache", "no-store", "only-if-cached":
			c.cache = s
			return nil
		}
	}
	return errors.New("cache must be one of default, no-cache, no-store, only-if-cached")
}

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"penstock/request"
)

// maxAdminBody bounds what the admin plane reads.
const maxAdminBody = 1 << 20

// readStrict decodes the body into v, a pointer to a struct, and refuses unknown members and
// anything behind the object.
func readStrict(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return strictFault(err, v)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return request.Errorf(request.ProblemBadRequest, "something stands behind the JSON object in the body; send the object alone")
	}
	return nil
}

func strictFault(err error, v any) error {
	if errors.Is(err, io.EOF) {
		return request.Errorf(request.ProblemBadRequest, "the body is empty; send a JSON object with %s", strings.Join(members(v), ", "))
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return &request.Error{Problem: request.ProblemBodyTooLarge, Detail: fmt.Sprintf("the body is over %d bytes", maxAdminBody)}
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e := &request.Error{Problem: request.ProblemBadRequest,
			Detail: fmt.Sprintf("a JSON %s does not fit %s", e.Value, strings.TrimSpace("member "+e.Field)),
			Fields: []request.FieldError{{Pointer: "/" + strings.ReplaceAll(e.Field, ".", "/"), Detail: "must not be a " + e.Value}}}
		return e
	}
	// encoding/json has no type for this one.
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name := strings.Trim(quoted, `"`)
		text := fmt.Sprintf("unknown member %.100q", name)
		if s := closest(name, members(v)); s != "" {
			text += fmt.Sprintf(" (did you mean %q?)", s)
		} else {
			text += "; there are " + strings.Join(members(v), ", ")
		}
		return faultsError([]request.FieldError{{Pointer: "/" + pointerEscaper.Replace(name), Detail: text}})
	}
	return request.Errorf(request.ProblemBadRequest, "bad JSON: %w", err)
}

// members lists the names of the JSON members of the struct that v points to.
func members(v any) []string {
	t := reflect.TypeOf(v).Elem()
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

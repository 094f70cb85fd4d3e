package batcher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"penstock/request"
)

// paramText is a param as it stands in a path or query, false if it has no such form.
func paramText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		b, err := json.Marshal(v)
		return string(b), err == nil
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// rawJSON writes v without HTML escapes, as Route.Build does.
func rawJSON(v any) ([]byte, bool) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return nil, false
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), true
}

// expand fills the {params} of a template, each passed through escape; "{{" and "}}" stand for
// single braces. False: a param is absent or has no text.
func expand(tmpl string, params map[string]any, escape func(string) (string, bool)) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(tmpl); i++ {
		rest := tmpl[i:]
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			b.WriteByte(tmpl[i])
			i++
		case rest[0] == '{' && strings.IndexByte(rest, '}') > 0:
			end := strings.IndexByte(rest, '}')
			text, ok := paramText(params[rest[1:end]])
			if ok {
				text, ok = escape(text)
			}
			if !ok {
				return "", false
			}
			b.WriteString(text)
			i += end
		default:
			b.WriteByte(tmpl[i])
		}
	}
	return b.String(), true
}

// fill fills a JSON value: a string that is exactly "{param}" becomes the param's own JSON value.
// A field or element whose param is absent is left out, as Route.Build does.
func fill(tmpl any, params map[string]any) (any, bool) {
	switch t := tmpl.(type) {
	case string:
		if name, ok := exactly(t); ok {
			v, ok := params[name]
			return v, ok
		}
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, v := range t {
			if filled, ok := fill(v, params); ok {
				out[k] = filled
			}
		}
		return out, true
	case []any:
		out := make([]any, 0, len(t))
		for _, v := range t {
			if filled, ok := fill(v, params); ok {
				out = append(out, filled)
			}
		}
		return out, true
	}
	return tmpl, true
}

// exactly returns the name in a string that is "{name}" and nothing else.
func exactly(s string) (string, bool) {
	if len(s) > 2 && s[0] == '{' && s[1] != '{' && strings.IndexByte(s, '}') == len(s)-1 {
		return s[1 : len(s)-1], true
	}
	return "", false
}

// names reports whether the text template names the param.
func names(tmpl, param string) bool {
	return strings.Contains(strings.ReplaceAll(tmpl, "{{", ""), "{"+param+"}")
}

// namedIn collects into set the params that the JSON value's templates name.
func namedIn(tmpl any, set map[string]bool) {
	switch t := tmpl.(type) {
	case string:
		if name, ok := exactly(t); ok {
			set[name] = true
		}
	case map[string]any:
		for _, v := range t {
			namedIn(v, set)
		}
	case []any:
		for _, v := range t {
			namedIn(v, set)
		}
	}
}

// namesIn reports whether the JSON value's templates name the param.
func namesIn(tmpl any, param string) bool {
	set := make(map[string]bool)
	namedIn(tmpl, set)
	return set[param]
}

// routeNames reports whether the route declares the param or a template of it names it.
func routeNames(route *request.Route, param string) bool {
	if _, ok := route.Params[param]; ok || names(route.Path, param) || namesIn(route.Body, param) {
		return true
	}
	for _, templates := range []map[string]string{route.Query, route.Header} {
		for _, t := range templates {
			if names(t, param) {
				return true
			}
		}
	}
	return false
}

package batcher

import (
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
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// expand fills the {params} of a template, each passed through escape. False: a param is absent
// or has no text.
func expand(tmpl string, params map[string]any, escape func(string) string) (string, bool) {
	var b strings.Builder
	for {
		open := strings.IndexByte(tmpl, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(tmpl[open:], '}')
		if end < 0 {
			break
		}
		text, ok := paramText(params[tmpl[open+1:open+end]])
		if !ok {
			return "", false
		}
		b.WriteString(tmpl[:open])
		b.WriteString(escape(text))
		tmpl = tmpl[open+end+1:]
	}
	b.WriteString(tmpl)
	return b.String(), true
}

// fill fills the {params} of a JSON value: a string that is exactly "{param}" becomes the param's
// own JSON value, {param} inside a longer string its text.
func fill(tmpl any, params map[string]any) (any, bool) {
	switch t := tmpl.(type) {
	case string:
		if name, ok := exactly(t); ok {
			v, ok := params[name]
			return v, ok
		}
		return expand(t, params, func(s string) string { return s })
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, v := range t {
			filled, ok := fill(v, params)
			if !ok {
				return nil, false
			}
			out[k] = filled
		}
		return out, true
	case []any:
		out := make([]any, len(t))
		for i, v := range t {
			filled, ok := fill(v, params)
			if !ok {
				return nil, false
			}
			out[i] = filled
		}
		return out, true
	}
	return tmpl, true
}

// exactly returns the name in a string that is "{name}" and nothing else.
func exactly(s string) (string, bool) {
	if len(s) > 2 && s[0] == '{' && strings.IndexByte(s, '}') == len(s)-1 {
		return s[1 : len(s)-1], true
	}
	return "", false
}

// names reports whether the template names the param.
func names(tmpl, param string) bool { return strings.Contains(tmpl, "{"+param+"}") }

// namesIn reports whether a string anywhere in the JSON value names the param.
func namesIn(tmpl any, param string) bool {
	switch t := tmpl.(type) {
	case string:
		return names(t, param)
	case map[string]any:
		for _, v := range t {
			if namesIn(v, param) {
				return true
			}
		}
	case []any:
		for _, v := range t {
			if namesIn(v, param) {
				return true
			}
		}
	}
	return false
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

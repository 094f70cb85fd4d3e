package configs

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"penstock/knob"
)

// layer is what one source sets: typed values by key, with the origin of each.
type layer struct {
	values map[string]any
	// origins has the leaves, which end up in Loaded.Sources; places has every key.
	origins map[string]Origin
	places  map[string]Origin
	// lists are the keys of the lists, which replace those of weaker layers as a whole.
	lists  []string
	faults []Fault
	source knob.Source
}

func newLayer(source knob.Source) *layer {
	return &layer{values: make(map[string]any), origins: make(map[string]Origin), places: make(map[string]Origin), source: source}
}

// opaque keeps koanf from merging inside a value of any shape (a body), which is replaced whole.
type opaque struct{ V any }

func (l *layer) fault(n *node, key, suggestion, format string, args ...any) {
	l.faults = append(l.faults, Fault{File: n.file, Line: n.line, Key: key, Problem: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

func (l *layer) origin(n *node) Origin { return Origin{Source: l.source, File: n.file, Line: n.line} }

// decode checks a value's type against the spec and returns it typed; false: leave it out, a fault
// was recorded or there is nothing to set.
func (l *layer) decode(s *spec, n *node, path string) (any, bool) {
	if path != "" {
		l.places[path] = l.origin(n)
	}
	if n.isNull() {
		if s.kind == kindAny {
			return nil, false
		}
		if s.leaf() && s.kind != kindList {
			l.fault(n, path, "", "has no value; write one or remove the key")
		}
		return nil, false
	}
	if n.kind == nodeScalar && n.tag == tagLoose && (!s.leaf() || s.kind == kindList || s.kind == kindAny) {
		var ok bool
		if n, ok = l.unfold(s, n, path); !ok {
			return nil, false
		}
	}
	switch s.kind {
	case kindStruct:
		return l.decodeStruct(s, n, path)
	case kindMap:
		return l.decodeMap(s, n, path)
	case kindList:
		return l.decodeList(s, n, path)
	}
	v, ok := l.decodeScalar(s, n, path)
	if ok {
		l.origins[path] = l.origin(n)
	}
	return v, ok
}

// unfold reads the text of a variable or flag as YAML, for keys that take more than a scalar.
func (l *layer) unfold(s *spec, n *node, path string) (*node, bool) {
	if s.kind == kindList && s.elem.leaf() && !strings.HasPrefix(strings.TrimSpace(n.text), "[") {
		list := &node{kind: nodeList, file: n.file, line: n.line}
		for _, part := range strings.Split(n.text, ",") {
			list.items = append(list.items, &node{tag: tagLoose, text: strings.TrimSpace(part), file: n.file, line: n.line})
		}
		return list, true
	}
	parsed, faults := parseYAML([]byte(n.text), n.file)
	if len(faults) > 0 {
		if s.kind == kindAny {
			return &node{text: n.text, file: n.file, line: n.line}, true
		}
		l.fault(n, path, "", "can't be read as %s; write it as YAML on one line, such as [a, b] or {key: value}", s.what())
		return nil, false
	}
	unplace(parsed)
	return parsed, true
}

// unplace drops the lines of a value that has none in a file.
func unplace(n *node) {
	n.line = 0
	for i := range n.pairs {
		n.pairs[i].line = 0
		unplace(n.pairs[i].value)
	}
	for _, item := range n.items {
		unplace(item)
	}
}

func (l *layer) wrongType(s *spec, n *node, path string) (any, bool) {
	l.fault(n, path, "", "must be %s, not %s", s.what(), n.what())
	return nil, false
}

func (l *layer) decodeStruct(s *spec, n *node, path string) (any, bool) {
	if n.kind != nodeMap {
		return l.wrongType(s, n, path)
	}
	out := make(map[string]any, len(n.pairs))
	for _, p := range n.pairs {
		f := s.field(p.key)
		if f == nil {
			if path == "" && ignoredTopKey(p.key) {
				continue
			}
			l.faults = append(l.faults, unknownKey(s, n.file, p, path))
			continue
		}
		l.places[join(path, p.key)] = Origin{Source: l.source, File: n.file, Line: p.line}
		if v, ok := l.decode(f, p.value, join(path, p.key)); ok {
			out[p.key] = v
		}
		l.atKey(join(path, p.key), p)
	}
	return out, true
}

// atKey gives a key the line of its name where the value is a block that begins on the next line.
func (l *layer) atKey(path string, p pair) {
	if o, ok := l.places[path]; ok && p.line > 0 && p.value.kind != nodeScalar && o.File == p.value.file {
		o.Line = p.line
		l.places[path] = o
		if _, ok := l.origins[path]; ok {
			l.origins[path] = o
		}
	}
}

// ignoredTopKey reports keys that editors and people put into a file for their own use: the schema's
// address, and x-something for YAML anchors.
func ignoredTopKey(key string) bool { return key == "$schema" || strings.HasPrefix(key, "x-") }

func unknownKey(s *spec, file string, p pair, path string) Fault {
	f := Fault{File: file, Line: p.line, Key: join(path, p.key), Problem: "unknown key", Suggestion: nearest(p.key, s.fieldNames())}
	if f.Suggestion == "" {
		f.Problem += "; here may stand " + strings.Join(s.fieldNames(), ", ")
	}
	return f
}

func (l *layer) decodeMap(s *spec, n *node, path string) (any, bool) {
	if n.kind != nodeMap {
		return l.wrongType(s, n, path)
	}
	out := make(map[string]any, len(n.pairs))
	for _, p := range n.pairs {
		l.places[join(path, p.key)] = Origin{Source: l.source, File: n.file, Line: p.line}
		value := p.value
		if value.isNull() && !s.elem.leaf() {
			// "movies:" with nothing below it still names one.
			value = &node{kind: nodeMap, file: n.file, line: p.line}
		}
		if v, ok := l.decode(s.elem, value, join(path, p.key)); ok {
			out[p.key] = v
		}
		l.atKey(join(path, p.key), p)
	}
	return out, true
}

func (l *layer) decodeList(s *spec, n *node, path string) (any, bool) {
	if n.kind != nodeList {
		return l.wrongType(s, n, path)
	}
	out := make([]any, 0, len(n.items))
	for i, item := range n.items {
		v, ok := l.decode(s.elem, item, indexed(path, i))
		if !ok {
			if item.isNull() && !s.elem.leaf() {
				l.fault(item, indexed(path, i), "", "has no value; write one or remove it")
			}
			continue
		}
		if m, isMap := v.(map[string]any); isMap && s.name == "rates" {
			v = l.withDefaults(s.elem, m, indexed(path, i))
		}
		out = append(out, v)
	}
	l.origins[path] = l.origin(n)
	l.lists = append(l.lists, path)
	return out, true
}

// withDefaults fills a rate window in: lists are replaced as a whole, so no other layer does.
func (l *layer) withDefaults(s *spec, m map[string]any, path string) map[string]any {
	filled := valueMap(s, defaultRate()) // a TenantRate has the same fields
	for key := range filled {
		if _, ok := m[key]; !ok && key != "limit" {
			l.origins[join(path, key)] = Origin{Source: knob.SourceDefault}
		}
	}
	delete(filled, "limit")
	maps.Copy(filled, m)
	return filled
}

func (l *layer) decodeScalar(s *spec, n *node, path string) (any, bool) {
	if s.kind == kindAny {
		return l.decodeAny(s, n, path)
	}
	if n.kind != nodeScalar {
		return l.wrongType(s, n, path)
	}
	loose := n.tag == tagLoose
	switch s.kind {
	case kindBool:
		if n.tag == tagBool || loose && (n.text == "true" || n.text == "false") {
			return n.text == "true", true
		}
		return l.notBool(s, n, path)
	case kindInt:
		if i, err := strconv.Atoi(n.text); err == nil && (n.tag == tagInt || loose) {
			return i, true
		}
	case kindFloat:
		if f, err := strconv.ParseFloat(n.text, 64); err == nil && n.tag != tagText && n.tag != tagBool && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, true
		}
	case kindText:
		if n.tag == tagText || loose || s.format == "scalar" {
			return n.text, true
		}
		l.fault(n, path, "", "must be text, not %s; put it in quotes", n.what())
		return nil, false
	case kindDuration:
		return l.decodeDuration(s, n, path)
	case kindSize:
		if n.tag != tagBool {
			size, err := ParseSize(n.text)
			if err == nil {
				return size, true
			}
			l.fault(n, path, "", "%s, not %s", err, quoted(n))
			return nil, false
		}
	}
	l.fault(n, path, "", "must be %s, not %s", s.what(), quoted(n))
	return nil, false
}

// quoted shows a scalar that is not a secret, shortened.
func quoted(n *node) string {
	text := n.text
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "..."
	}
	if n.tag == tagText || n.tag == tagLoose {
		return strconv.Quote(text)
	}
	return text
}

func (l *layer) notBool(s *spec, n *node, path string) (any, bool) {
	suggestion := ""
	switch strings.ToLower(n.text) {
	case "yes", "y", "on", "1", "enabled", "true":
		suggestion = "true"
	case "no", "n", "off", "0", "disabled", "false":
		suggestion = "false"
	}
	l.fault(n, path, suggestion, "must be %s, not %s", s.what(), quoted(n))
	return nil, false
}

func (l *layer) decodeDuration(s *spec, n *node, path string) (any, bool) {
	if n.tag == tagBool {
		return l.wrongType(s, n, path)
	}
	if d, err := time.ParseDuration(n.text); err == nil {
		return d, true
	}
	suggestion := ""
	if f, err := strconv.ParseFloat(n.text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		l.fault(n, path, n.text+"s", "the duration %s has no unit", n.text)
		return nil, false
	}
	if days, ok := strings.CutSuffix(n.text, "d"); ok {
		if d, err := strconv.Atoi(days); err == nil && d >= 0 && d < 100_000 {
			suggestion = strconv.Itoa(24*d) + "h"
		}
	} else if _, err := time.ParseDuration(strings.ToLower(strings.ReplaceAll(n.text, " ", ""))); err == nil {
		suggestion = strings.ToLower(strings.ReplaceAll(n.text, " ", ""))
	}
	l.fault(n, path, suggestion, "must be %s, not %s", s.what(), quoted(n))
	return nil, false
}

// decodeAny takes a value of any shape (a JSON body), or any scalar.
func (l *layer) decodeAny(s *spec, n *node, path string) (any, bool) {
	if s.format == "scalar" && n.kind != nodeScalar {
		l.fault(n, path, "", "must be text, a number or a boolean, not %s", n.what())
		return nil, false
	}
	if s.format == "object" && n.kind != nodeMap {
		l.fault(n, path, "", "must be a section of names and values, not %s", n.what())
		return nil, false
	}
	v, err := anyValue(n)
	if err != nil {
		l.fault(n, path, "", "%s", err)
		return nil, false
	}
	return opaque{v}, true
}

// anyValue turns a node into what JSON knows; numbers become json.Number, so that none loses digits.
func anyValue(n *node) (any, error) {
	switch {
	case n.kind == nodeMap:
		m := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			v, err := anyValue(p.value)
			if err != nil {
				return nil, err
			}
			m[p.key] = v
		}
		return m, nil
	case n.kind == nodeList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			v, err := anyValue(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case n.tag == tagNull:
		return nil, nil
	case n.tag == tagBool:
		return n.text == "true", nil
	case n.tag == tagInt || n.tag == tagFloat:
		return jsonNumber(n.text)
	}
	return n.text, nil
}

// jsonNumber writes a number of YAML or TOML as JSON does.
func jsonNumber(text string) (any, error) {
	if json.Valid([]byte(text)) {
		return json.Number(text), nil
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%s is not a number that JSON knows", text)
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), nil
}

// decimal writes an integer of any base in decimal, and anything else as it is.
func decimal(text string) string {
	if len(text) > 100 {
		return text
	}
	if n, ok := new(big.Int).SetString(strings.TrimPrefix(text, "+"), 0); ok {
		return n.String()
	}
	return text
}

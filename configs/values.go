package configs

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"penstock/knob"
)

// valueMap turns a struct into the map that a file with all its keys would give.
func valueMap(s *spec, v any) map[string]any {
	return toMap(s, reflect.ValueOf(v)).(map[string]any)
}

func toMap(s *spec, v reflect.Value) any {
	switch s.kind {
	case kindStruct:
		m := make(map[string]any, len(s.fields))
		for i, f := range s.fields {
			if c := toMap(f, v.Field(i)); c != nil {
				m[f.name] = c
			}
		}
		return m
	case kindMap:
		if v.IsNil() {
			return nil
		}
		m := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = toMap(s.elem, it.Value())
		}
		return m
	case kindList:
		if v.IsNil() {
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = toMap(s.elem, v.Index(i))
		}
		return list
	case kindAny:
		if v.IsNil() {
			return nil
		}
		return opaque{v.Interface()}
	}
	return v.Interface()
}

// eachLeaf calls f for every leaf key in the order of the struct, names in order. The elements of
// lists come after their list, which is a leaf too.
func eachLeaf(s *spec, v reflect.Value, path string, f func(s *spec, v reflect.Value, path string)) {
	switch s.kind {
	case kindStruct:
		for i, field := range s.fields {
			eachLeaf(field, v.Field(i), join(path, field.name), f)
		}
	case kindMap:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			eachLeaf(s.elem, v.MapIndex(k), join(path, k.String()), f)
		}
	case kindList:
		f(s, v, path)
		for i := range v.Len() {
			eachLeaf(s.elem, v.Index(i), indexed(path, i), f)
		}
	default:
		f(s, v, path)
	}
}

// section returns the map under the keys, nil if there is none.
func section(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		next, ok := m[k].(map[string]any)
		if !ok {
			return nil
		}
		m = next
	}
	return m
}

// put sets a value under the keys, making sections on the way.
func put(m map[string]any, value any, keys ...string) {
	for _, k := range keys[:len(keys)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = make(map[string]any)
			m[k] = next
		}
		m = next
	}
	m[keys[len(keys)-1]] = value
}

// newDefaults is the layer of a struct's values, all of them of one source.
func newDefaults(source knob.Source, c *Config) *layer {
	l := newLayer(source)
	l.values = valueMap(root(), *c)
	eachLeaf(root(), reflect.ValueOf(*c), "", func(_ *spec, _ reflect.Value, path string) {
		l.origins[path] = Origin{Source: source}
	})
	return l
}

// newPreset is the layer of a preset's bundle.
func newPreset(name string) *layer {
	l := newLayer(SourcePreset)
	bundle := presets[name]
	for _, key := range slices.Sorted(maps.Keys(bundle)) {
		l.setText(key, strings.Split(key, "."), bundle[key], "")
	}
	return l
}

// setText decodes text for a key and puts it into the layer.
func (l *layer) setText(path string, keys []string, text, file string) {
	s := root()
	for _, k := range keys {
		switch s.kind {
		case kindStruct:
			s = s.field(k)
		case kindMap:
			s = s.elem
		}
	}
	if v, ok := l.decode(s, &node{tag: tagLoose, text: text, file: file}, path); ok {
		put(l.values, v, keys...)
	}
}

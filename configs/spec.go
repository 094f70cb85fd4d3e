package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

type kind uint8

const (
	kindStruct kind = iota
	kindMap
	kindList
	kindBool
	kindInt
	kindFloat
	kindText
	kindDuration
	kindSize
	kindAny
)

// spec describes one key of the configuration: what the tags of the struct say, in a form that can
// be walked. Everything that is derived from the struct is derived from it.
type spec struct {
	name     string
	kind     kind
	doc      string
	min, max *bound
	enum     []string
	format   string // url, address, header, regexp, keyhash, scalar
	keys     string // for maps, what a key is: name, tenant, header, param, knob, knobs (a pattern), any
	inherit  string // where the value comes from when it is not set
	required bool
	secret   bool
	restart  bool
	fields   []*spec // kindStruct, in the order of the struct
	elem     *spec   // kindMap and kindList
	typ      reflect.Type
}

// bound is one end of a range, in the unit of the kind: nanoseconds, bytes, or the number itself.
type bound struct {
	value float64
	text  string
}

// root is the spec of Config. It panics on a faulty tag, which a test finds.
var root = sync.OnceValue(func() *spec { return newSpec(reflect.TypeFor[Config](), "") })

func newSpec(t reflect.Type, tag reflect.StructTag) *spec {
	s := &spec{
		name:     tag.Get("koanf"),
		doc:      tag.Get("doc"),
		format:   tag.Get("type"),
		keys:     tag.Get("key"),
		inherit:  tag.Get("inherit"),
		required: tag.Get("required") == "true",
		secret:   tag.Get("secret") == "true",
		restart:  tag.Get("reload") == "restart",
		typ:      t,
	}
	if enum, ok := tag.Lookup("enum"); ok {
		s.enum = strings.Split(enum, ",")
	}
	s.kind = kindOf(t)
	switch s.kind {
	case kindStruct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				s.fields = append(s.fields, newSpec(f.Type, f.Tag))
			}
		}
	case kindMap, kindList:
		s.elem = newSpec(t.Elem(), "")
		s.elem.restart = s.restart
		if s.keys == "knob" {
			s.elem.format = "scalar"
		}
		if s.kind == kindMap {
			s.elem.enum, s.enum = s.enum, nil
		}
	}
	s.min, s.max = s.bound(tag.Get("min")), s.bound(tag.Get("max"))
	if s.kind == kindList {
		s.elem.format, s.elem.min, s.elem.max = s.format, s.min, s.max
		s.elem.name = s.name
		s.min, s.max = nil, nil
	}
	return s
}

func kindOf(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return kindDuration
	case reflect.TypeFor[Size]():
		return kindSize
	}
	switch t.Kind() {
	case reflect.Struct:
		return kindStruct
	case reflect.Map:
		return kindMap
	case reflect.Slice:
		return kindList
	case reflect.Bool:
		return kindBool
	case reflect.Int:
		return kindInt
	case reflect.Float64:
		return kindFloat
	case reflect.String:
		return kindText
	case reflect.Interface:
		return kindAny
	}
	panic(fmt.Sprintf("configs: no kind for %s", t))
}

func (s *spec) bound(text string) *bound {
	if text == "" {
		return nil
	}
	of := s
	if s.kind == kindList {
		of = s.elem
	}
	v, err := of.parseNumber(text)
	if err != nil {
		panic(fmt.Sprintf("configs: bound %q of %s: %v", text, s.name, err))
	}
	return &bound{value: v, text: text}
}

// parseNumber reads text in the unit of the kind.
func (s *spec) parseNumber(text string) (float64, error) {
	switch s.kind {
	case kindDuration:
		d, err := time.ParseDuration(text)
		return float64(d), err
	case kindSize:
		n, err := ParseSize(text)
		return float64(n), err
	}
	return strconv.ParseFloat(text, 64)
}

// field finds the field called name, nil if there is none.
func (s *spec) field(name string) *spec {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// fieldNames lists the keys of a section in order.
func (s *spec) fieldNames() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// dotted reports whether the keys of a map hold dots.
func (s *spec) dotted() bool { return s.keys == "knob" || s.keys == "knobs" }

// leaf reports whether the value is written whole, not key by key.
func (s *spec) leaf() bool { return s.kind != kindStruct && s.kind != kindMap }

// what names the kind for people.
func (s *spec) what() string {
	switch s.kind {
	case kindStruct:
		names := s.fieldNames()
		if len(names) > 6 {
			names = append(names[:5:5], "...")
		}
		return "a section with the keys " + strings.Join(names, ", ")
	case kindMap:
		return "a section of names and values"
	case kindList:
		return "a list"
	case kindBool:
		return "true or false"
	case kindInt:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindDuration:
		return `a duration such as "30s", "1m30s" or "250ms"`
	case kindSize:
		return `a size such as "64MiB", "10MB" or a plain number of bytes`
	case kindText:
		return "text"
	}
	return "any value"
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// shortDuration writes "30s" and "2m" where time.Duration writes "30s" and "2m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

const referenceHead = `# Configuration reference

Made from the configuration struct; do not edit it by hand.

The configuration comes from one file (` + "`--config`" + `; YAML, TOML or JSON by its extension), from the
environment and from flags. Each beats the one before:

    default < preset < file < environment < flag

- **Environment**: ` + "`PENSTOCK_` and the key in capitals, sections joined by two underscores: `PENSTOCK_SERVER__LISTEN`" + `,
  ` + "`PENSTOCK_UPSTREAMS__MOVIES__BASE_URL`" + `. A ` + "`-`" + ` in a name is written as ` + "`_`" + `. Lists are written as YAML on one
  line, or with commas: ` + "`PENSTOCK_RATES='[{limit: 10, per: 1s}]'`" + `. An empty variable counts as unset. A variable
  that fits no key is a fault, except those of the client (%s), those that credentials name, and those that
  Kubernetes sets for a service named penstock.
- **Durations** are written with a unit: ` + "`250ms`, `30s`, `1h30m`" + `. **Sizes** are written ` + "`64MiB`, `10MB`" + ` or as a plain
  number of bytes.
- **Lists** are replaced as a whole by a stronger source; sections are merged key by key.
- **Inheritance**: an upstream takes what it does not set from the sections ` + "`workers`, `rates`, `pool` and `cache`" + `; a route
  takes ` + "`cache` and `on_abandon`" + ` from its upstream and ` + "`batch.max_items` from `batching`" + `. A ` + "`ttl`" + ` without a ` + "`mode`" + ` means
  mode ttl. An explicit ` + "`workers.count`" + ` widens the default ` + "`min` and `max`" + `.
- **YAML**: anchors, aliases and merge keys (` + "`<<`" + `) work; keys that begin with ` + "`x-`" + ` at the top are ignored, so that anchors
  can stand there.
- **Reload**: "restart" marks keys that a running service does not take; a reload that changes them says so.

`

// Reference returns the reference page in Markdown, made from the struct.
func Reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, "`"+strings.Join(clientVariables, "`, `")+"`")
	b.WriteString("## Top level\n\n")
	table(&b, root(), reflect.ValueOf(*Defaults()))
	sections(&b, root(), reflect.ValueOf(*Defaults()), "")
	presetTable(&b)
	return b.String()
}

// sections writes one heading and table for each section, depth first.
func sections(b *strings.Builder, s *spec, v reflect.Value, path string) {
	for i, f := range s.fields {
		at, elem, def := join(path, f.name), f, v.Field(i)
		switch {
		case f.kind == kindMap && !f.elem.leaf():
			at, elem, def = at+".NAME", f.elem, f.elem.defaults()
		case f.kind == kindList && !f.elem.leaf():
			at, elem, def = at+"[]", f.elem, f.elem.defaults()
		case f.kind != kindStruct:
			continue
		}
		fmt.Fprintf(b, "## %s\n\n%s\n\n", at, f.doc)
		table(b, elem, def)
		sections(b, elem, def, at)
	}
}

func table(b *strings.Builder, s *spec, v reflect.Value) {
	b.WriteString("| key | type | default | range | reload | what it does |\n| --- | --- | --- | --- | --- | --- |\n")
	for i, f := range s.fields {
		if s == root() && !f.leaf() && f.kind == kindStruct {
			continue
		}
		reload := "dynamic"
		if f.restart {
			reload = "restart"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", f.name, f.typeName(), defaultText(f, v.Field(i)), f.rangeText(), reload, cell(f.doc))
	}
	b.WriteByte('\n')
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func (s *spec) typeName() string {
	switch s.kind {
	case kindStruct:
		return "section"
	case kindMap:
		if s.elem.leaf() {
			return "map of " + s.elem.typeName()
		}
		return "map of sections"
	case kindList:
		return "list of " + s.elem.typeName()
	case kindBool:
		return "boolean"
	case kindInt:
		return "whole number"
	case kindFloat:
		return "number"
	case kindDuration:
		return "duration"
	case kindSize:
		return "size"
	case kindText:
		if s.format == "scalar" {
			return "value"
		}
		return "text"
	}
	return "any value"
}

func defaultText(s *spec, v reflect.Value) string {
	switch {
	case s.required:
		return "needed"
	case s.kind == kindStruct || s.kind == kindMap || s.kind == kindAny:
		return ""
	case s.kind == kindDuration:
		return "`" + shortDuration(v.Interface().(time.Duration)) + "`"
	case s.kind == kindText && v.Len() == 0:
		return ""
	}
	return "`" + plainText(s, v) + "`"
}

func (s *spec) rangeText() string {
	from := s
	if s.kind == kindList {
		from = s.elem
	}
	switch {
	case len(from.enum) > 0:
		return "`" + strings.Join(slices.DeleteFunc(slices.Clone(from.enum), isEmpty), "`, `") + "`"
	case from.min != nil && from.max != nil:
		return from.min.text + " to " + from.max.text
	case from.min != nil:
		return "from " + from.min.text
	case from.max != nil:
		return "to " + from.max.text
	}
	return ""
}

// presetTable writes what each preset changes.
func presetTable(b *strings.Builder) {
	b.WriteString("## Presets\n\nWhat `preset` changes; every explicit key beats it. `balanced` is the defaults.\n\n| key |")
	names := Presets()
	keys := make(map[string]bool)
	for _, name := range names {
		fmt.Fprintf(b, " %s |", name)
		for key := range presets[name] {
			keys[key] = true
		}
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(names)) + "\n")
	values := make(map[string]string)
	eachLeaf(root(), reflect.ValueOf(*Defaults()), "", func(s *spec, v reflect.Value, path string) {
		values[path] = strings.Trim(defaultText(s, v), "`")
	})
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(b, "| `%s` |", key)
		for _, name := range names {
			value, ok := presets[name][key]
			if !ok {
				value = values[key]
			}
			fmt.Fprintf(b, " %s |", value)
		}
		b.WriteByte('\n')
	}
}

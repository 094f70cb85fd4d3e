package configs

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"
)

// schemaID names the schema. It is a name, not an address to fetch.
const schemaID = "https://penstock.dev/schemas/configuration.json"

// Schema returns the JSON Schema (2020-12) of the configuration file, made from the struct. It
// knows keys, types, ranges and defaults; references between keys are checked by [Load] alone.
func Schema() ([]byte, error) {
	top := root().schema(reflect.ValueOf(*Defaults()))
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["$id"] = schemaID
	top["title"] = "Penstock configuration"
	top["properties"].(object)["$schema"] = object{"type": "string", "description": "The address of this schema, for editors."}
	top["patternProperties"] = object{"^x-": object{"description": "Anything, for YAML anchors; ignored."}}
	data, err := json.MarshalIndent(top, "", "  ")
	return append(data, '\n'), err
}

type object map[string]any

const (
	durationPattern = `^[+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`
	sizePattern     = `^ *([0-9]+(\.[0-9]*)?|\.[0-9]+) *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)? *$`
)

// schema describes the key; v holds its default, and may be invalid where there is none.
func (s *spec) schema(v reflect.Value) object {
	o := object{}
	if s.doc != "" {
		o["description"] = s.doc
	}
	switch s.kind {
	case kindStruct:
		s.structSchema(o, v)
	case kindMap:
		// A section with nothing below it is null in YAML.
		o["type"] = []string{"object", "null"}
		o["additionalProperties"] = s.elem.schema(s.elem.defaults())
		if pattern := s.keyPattern(); pattern != "" {
			o["propertyNames"] = object{"pattern": pattern}
		}
		return o
	case kindList:
		o["type"] = []string{"array", "null"}
		o["items"] = s.elem.schema(s.elem.defaults())
		return o
	case kindAny:
		switch s.format {
		case "scalar":
			o["type"] = []string{"string", "number", "boolean", "null"}
		case "object":
			o["type"] = []string{"object", "null"}
		}
		return o
	default:
		s.scalarSchema(o)
	}
	if s.kind != kindStruct && v.IsValid() && !(s.kind == kindText && v.Len() == 0) {
		o["default"] = schemaDefault(v)
	}
	if s.restart {
		o["x-reload"] = "restart"
	}
	return o
}

func (s *spec) structSchema(o object, v reflect.Value) {
	o["type"] = []string{"object", "null"}
	o["additionalProperties"] = false
	properties := object{}
	var required []string
	for i, f := range s.fields {
		var def reflect.Value
		if v.IsValid() {
			def = v.Field(i)
		}
		properties[f.name] = f.schema(def)
		// A route's upstream may be left out where there is only one.
		if f.required && f.name != "upstream" {
			required = append(required, f.name)
		}
	}
	o["properties"] = properties
	if len(required) > 0 {
		o["required"] = required
		o["type"] = "object"
	}
}

func (s *spec) scalarSchema(o object) {
	switch s.kind {
	case kindBool:
		o["type"] = "boolean"
	case kindInt, kindFloat:
		o["type"] = map[kind]string{kindInt: "integer", kindFloat: "number"}[s.kind]
		if s.min != nil {
			o["minimum"] = s.min.value
		}
		if s.max != nil {
			o["maximum"] = s.max.value
		}
	case kindDuration:
		// A plain 0 needs no unit.
		o["type"], o["pattern"], o["maximum"] = []string{"string", "integer"}, durationPattern, 0
		o["minimum"] = 0
		o["examples"] = []string{"250ms", "30s", "1h30m"}
	case kindSize:
		o["type"], o["pattern"], o["minimum"] = []string{"string", "integer"}, sizePattern, 0
		if s.min != nil {
			o["minimum"] = s.min.value
		}
		if s.max != nil {
			o["maximum"] = s.max.value
		}
		o["examples"] = []any{"64MiB", "10MB", 1048576}
	case kindText:
		s.textSchema(o)
	}
}

func (s *spec) textSchema(o object) {
	o["type"] = "string"
	switch {
	case len(s.enum) > 0:
		o["enum"] = s.enum
	case s.format == "scalar":
		o["type"] = []string{"string", "number", "boolean"}
	case s.format == "url":
		o["pattern"] = `^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	case s.format == "header":
		o["pattern"] = "^[A-Za-z0-9!#$%&'*+.^_`|~-]*$"
	case s.format == "keyhash":
		o["pattern"] = keyHashPattern.String()
	case s.format == "regexp":
		o["format"] = "regex"
	}
}

func (s *spec) keyPattern() string {
	switch s.keys {
	case "name":
		return namePattern.String()
	case "tenant":
		return tenantPattern.String()
	case "alert", "label":
		return alertPattern.String()
	case "header":
		return headerPattern.String()
	case "param":
		return paramPattern.String()
	}
	return ""
}

// defaults is the value of an element of which nothing is set, invalid where there is none.
func (s *spec) defaults() reflect.Value {
	for _, v := range []any{inheritedUpstream(), inheritedRoute(), defaultRate(), TenantRate(defaultRate()), defaultTenant(),
		defaultAlertRule(""), defaultWebhook()} {
		if reflect.TypeOf(v) == s.typ {
			return reflect.ValueOf(v)
		}
	}
	if s.kind == kindStruct {
		return reflect.Zero(s.typ)
	}
	return reflect.Value{}
}

// inheritedUpstream is an upstream under the default sections.
func inheritedUpstream() Upstream {
	u, d := defaultUpstream(), Defaults()
	u.Pool, u.Workers = d.Pool, d.Workers
	u.Cache.TTL, u.Cache.NegativeTTL = d.Cache.DefaultTTL, d.Cache.NegativeTTL
	u.Cache.StaleWhileRevalidate, u.Cache.StaleIfError = d.Cache.StaleWhileRevalidate, d.Cache.StaleIfError
	return u
}

func inheritedRoute() Route {
	r, u := defaultRoute(), inheritedUpstream()
	r.Cache, r.OnAbandon = u.Cache, u.OnAbandon
	r.Batch.MaxItems = Defaults().Batching.MaxItems
	return r
}

func schemaDefault(v reflect.Value) any {
	switch d := v.Interface().(type) {
	case time.Duration:
		return shortDuration(d)
	case Size:
		return d.String()
	case []int:
		return slices.Clone(d)
	default:
		return d
	}
}

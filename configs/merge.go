package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"penstock/knob"
)

// delimiter can't stand in a key, so that keys may hold dots.
const delimiter = "\x00"

// stack is layers laid over each other, the strongest last.
type stack struct {
	koanf   *koanf.Koanf
	origins map[string]Origin
	places  map[string]Origin
	cached  map[string]any
}

func newStack(layers ...*layer) *stack {
	s := &stack{koanf: koanf.New(delimiter), origins: make(map[string]Origin), places: make(map[string]Origin)}
	for _, l := range layers {
		s.lay(l)
	}
	return s
}

func (s *stack) lay(l *layer) {
	// The provider and the merge of maps in memory can't fail.
	_ = s.koanf.Load(confmap.Provider(l.values, ""), nil)
	s.cached = nil
	s.dropElements(l.lists)
	maps.Copy(s.origins, l.origins)
	maps.Copy(s.places, l.places)
}

// dropElements forgets the elements of lists that a stronger layer replaces.
func (s *stack) dropElements(lists []string) {
	replaced := make(map[string]bool, len(lists))
	for _, list := range lists {
		if _, ok := s.origins[list]; ok {
			replaced[list] = true
		}
	}
	if len(replaced) == 0 {
		return
	}
	for key := range s.origins {
		if list, _, ok := strings.Cut(key, "["); ok && replaced[list] {
			delete(s.origins, key)
		}
	}
}

// raw is the merged values; read-only.
func (s *stack) raw() map[string]any {
	if s.cached == nil {
		s.cached = s.koanf.Raw()
	}
	return s.cached
}

// config fills the struct in.
func (s *stack) config() (*Config, error) {
	c := new(Config)
	err := s.koanf.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result:      c,
		TagName:     "koanf",
		ErrorUnused: true,
		DecodeHook:  mapstructure.DecodeHookFuncType(unwrapOpaque),
		MatchName:   func(key, field string) bool { return key == field },
	}})
	if err != nil {
		return nil, fmt.Errorf("filling the configuration in: %w", err)
	}
	return c, nil
}

func unwrapOpaque(from, _ reflect.Type, v any) (any, error) {
	if from == reflect.TypeFor[opaque]() {
		return v.(opaque).V, nil
	}
	return v, nil
}

// inherited is the layer that lies under what users set for upstreams and routes: their defaults,
// and what they take from the sections and from each other.
type inherited struct {
	*layer
	// set is what users wrote, base is that over the defaults and the preset.
	set, base *stack
}

func inherit(set, base *stack) *layer {
	h := &inherited{layer: newLayer(knob.SourceDefault), set: set, base: base}
	h.bounds("workers")
	h.base.lay(h.layer)
	upstreams := section(set.raw(), "upstreams")
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		h.upstream(name)
	}
	for _, name := range slices.Sorted(maps.Keys(section(set.raw(), "tenants", "accounts"))) {
		h.all(root().field("tenants").field("accounts").elem, defaultTenant(), "tenants", "accounts", name)
	}
	monitoring := root().field("monitoring")
	for _, name := range slices.Sorted(maps.Keys(section(set.raw(), "monitoring", "alert_rules"))) {
		h.all(monitoring.field("alert_rules").elem, defaultAlertRule(name), "monitoring", "alert_rules", name)
	}
	for _, name := range slices.Sorted(maps.Keys(section(set.raw(), "monitoring", "alert_webhooks"))) {
		h.all(monitoring.field("alert_webhooks").elem, defaultWebhook(), "monitoring", "alert_webhooks", name)
	}
	// An upstream's values in force are its inherited ones under its own.
	full := newStack(h.layer, &layer{values: set.raw(), origins: set.origins})
	for _, name := range slices.Sorted(maps.Keys(section(set.raw(), "routes"))) {
		h.route(name, slices.Collect(maps.Keys(upstreams)), full)
	}
	return h.layer
}

// all lays the struct's own defaults under a path.
func (h *inherited) all(s *spec, v any, keys ...string) {
	path := joined(keys)
	put(h.values, valueMap(s, v), keys...)
	eachLeaf(s, reflect.ValueOf(v), path, func(_ *spec, _ reflect.Value, leaf string) {
		h.origins[leaf] = Origin{Source: knob.SourceDefault}
	})
}

// take copies a value from one key to another, with where it comes from.
func (h *inherited) take(from *stack, source, target []string) {
	parent := section(from.raw(), source[:len(source)-1]...)
	v, ok := parent[source[len(source)-1]]
	if !ok {
		return
	}
	put(h.values, cloned(v), target...)
	h.takeOrigins(from, v, joined(source), joined(target))
}

func (h *inherited) takeOrigins(from *stack, v any, source, target string) {
	if o, ok := from.origins[source]; ok {
		if o.Inherits == "" {
			o.Inherits = source
		}
		h.origins[target] = o
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			h.takeOrigins(from, value, join(source, key), join(target, key))
		}
	case []any:
		for i, value := range v {
			h.takeOrigins(from, value, indexed(source, i), indexed(target, i))
		}
	}
}

func (h *inherited) upstream(name string) {
	at := []string{"upstreams", name}
	h.all(root().field("upstreams").elem, defaultUpstream(), at...)
	h.take(h.base, []string{"pool"}, below(at, "pool"))
	h.take(h.base, []string{"workers"}, below(at, "workers"))
	h.take(h.base, []string{"rates"}, below(at, "rates"))
	h.take(h.base, []string{"cache", "default_ttl"}, below(at, "cache", "ttl"))
	for _, key := range []string{"negative_ttl", "stale_while_revalidate", "stale_if_error"} {
		h.take(h.base, []string{"cache", key}, below(at, "cache", key))
	}
	h.impliedMode(at)
	h.bounds(below(at, "workers")...)
}

func (h *inherited) route(name string, upstreams []string, full *stack) {
	at := []string{"routes", name}
	h.all(root().field("routes").elem, defaultRoute(), at...)
	own := section(h.set.raw(), at...)
	upstream, _ := own["upstream"].(string)
	if _, set := own["upstream"]; !set && len(upstreams) == 1 {
		upstream = upstreams[0]
		put(h.values, upstream, below(at, "upstream")...)
	}
	h.take(h.base, []string{"batching", "max_items"}, below(at, "batch", "max_items"))
	if slices.Contains(upstreams, upstream) {
		h.take(full, []string{"upstreams", upstream, "cache"}, below(at, "cache"))
		h.take(full, []string{"upstreams", upstream, "on_abandon"}, below(at, "on_abandon"))
	}
	h.impliedMode(at)
}

// impliedMode makes a ttl that stands without a mode mean mode ttl: else it would do nothing.
func (h *inherited) impliedMode(at []string) {
	own := section(h.set.raw(), below(at, "cache")...)
	if _, ttl := own["ttl"]; !ttl {
		return
	}
	if _, mode := own["mode"]; mode {
		return
	}
	mode := below(at, "cache", "mode")
	put(h.values, "ttl", mode...)
	o := h.set.origins[joined(below(at, "cache", "ttl"))]
	o.Inherits = joined(below(at, "cache", "ttl"))
	h.origins[joined(mode)] = o
}

// bounds widens the tuner's range to an explicit worker count where the range itself was left to
// the defaults.
func (h *inherited) bounds(keys ...string) {
	own := section(h.set.raw(), keys...)
	count, ok := own["count"].(int)
	if !ok {
		return
	}
	under := section(h.values, keys...)
	if under == nil {
		under = section(h.base.raw(), keys...)
	}
	common := section(h.set.raw(), "workers")
	for _, end := range []string{"min", "max"} {
		limit, ok := under[end].(int)
		_, set := own[end]
		_, setForAll := common[end]
		if set || setForAll || !ok {
			continue
		}
		if end == "min" && count < limit || end == "max" && count > limit {
			put(h.values, count, below(keys, end)...)
			o := h.set.origins[joined(below(keys, "count"))]
			o.Inherits = joined(below(keys, "count"))
			h.origins[joined(below(keys, end))] = o
		}
	}
}

// cloned copies maps, so that what one upstream changes stays its own.
func cloned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = cloned(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = cloned(value)
		}
		return out
	}
	return v
}

func below(keys []string, more ...string) []string { return append(slices.Clone(keys), more...) }

func joined(keys []string) string {
	path := ""
	for _, k := range keys {
		path = join(path, k)
	}
	return path
}

package configs

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"penstock/knob"
	"penstock/observe"
)

const envPrefix = "PENSTOCK_"

// clientVariables begin with PENSTOCK_ but are no settings of the service: they are read by the
// command line, or stand in deployments by habit.
var clientVariables = []string{
	"PENSTOCK_CONFIG",      // the file, for commands without --config
	"PENSTOCK_ADMIN",       // the admin address that client commands talk to
	"PENSTOCK_ADMIN_URL",   // the same as a URL
	"PENSTOCK_ADMIN_TOKEN", // the token that client commands send
	"PENSTOCK_URL",         // the data plane that client commands talk to
	"PENSTOCK_API_KEY",     // the key that send and replay show
	"PENSTOCK_TRACES",      // the folder of traces, for tests and benchmarks
	"PENSTOCK_VERSION",     // set by images and packages
}

// foreignVariable reports variables that this package leaves alone. Kubernetes gives every
// container of a namespace with a service named penstock variables of that prefix, in the form that
// Docker links had.
func foreignVariable(name string) bool {
	if slices.Contains(clientVariables, name) {
		return true
	}
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_HOST") || strings.HasPrefix(rest, "SERVICE_PORT")
}

// envMap turns "NAME=value" lines into a map; the last one of a name counts.
func envMap(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, line := range env {
		if name, value, ok := strings.Cut(line, "="); ok {
			m[name] = value
		}
	}
	return m
}

// readEnv reads the PENSTOCK_ variables. An empty one counts as unset. The names of upstreams,
// routes and the like are looked up among known, where case and - do not matter. Variables in
// secrets (those that credentials name) are left alone.
func readEnv(env map[string]string, known map[string]any, secrets map[string]bool) *layer {
	l := newLayer(knob.SourceEnv)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, envPrefix) || env[name] == "" || foreignVariable(name) || secrets[name] {
			continue
		}
		segments := strings.Split(strings.TrimPrefix(name, envPrefix), "__")
		keys, ok := envKeys(root(), segments, known)
		if !ok {
			l.faults = append(l.faults, Fault{
				File:       envPlace + name,
				Problem:    "no setting has this variable; sections and keys are joined by two underscores",
				Suggestion: nearest(name, envNames(root(), envPrefix, segments, known)),
			})
			continue
		}
		l.setText(strings.Join(keys, "."), keys, env[name], envPlace+name)
	}
	return l
}

// envKeys finds the keys that the parts of a variable's name mean.
func envKeys(s *spec, segments []string, known map[string]any) ([]string, bool) {
	var keys []string
	for i, seg := range segments {
		if seg == "" {
			return nil, false
		}
		switch s.kind {
		case kindStruct:
			f := s.field(strings.ToLower(seg))
			if f == nil {
				return nil, false
			}
			keys, s = append(keys, f.name), f
			known = section(known, f.name)
		case kindMap:
			key := mapKey(s, segments[i:], known)
			dotted := s.dotted()
			keys, s = append(keys, key), s.elem
			known = section(known, key)
			if len(segments) > i+1 && s.leaf() {
				// The rest of a dotted name has been taken by mapKey.
				return keys, dotted
			}
		default:
			return nil, false
		}
	}
	// A whole section in one variable would make precedence hard to see; maps may be empty.
	return keys, s.leaf()
}

// mapKey is the key of a map that the first segment means.
func mapKey(s *spec, segments []string, known map[string]any) string {
	seg := segments[0]
	if s.dotted() {
		seg = strings.Join(segments, ".")
	}
	names := slices.Sorted(maps.Keys(known))
	if s.keys == "alert" {
		for _, r := range observe.DefaultAlertRules() {
			names = append(names, r.Name)
		}
	}
	for _, name := range names {
		if envName(name) == envName(seg) {
			return name
		}
	}
	if s.keys == "header" {
		return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(seg, "_", "-"))
	}
	return strings.ToLower(seg)
}

// envName writes a name as a variable holds it.
func envName(name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "__").Replace(name))
}

// envNames lists the variables of all leaf keys, for suggestions. Where names are free, those of
// the file and the one that the variable itself has at that place are taken.
func envNames(s *spec, prefix string, segments []string, known map[string]any) []string {
	var here string
	if len(segments) > 0 {
		here, segments = segments[0], segments[1:]
	}
	var names []string
	switch s.kind {
	case kindStruct:
		for _, f := range s.fields {
			names = append(names, envNamesOf(f, prefix+envName(f.name), segments, section(known, f.name))...)
		}
	case kindMap:
		free := slices.Sorted(maps.Keys(known))
		if here != "" {
			free = append(free, here)
		}
		for _, name := range free {
			names = append(names, envNamesOf(s.elem, prefix+envName(name), segments, section(known, name))...)
		}
	}
	return names
}

func envNamesOf(s *spec, name string, segments []string, known map[string]any) []string {
	if s.leaf() {
		return []string{name}
	}
	return envNames(s, name+"__", segments, known)
}

// readFlags reads dotted keys.
func readFlags(flags map[string]string, known map[string]any) *layer {
	l := newLayer(knob.SourceFlag)
	for _, flag := range slices.Sorted(maps.Keys(flags)) {
		keys, bad := flagKeys(flag)
		if bad != nil {
			bad.File = flagPlace + flag
			l.faults = append(l.faults, *bad)
			continue
		}
		l.setText(flag, keys, flags[flag], flagPlace+flag)
	}
	return l
}

// flagKeys splits a dotted key; a fault says why there is no such key.
func flagKeys(flag string) ([]string, *Fault) {
	s, rest := root(), flag
	var keys []string
	for rest != "" {
		var key string
		key, rest = cutKey(s, rest)
		switch s.kind {
		case kindStruct:
			f := s.field(key)
			if f == nil {
				return nil, &Fault{Problem: "unknown key " + flag, Suggestion: suggestJoined(keys, nearest(key, s.fieldNames()), rest)}
			}
			s = f
		case kindMap:
			s = s.elem
		default:
			return nil, &Fault{Problem: strings.Join(keys, ".") + " has no keys below it"}
		}
		keys = append(keys, key)
	}
	if !s.leaf() {
		return nil, &Fault{Problem: flag + " is a section; name one of its keys"}
	}
	return keys, nil
}

func cutKey(s *spec, path string) (key, rest string) {
	if s.kind == kindMap && s.elem.leaf() {
		return path, ""
	}
	key, rest, _ = strings.Cut(path, ".")
	return key, rest
}

func suggestJoined(keys []string, key, rest string) string {
	if key == "" {
		return ""
	}
	path := strings.Join(append(slices.Clone(keys), key), ".")
	if rest != "" {
		path = join(path, rest)
	}
	return path
}

package configs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"

	"penstock/knob"
)

// LoadOptions say where the configuration comes from.
type LoadOptions struct {
	// Path is the file; its extension (.yaml, .yml, .toml, .json) says the format. Empty: no file.
	Path string
	// Env is the environment as os.Environ gives it.
	Env []string
	// Flags maps dotted keys ("server.listen") to text.
	Flags map[string]string
	// Checks find faults that need more than this package knows, such as the names of knobs and the
	// batcher's rules. They run with Validate, so that their faults get places and come with all
	// others; they must bear a Config with faulty values.
	Checks []func(*Config) []Fault
}

// Origin says where the value of one key comes from.
type Origin struct {
	Source knob.Source
	// File is the file, "env NAME" or "flag --KEY"; empty for defaults and presets.
	File string
	// Line counts from 1; 0 outside a file.
	Line int
	// Inherits is the key that the value was taken from, if it was inherited from a section or
	// from the route's upstream.
	Inherits string
}

// Loaded is a complete and valid configuration with the origin of each value.
type Loaded struct {
	Config *Config
	// Path is the file; empty if there was none.
	Path string
	// Fingerprint is what [Fingerprint] gave for Path and References when it was loaded; empty if
	// there was no file.
	Fingerprint string
	// Sources maps each leaf key to its origin.
	Sources map[string]Origin

	env map[string]string
}

// Load reads, merges and checks the configuration. If anything is wrong the error is a [*Faults]
// with all of it. A missing or empty file is a fault.
func Load(o LoadOptions) (*Loaded, error) {
	if o.Path == "" {
		return load(o, nil)
	}
	data, err := readFile(o.Path)
	if err != nil {
		return nil, asError([]Fault{{File: o.Path, Problem: err.Error()}})
	}
	return load(o, data)
}

// Parse is Load of text instead of a file; the extension of name says the format. It has no
// environment and no flags.
func Parse(name string, data []byte) (*Loaded, error) { return load(LoadOptions{Path: name}, data) }

// readFile reads a bounded file; its errors say what to do.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file; give its path with --config, or write one with `scheduler config init`")
	case err != nil:
		return nil, fmt.Errorf("the file can't be opened: %w", errors.Unwrap(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the file can't be read: %w", err)
	}
	return data, nil
}

func load(o LoadOptions, data []byte) (*Loaded, error) {
	file, faults := readLayer(o.Path, data)
	if file == nil {
		return nil, asError(faults)
	}
	envVars := envMap(o.Env)
	env := readEnv(envVars, file.values, secretVariables(file.values))
	named := newStack(file, env)
	flags := readFlags(o.Flags, named.raw())
	faults = slices.Concat(faults, file.faults, env.faults, flags.faults)

	set := newStack(file, env, flags)
	preset, _ := set.raw()["preset"].(string)
	defaults, bundle := newDefaults(knob.SourceDefault, Defaults()), newPreset(preset)
	under := inherit(set, newStack(defaults, bundle, file, env, flags))
	all := newStack(defaults, bundle, under, file, env, flags)
	c, err := all.config()
	if err != nil {
		return nil, asError(append(faults, Fault{File: o.Path, Problem: err.Error()}))
	}
	faults = addChecks(faults, c, all, o.Checks)
	if err := asError(faults); err != nil {
		return nil, err
	}
	all.defaultOrigins(c)
	l := &Loaded{Config: c, Path: o.Path, Sources: all.origins, env: envVars}
	if o.Path != "" {
		l.Fingerprint = fingerprint(data, l.References())
	}
	return l, nil
}

// readLayer parses the file. The layer is nil if nothing more can be said about it.
func readLayer(path string, data []byte) (*layer, []Fault) {
	l := newLayer(knob.SourceFile)
	if path == "" {
		return l, nil
	}
	parse, err := parserFor(path)
	if err != nil {
		return nil, []Fault{{File: path, Problem: err.Error()}}
	}
	n, faults := parse(data, path)
	if n == nil {
		return nil, faults
	}
	if n.isNull() {
		return l, faults
	}
	v, ok := l.decode(root(), n, "")
	if ok {
		l.values = v.(map[string]any)
	}
	return l, faults
}

// addChecks appends what Validate and the caller's checks find, with places, and leaves out what only follows from a fault
// that is there already.
func addChecks(faults []Fault, c *Config, all *stack, more []func(*Config) []Fault) []Fault {
	// told are the keys that have a fault, and those that a misspelled one was meant to be.
	told := make(map[string]bool)
	for _, f := range faults {
		if f.Key != "" {
			told[f.Key] = true
		}
		if f.Suggestion != "" {
			told[sibling(f.Key, f.Suggestion)] = true
		}
	}
	type said struct{ key, problem string }
	checks := c.Validate()
	for _, check := range more {
		checks = append(checks, check(c)...)
	}
	here := make(map[said]bool)
	for _, f := range checks {
		here[said{f.Key, f.Problem}] = true
	}
	for _, f := range checks {
		from := all.inheritedFrom(f.Key)
		if told[f.Key] || told[from] || here[said{from, f.Problem}] {
			continue
		}
		f.File, f.Line = all.locate(f.Key)
		faults = append(faults, f)
	}
	return faults
}

// defaultOrigins names the source of what nobody set and no layer of defaults knows, such as the keys
// of a param.
func (s *stack) defaultOrigins(c *Config) {
	eachLeaf(root(), reflect.ValueOf(*c), "", func(_ *spec, _ reflect.Value, path string) {
		if _, ok := s.origins[path]; !ok {
			s.origins[path] = Origin{Source: knob.SourceDefault}
		}
	})
}

// inheritedFrom is the key that a key, or a list or section around it, was taken from; empty if it
// was not.
func (s *stack) inheritedFrom(key string) string {
	for at := key; at != ""; at = parent(at) {
		if from := s.origins[at].Inherits; from != "" {
			return from + key[len(at):]
		}
	}
	return ""
}

// locate finds where a key, or the nearest section around it, is set.
func (s *stack) locate(key string) (file string, line int) {
	for ; key != ""; key = parent(key) {
		if o, ok := s.origins[key]; ok && o.File != "" {
			return o.File, o.Line
		}
		if o, ok := s.places[key]; ok && o.File != "" {
			return o.File, o.Line
		}
	}
	return "", 0
}

// secretVariables are the variables that secrets name: they may begin with the prefix of settings.
func secretVariables(values map[string]any) map[string]bool {
	names := make(map[string]bool)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if name, ok := value.(string); ok && (key == "env" || key == "url_env") {
					names[name] = true
				}
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	walk(values)
	return names
}

// Fingerprint reads the file and hashes its content, for polling: what counts is the text, whatever
// became of links and times on the way. References are files whose content counts too, as
// [Loaded.References] gives them; one that can't be read counts as absent. A missing or empty file
// is an error, since it may be in the middle of a write.
func Fingerprint(path string, references ...string) (string, error) {
	data, err := readFile(path)
	if err == nil && len(data) == 0 {
		err = errors.New("the file is empty; it may be in the middle of a write")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fingerprint(data, references), nil
}

func fingerprint(data []byte, references []string) string {
	h := sha256.New()
	h.Write(data)
	for _, ref := range references {
		content, err := readFile(ref)
		fmt.Fprintf(h, "\x00%q %t %d\x00", ref, err == nil, len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

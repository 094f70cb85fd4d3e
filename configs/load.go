package configs

import (
	"errors"

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
	// Fingerprint is the hash of the file's content, as [Fingerprint] gives it.
	Fingerprint string
	// Sources maps each leaf key to its origin.
	Sources map[string]Origin

	env map[string]string
}

// Load reads, merges and checks the configuration. If anything is wrong the error is a [*Faults]
// with all of it.
func Load(o LoadOptions) (*Loaded, error) { return nil, errors.New("not yet") }

// Fingerprint reads the file and hashes its content, for polling: a change of the content is a
// change of the text, whatever became of links and times on the way. An empty file is an error,
// since it may be in the middle of a write.
func Fingerprint(path string) (string, error) { return "", errors.New("not yet") }

// Secret reads the secret from where it lives. A variable that is not set, a file that can't be
// read, and an empty secret are errors. The zero Secret gives "".
func (l *Loaded) Secret(s Secret) (string, error) { return "", errors.New("not yet") }

// CheckSecrets reads every secret that the configuration names and reports those that can't be had
// as a [*Faults].
func (l *Loaded) CheckSecrets() error { return nil }

// ResolvedUpstream returns the upstream with everything filled in, false if there is none of that
// name.
func (c *Config) ResolvedUpstream(name string) (Upstream, bool) {
	u, ok := c.Upstreams[name]
	return u, ok
}

// ResolvedRoute returns the route with everything filled in, false if there is none of that name.
func (c *Config) ResolvedRoute(name string) (Route, bool) { r, ok := c.Routes[name]; return r, ok }

// Validate checks ranges and references. Load calls it; the faults have keys but no places.
func (c *Config) Validate() []Fault { return nil }

// Entry is one key of the configuration in force.
type Entry struct {
	Key string
	// Value is as it would be written; "***" for a secret.
	Value string
	Origin
}

// Effective lists every key with its value and origin, secrets masked, in the order of the reference.
func Effective(l *Loaded) []Entry { return nil }

// Change is one key that differs between two configurations.
type Change struct {
	Key string
	// From and To are masked as in Effective; empty: the key was not there.
	From, To string
	// RestartNeeded: the running service can't take the change.
	RestartNeeded bool
}

// Diff lists what changed. Inherited values are left out: the change of their section is listed.
func Diff(from, to *Loaded) []Change { return nil }

// Schema returns the JSON Schema (2020-12) of the configuration file.
func Schema() ([]byte, error) { return nil, nil }

// Reference returns the reference page in Markdown.
func Reference() string { return "" }

// Presets lists the presets.
func Presets() []string { return []string{"aggressive", "balanced", "conservative"} }

// Init returns a commented YAML file to start from.
func Init(preset string) (string, error) { return "", errors.New("not yet") }

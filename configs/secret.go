package configs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// masked stands where a secret would.
const masked = "***"

// Secret reads the secret from where it lives. A variable that is not set, a file that can't be
// read, and an empty secret are errors, none of which holds the value. The zero Secret gives "".
func (l *Loaded) Secret(s Secret) (string, error) {
	switch {
	case s.Env != "":
		v, ok := l.env[s.Env]
		if !ok {
			v = os.Getenv(s.Env)
		}
		if v == "" {
			return "", fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return v, nil
	case s.File != "":
		data, err := readFile(s.File)
		if err != nil {
			return "", fmt.Errorf("the secret's file %s: %w", s.File, err)
		}
		v := strings.TrimSpace(string(data))
		if v == "" {
			return "", fmt.Errorf("the secret's file %s is empty", s.File)
		}
		return v, nil
	}
	return "", nil
}

// CheckSecrets reads every secret that the configuration names and reports those that can't be had
// as a [*Faults].
func (l *Loaded) CheckSecrets() error {
	var faults []Fault
	check := func(key string, s Secret) {
		if _, err := l.Secret(s); err != nil {
			o := cmp.Or(l.Sources[join(key, "env")], l.Sources[join(key, "url_env")])
			if s.File != "" {
				o = cmp.Or(l.Sources[join(key, "file")], l.Sources[join(key, "url_file")])
			}
			faults = append(faults, Fault{File: o.File, Line: o.Line, Key: key, Problem: err.Error()})
		}
	}
	for _, n := range l.Config.secrets() {
		check(n.key, n.secret)
	}
	return asError(faults)
}

// namedSecret is a secret with the key that names it.
type namedSecret struct {
	key    string
	secret Secret
}

// secrets lists all that the configuration names.
func (c *Config) secrets() (all []namedSecret) {
	add := func(key string, s Secret) {
		if !s.IsZero() {
			all = append(all, namedSecret{key, s})
		}
	}
	credentials := func(key string, list []Credential) {
		for i, cred := range list {
			add(indexed(join(key, "credentials"), i), cred.Secret())
		}
	}
	add("admin.token", c.Admin.Token)
	add("jobs.webhook_secret", c.Jobs.WebhookSecret)
	add("cluster.password", c.Cluster.Password)
	add("cluster.token", c.Cluster.Token)
	for _, name := range slices.Sorted(maps.Keys(c.Admin.Tokens)) {
		add("admin.tokens."+name, c.Admin.Tokens[name].Secret())
	}
	for _, name := range c.UpstreamNames() {
		credentials("upstreams."+name, c.Upstreams[name].Credentials)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Monitoring.AlertWebhooks)) {
		w, key := c.Monitoring.AlertWebhooks[name], "monitoring.alert_webhooks."+name
		add(key, w.Secret())
		add(key+".credential", w.Credential.Secret())
	}
	return all
}

// References lists the files that the configuration names: secrets and TLS files. Their content
// counts for [Fingerprint].
func (l *Loaded) References() []string {
	var files []string
	add := func(names ...string) {
		for _, name := range names {
			if name != "" {
				files = append(files, name)
			}
		}
	}
	for _, n := range l.Config.secrets() {
		add(n.secret.File)
	}
	for _, u := range l.Config.Upstreams {
		add(u.TLS.CAFile, u.TLS.CertFile, u.TLS.KeyFile)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// secretWords are parts of names whose values are probably secrets.
var secretWords = []string{"auth", "token", "secret", "password", "passwd", "api-key", "apikey", "access-key", "private-key", "signature", "credential", "cookie", "session", "bearer"}

// secretName reports names of headers, query parameters and params that look as if they held a
// secret.
func secretName(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return name == "key" || slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// maskedText writes a value as it may be shown.
func maskedText(s *spec, v reflect.Value, path string) string {
	text := plainText(s, v)
	if text == "" {
		return ""
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case s.secret, underNamed(path) && secretName(name):
		return masked
	case s.format == "url" || s.format == "proxy" || s.kind == kindText && strings.Contains(text, "://"):
		return maskURL(text)
	case s.kind == kindAny && s.format == "scalar" && secretName(parentName(path)):
		return masked
	}
	return text
}

// underNamed reports whether the last part of the key is a name that people chose for a value.
func underNamed(path string) bool {
	return strings.Contains(path, ".headers.") || strings.Contains(path, ".query.")
}

func parentName(path string) string { p := parent(path); return p[strings.LastIndexByte(p, '.')+1:] }

// maskURL hides the user info of a URL, and its query, which has no place here.
func maskURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = masked + "@" + authority[i+1:]
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i+1] + masked
	}
	return scheme + "://" + authority + path
}

// plainText writes a value as a file would hold it.
func plainText(s *spec, v reflect.Value) string {
	switch s.kind {
	case kindList:
		if v.Len() == 0 {
			return "[]"
		}
		parts := make([]string, v.Len())
		for i := range parts {
			if !s.elem.leaf() {
				parts[i] = fieldsText(s.elem, v.Index(i))
				continue
			}
			parts[i] = plainText(s.elem, v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case kindAny:
		if v.IsNil() {
			return ""
		}
		data, err := json.Marshal(maskAny(v.Interface()))
		if err != nil {
			return fmt.Sprint(v.Interface())
		}
		return string(data)
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return shortDuration(d)
	}
	return fmt.Sprint(v.Interface())
}

// fieldsText writes what is set of a list's element: "{limit: 10, per: 1s}".
func fieldsText(s *spec, v reflect.Value) string {
	var parts []string
	for i, f := range s.fields {
		if !v.Field(i).IsZero() {
			parts = append(parts, f.name+": "+maskedText(f, v.Field(i), f.name))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// maskAny hides values under secret names inside a body.
func maskAny(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			text, isText := value.(string)
			if secretName(key) && isText && !strings.HasPrefix(text, "{") {
				value = masked
			}
			out[key] = maskAny(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = maskAny(value)
		}
		return out
	}
	return v
}

// maskError takes the user info out of a URL parser's message, which quotes its input.
func maskError(err error) string {
	if u, ok := err.(*url.Error); ok {
		return u.Err.Error()
	}
	return err.Error()
}

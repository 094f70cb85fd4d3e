package configs

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	headerPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	paramPattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	methodPattern = regexp.MustCompile(`^[A-Z][A-Z-]*$`)
	envPattern    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// checks collects faults.
type checks struct{ faults []Fault }

func (c *checks) fault(key, format string, args ...any) {
	c.faults = append(c.faults, Fault{Key: key, Problem: fmt.Sprintf(format, args...)})
}

func (c *checks) suggest(key, suggestion, format string, args ...any) {
	c.faults = append(c.faults, Fault{Key: key, Problem: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

// Validate checks ranges, forms and references, and returns every fault. Load calls it and adds the
// places; a Config that was made by hand has none. It expects a complete Config, as Load makes it.
func (c *Config) Validate() []Fault {
	v := new(checks)
	v.walk(root(), reflect.ValueOf(*c), "")
	v.sections(c)
	v.tenants(c.Tenants)
	v.adminTokens(c.Admin)
	v.alerts(c.Monitoring, c)
	for _, name := range c.UpstreamNames() {
		v.upstream("upstreams."+name, c.Upstreams[name])
		v.links("upstreams."+name+".preload.links", c.Upstreams[name].Preload.Links, c)
	}
	for _, name := range c.RouteNames() {
		v.route("routes."+name, name, c.Routes[name], c.UpstreamNames())
		v.links("routes."+name+".preload.links", c.Routes[name].Preload.Links, c)
	}
	return v.faults
}

// walk checks what the tags say.
func (c *checks) walk(s *spec, v reflect.Value, path string) {
	switch s.kind {
	case kindStruct:
		for i, f := range s.fields {
			c.walk(f, v.Field(i), join(path, f.name))
		}
	case kindMap:
		for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			c.mapKey(s, k.String(), join(path, k.String()))
			c.walk(s.elem, v.MapIndex(k), join(path, k.String()))
		}
	case kindList:
		for i := range v.Len() {
			c.walk(s.elem, v.Index(i), indexed(path, i))
		}
	case kindInt:
		c.number(s, float64(v.Int()), path, v)
	case kindDuration, kindSize:
		c.number(s, float64(v.Int()), path, v)
	case kindFloat:
		c.number(s, v.Float(), path, v)
	case kindText:
		c.text(s, v.String(), path)
	}
}

func (c *checks) mapKey(s *spec, key, path string) {
	switch {
	case s.keys == "name" && !namePattern.MatchString(key):
		c.fault(path, "%q is not a usable name: take a-z, 0-9, _ and -, beginning with a letter or digit, at most 63", key)
	case s.keys == "alert" && !alertPattern.MatchString(key):
		c.fault(path, "%q is not a usable name of an alert: take letters, digits and _, beginning with a letter, at most 63", key)
	case s.keys == "label" && (!alertPattern.MatchString(key) || slices.Contains(reservedLabels, key)):
		c.fault(path, "%q is not a usable label: take letters, digits and _, and none of %s", key, strings.Join(reservedLabels, ", "))
	case s.keys == "tenant" && CheckTenantName(key) != nil:
		c.fault(path, "%s", CheckTenantName(key))
	case s.keys == "knobs" && (key == "" || strings.ContainsRune(strings.TrimSuffix(key, ".*"), '*') && key != "*"):
		c.fault(path, "%q is neither a knob nor a pattern: a * may only stand at the end, after a dot, as in cache.ttl.*", key)
	case s.keys == "header" && !headerPattern.MatchString(key):
		c.fault(path, "%q is not a header name", key)
	case s.keys == "header" && framingHeader(key):
		c.fault(path, "the header %s is set by the connection itself and can't be configured", key)
	case s.keys == "param" && !paramPattern.MatchString(key):
		c.fault(path, "%q is not a param name (letters, digits, _ . -)", key)
	}
}

// framingHeader reports headers that belong to one connection (RFC 9110, section 7.6.1) or that
// follow from the URL and the body.
func framingHeader(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host":
		return true
	}
	return false
}

// optionalZero are keys with a range whose zero means "not set".
func optionalZero(path string) bool {
	return strings.HasSuffix(path, ".batch.error_status") || strings.HasSuffix(path, ".batch.missing_status")
}

func (c *checks) number(s *spec, n float64, path string, v reflect.Value) {
	if n == 0 && optionalZero(path) {
		return
	}
	switch {
	case s.required && n == 0:
		c.fault(path, "must be a number over 0")
	case s.min != nil && n < s.min.value:
		c.fault(path, "must be at least %s, not %s", s.min.text, numberText(s, v))
	case s.max != nil && n > s.max.value:
		c.fault(path, "must be at most %s, not %s", s.max.text, numberText(s, v))
	}
}

func numberText(s *spec, v reflect.Value) string {
	if s.kind == kindFloat {
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

func (c *checks) text(s *spec, text, path string) {
	if len(s.enum) > 0 {
		if !slices.Contains(s.enum, text) {
			c.suggest(path, nearest(text, s.enum), "must be one of %s, not %q", strings.Join(slices.DeleteFunc(slices.Clone(s.enum), isEmpty), ", "), text)
		}
		return
	}
	if text == "" {
		if s.required {
			c.fault(path, "is needed; set it to %s", s.example())
		}
		return
	}
	if strings.ContainsAny(text, "\x00") || s.format != "" && strings.ContainsAny(text, "\r\n") {
		c.fault(path, "must not hold line breaks or NUL")
		return
	}
	switch s.format {
	case "address":
		c.address(path, text)
	case "url":
		c.url(path, text)
	case "proxy":
		if text != "environment" {
			c.proxy(path, text)
		}
	case "webhook":
		c.webhookURL(path, text)
	case "keyhash":
		c.keyHash(path, text)
	case "header":
		if !headerPattern.MatchString(text) {
			c.fault(path, "%q is not a header name", text)
		}
	case "regexp":
		if _, err := regexp.Compile(text); err != nil {
			c.fault(path, "is not a regular expression (RE2): %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
}

func isEmpty(s string) bool { return s == "" }

// example says what a text that is needed looks like.
func (s *spec) example() string {
	switch {
	case s.format == "url":
		return "the API's URL, such as https://api.example.com/v1"
	case s.name == "upstream":
		return "the name of an upstream"
	case s.name == "path":
		return "the path of the request, such as /movies/{id}"
	}
	return s.what()
}

func (c *checks) address(path, text string) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		suggestion := ""
		if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65536 {
			suggestion = "127.0.0.1:" + text
		} else if !strings.Contains(text, ":") {
			suggestion = text + ":8080"
		}
		c.suggest(path, suggestion, "must be an address host:port, not %q", text)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		c.fault(path, "the port %q must be a number from 0 to 65535", port)
	}
	if strings.ContainsAny(host, "/ @") {
		c.fault(path, "the host %q is not a host name or an IP address", host)
	}
}

func (c *checks) url(path, text string) {
	u, err := url.Parse(text)
	if err != nil {
		c.fault(path, "is not a URL: %s", maskError(err))
		return
	}
	switch {
	case u.Scheme == "" || !strings.Contains(text, "://"):
		suggestion := ""
		if !strings.Contains(text, "@") {
			suggestion = "https://" + strings.TrimLeft(text, "/")
		}
		c.suggest(path, suggestion, "must begin with http:// or https://")
	case u.Scheme != "http" && u.Scheme != "https":
		c.fault(path, "must begin with http:// or https://, not %s://", u.Scheme)
	case u.Hostname() == "":
		c.fault(path, "has no host")
	case !goodPort(u):
		c.fault(path, "the port must be a number from 1 to 65535")
	}
	if u.User != nil {
		c.fault(path, "must not hold a user name or password; put secrets under credentials, with env or file")
	}
	if u.RawQuery != "" || u.ForceQuery {
		c.fault(path, "must not hold a query; put fixed parameters into the routes' query, secrets under credentials")
	}
	if u.Fragment != "" || strings.HasSuffix(text, "#") {
		c.fault(path, "must not hold a fragment (#)")
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(p string) bool { return p == "." || p == ".." }) {
		c.fault(path, "must not hold . or .. segments")
	}
}

func goodPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}

func (c *checks) proxy(path, text string) {
	u, err := url.Parse(text)
	if err != nil {
		c.fault(path, "is not a URL: %s", maskError(err))
		return
	}
	if !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) || u.Host == "" {
		c.suggest(path, nearest(text, []string{"environment"}), "must be \"environment\" or the URL of an http, https or socks5 proxy")
	}
}

// sections checks what concerns several keys of the sections.
func (c *checks) sections(cfg *Config) {
	c.workers("workers", cfg.Workers)
	if cfg.Server.Listen == cfg.Admin.Listen && !strings.HasSuffix(cfg.Server.Listen, ":0") {
		c.fault("admin.listen", "is the same address as server.listen; the admin plane needs its own")
	}
	if cfg.Cache.Persist && cfg.DataDir == "" {
		c.fault("cache.persist", "needs a folder to save to; set data_dir")
	}
	if m := cfg.Monitoring; m.SamplingInterval > 0 && m.Retention < 10*m.SamplingInterval {
		c.fault("monitoring.retention", "must hold at least ten samples: %s or more with sampling_interval %s", 10*m.SamplingInterval, m.SamplingInterval)
	}
	t := cfg.Admin.Token
	if t.Env != "" && t.File != "" {
		c.fault("admin.token", "has env and file; keep one")
	}
	c.envName("admin.token.env", t.Env)
	c.tracing(cfg.Tracing)
	c.cluster(cfg.Cluster)
	if l := cfg.Tuning.LatencyLimit; l > 0 && l < time.Millisecond {
		c.fault("tuning.latency_limit", "must be at least 1ms, or 0s for none, not %s", l)
	}
	for name, value := range cfg.Knobs {
		if value == "" {
			c.fault("knobs."+name, "has no value; write one or remove the line")
		}
	}
}

// adminTokens checks where the named tokens come from.
func (c *checks) adminTokens(a Admin) {
	for _, name := range slices.Sorted(maps.Keys(a.Tokens)) {
		t, path := a.Tokens[name], "admin.tokens."+name
		if (t.Env == "") == (t.File == "") {
			c.fault(path, "needs env or file, to say where the token comes from, and not both")
		}
		c.envName(path+".env", t.Env)
	}
}

func (c *checks) envName(path, name string) {
	if name != "" && !envPattern.MatchString(name) {
		c.fault(path, "is not the name of an environment variable; the secret itself does not belong here")
	}
}

func (c *checks) workers(path string, w Workers) {
	if w.Min > w.Max {
		c.fault(path+".min", "must be at most max (%d), not %d", w.Max, w.Min)
		return
	}
	if w.Count < w.Min {
		c.fault(path+".count", "must be at least min (%d), not %d", w.Min, w.Count)
	}
	if w.Count > w.Max {
		c.fault(path+".count", "must be at most max (%d), not %d", w.Max, w.Count)
	}
}

// policy checks a cache policy.
func (c *checks) policy(path string, p CachePolicy) {
	if p.Mode == "ttl" && p.TTL < time.Millisecond {
		c.fault(path+".ttl", "must be over 0 under mode ttl; use mode off to keep nothing")
	}
}

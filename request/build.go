package request

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// compiledRoute is what Build needs, worked out once.
type compiledRoute struct {
	method string
	path   template
	query  []namedTemplate
	header []namedTemplate
	params map[string]compiledParam
	names  []string // all params, sorted
	key    []string // the params of the key, sorted
	keyed  bool
}

type namedTemplate struct {
	name string
	template
}

type compiledParam struct {
	Param
	pattern *regexp.Regexp
	inPath  bool
	// inBody: the JSON type reaches the upstream, so that "1" and 1 are different questions.
	inBody bool
}

// Compile checks the route's templates and patterns, prepares Build, and completes Params by those
// that only a template names. It reports every fault found, joined. It must be called once, before
// the route is shared.
func (r *Route) Compile() error {
	c := &compiledRoute{method: strings.ToUpper(r.Method), params: make(map[string]compiledParam)}
	if c.method == "" {
		c.method = http.MethodGet
	}
	r.Method = c.method
	var faults []error
	for name, p := range r.Params {
		cp, err := compileParam(name, p)
		if err != nil {
			faults = append(faults, err)
		}
		c.params[name] = cp
	}
	faults = append(faults, c.compilePath(r.Path))
	var errs []error
	c.query, errs = c.compileNamed("query", r.Query)
	faults = append(faults, errs...)
	c.header, errs = c.compileNamed("headers", r.Header)
	faults = append(faults, errs...)
	c.useBody(r.Body)
	if err := errors.Join(faults...); err != nil {
		return err
	}
	c.names = slices.Sorted(maps.Keys(c.params))
	r.Params = make(map[string]Param, len(c.params))
	for name, p := range c.params {
		r.Params[name] = p.Param
	}
	c.key = slices.Sorted(slices.Values(r.Key))
	if len(c.key) == 0 {
		c.key = c.names
	}
	for _, name := range c.key {
		if _, ok := c.params[name]; !ok {
			faults = append(faults, fmt.Errorf("key: the route has no param %q", name))
		}
	}
	c.keyed = SafeMethod(c.method) || r.Cache.Mode == CacheTTL
	r.compiled = c
	return errors.Join(faults...)
}

func compileParam(name string, p Param) (compiledParam, error) {
	cp := compiledParam{Param: p}
	if !paramName.MatchString(name) {
		return cp, fmt.Errorf("params: %q is not a param name (letters, digits, _ . -)", name)
	}
	if p.Pattern == "" {
		return cp, nil
	}
	re, err := regexp.Compile(`^(?:` + p.Pattern + `)$`)
	if err != nil {
		return cp, fmt.Errorf("params.%s.pattern: %w", name, err)
	}
	cp.pattern = re
	if p.Default != nil {
		if text, err := paramText(p.Default); err != nil || !re.MatchString(text) {
			return cp, fmt.Errorf("params.%s.default: %v does not match the pattern %s", name, p.Default, p.Pattern)
		}
	}
	return cp, nil
}

func (c *compiledRoute) compilePath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path: %q must begin with /", path)
	}
	if strings.ContainsAny(path, "?#\\ ") {
		return fmt.Errorf("path: %q must not contain ?, #, \\ or a space; put query parameters under query", path)
	}
	t, err := parseTemplate(path)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	for _, seg := range strings.Split(path, "/") {
		if isDots(seg) {
			return fmt.Errorf("path: %q must not contain . or .. segments", path)
		}
	}
	c.path = t
	for _, name := range t.names() {
		p := c.use(name)
		p.Required, p.inPath = p.Default == nil, true
		c.params[name] = p
	}
	return nil
}

func (c *compiledRoute) compileNamed(section string, m map[string]string) ([]namedTemplate, []error) {
	var out []namedTemplate
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t, err := parseTemplate(m[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("%s.%s: %w", section, name, err))
			continue
		}
		for _, p := range t.names() {
			c.params[p] = c.use(p)
		}
		out = append(out, namedTemplate{name, t})
	}
	return out, faults
}

// use returns the declared param, or a new required one.
func (c *compiledRoute) use(name string) compiledParam {
	if p, ok := c.params[name]; ok {
		return p
	}
	return compiledParam{Param: Param{Required: true}}
}

// useBody finds the params that the body's template names.
func (c *compiledRoute) useBody(v any) {
	switch v := v.(type) {
	case string:
		if name, ok := bodyParam(v); ok {
			p := c.use(name)
			p.inBody = true
			c.params[name] = p
		}
	case []any:
		for _, e := range v {
			c.useBody(e)
		}
	case map[string]any:
		for _, e := range v {
			c.useBody(e)
		}
	}
}

func bodyParam(s string) (string, bool) {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && paramName.MatchString(s[1:len(s)-1]) {
		return s[1 : len(s)-1], true
	}
	return "", false
}

// Build makes the Request for params, with ID, Tenant, Arrived and Deadline left to the caller.
// Values are JSON values: strings, json.Number, numbers, booleans; arrays and objects only where
// a body template or a whole query entry takes them; null counts as absent. Faulty params give an
// *Error of ProblemInvalidParams with one FieldError for each fault. The route must have been
// compiled.
func (r *Route) Build(params map[string]any) (*Request, error) {
	c := r.compiled
	values, faults := c.check(params)
	if len(faults) > 0 {
		return nil, &Error{
			Problem: ProblemInvalidParams,
			Detail:  fmt.Sprintf("route %q: %s", r.Name, faults[0].Detail),
			Fields:  faults,
		}
	}
	req := &Request{Route: r, Params: values, Method: c.method, StreamLength: -1}
	req.SetUrgency(r.Urgency)
	req.Path, _ = c.path.expand(func(name string) (string, bool) {
		text, err := paramText(values[name])
		return url.PathEscape(text), err == nil
	})
	req.RawQuery = c.buildQuery(values)
	req.Header = c.buildHeader(values)
	if r.Body != nil {
		body, err := json.Marshal(fillBody(r.Body, values))
		if err != nil {
			return nil, Errorf(ProblemInvalidParams, "route %q: the body can't be written as JSON: %w", r.Name, err)
		}
		req.Data = body
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	if c.keyed {
		req.Key = c.buildKey(r.Name, values)
	}
	return req, nil
}

// check fills defaults in and finds every fault.
func (c *compiledRoute) check(params map[string]any) (map[string]any, []FieldError) {
	values := make(map[string]any, len(c.params))
	var faults []FieldError
	fault := func(name, format string, args ...any) {
		faults = append(faults, FieldError{Pointer: "/params/" + escapePointer(name), Detail: fmt.Sprintf(format, args...)})
	}
	for _, name := range c.names {
		p := c.params[name]
		v, ok := params[name]
		if !ok || v == nil {
			v = p.Default
		}
		switch {
		case v == nil && p.Required:
			fault(name, "the param %q is missing", name)
		case v == nil:
		default:
			if problem := p.problem(v); problem != "" {
				fault(name, "the param %q %s", name, problem)
			}
			values[name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if _, ok := c.params[name]; !ok {
			fault(name, "the route has no param %q; it takes %s", name, listNames(c.names))
		}
	}
	return values, faults
}

// problem says why v can't be the param's value, "" if it can.
func (p compiledParam) problem(v any) string {
	text, err := paramText(v)
	switch {
	case err != nil && (p.inPath || p.pattern != nil):
		return err.Error()
	case err != nil:
		return ""
	case p.inPath && (text == "" || isDots(text) || hasDotSegment(text)):
		return fmt.Sprintf("is %q, which can't stand in a path", text)
	case p.pattern != nil && !p.pattern.MatchString(text):
		return fmt.Sprintf("does not match the pattern %s", p.Pattern)
	}
	return ""
}

func (c *compiledRoute) buildQuery(values map[string]any) string {
	q := make(url.Values, len(c.query))
	for _, t := range c.query {
		if name, ok := t.whole(); ok {
			if list, ok := values[name].([]any); ok {
				for _, e := range list {
					q.Add(t.name, looseText(e))
				}
				continue
			}
		}
		if text, ok := t.expand(textOf(values)); ok {
			q.Set(t.name, text)
		}
	}
	return q.Encode()
}

func (c *compiledRoute) buildHeader(values map[string]any) http.Header {
	h := make(http.Header, len(c.header)+2)
	for _, t := range c.header {
		if text, ok := t.expand(textOf(values)); ok {
			h.Set(t.name, headerText.Replace(text))
		}
	}
	return h
}

// headerText keeps a param from ending its header line.
var headerText = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func textOf(values map[string]any) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := values[name]
		if !ok {
			return "", false
		}
		return looseText(v), true
	}
}

func fillBody(v any, values map[string]any) any {
	switch v := v.(type) {
	case string:
		if name, ok := bodyParam(v); ok {
			return values[name]
		}
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = fillBody(e, values)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			// An entry whose param is absent is left out, as in query.
			if s, ok := e.(string); ok {
				if name, ok := bodyParam(s); ok && values[name] == nil {
					continue
				}
			}
			out[k] = fillBody(e, values)
		}
		return out
	}
	return v
}

// buildKey writes "route?a=1&b=x": readable, so that people can purge by prefix, and escaped, so
// that no two questions share one.
func (c *compiledRoute) buildKey(route string, values map[string]any) string {
	var b strings.Builder
	b.WriteString(route)
	sep := byte('?')
	for _, name := range c.key {
		v, ok := values[name]
		if !ok {
			continue
		}
		text := looseText(v)
		if c.params[name].inBody {
			text = jsonText(v)
		}
		b.WriteByte(sep)
		sep = '&'
		b.WriteString(url.QueryEscape(name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(text))
	}
	return b.String()
}

package configs

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"penstock/request"
)

// route checks what concerns several keys of a route.
func (c *checks) route(path, name string, r Route, upstreams []string) {
	if name == request.ProxyRoute {
		c.fault(path, "%q is the name of every upstream's own proxy path; choose another", name)
	}
	if r.Upstream != "" && !slices.Contains(upstreams, r.Upstream) {
		f := Fault{Key: path + ".upstream", Problem: "there is no upstream " + quote(r.Upstream), Suggestion: nearest(r.Upstream, upstreams)}
		if f.Suggestion == "" && len(upstreams) > 0 && len(upstreams) <= 20 {
			f.Problem += "; there are " + strings.Join(upstreams, ", ")
		}
		c.faults = append(c.faults, f)
	}
	c.method(path+".method", r.Method)
	c.policy(path+".cache", r.Cache)
	if r.Path == "" {
		return
	}
	params := r.paramNames()
	for _, err := range unjoin(r.compile()) {
		c.routeFault(path, err.Error(), params)
	}
	for i, key := range r.Key {
		if !slices.Contains(params, key) {
			c.suggest(indexed(path+".key", i), nearest(key, params), "the route has no param %s%s", quote(key), haveParams(params))
		}
	}
	c.batch(path+".batch", r.Batch, params)
}

// links checks where links between routes lead.
func (c *checks) links(path string, links []Link, all *Config) {
	for i, l := range links {
		at := indexed(path, i)
		if l.From != "" && !strings.Contains(l.From, "[]") {
			c.fault(at+".from", "%q names no list; write [] behind the list's name, as in movies[].id", l.From)
		}
		if l.Route == "" {
			continue
		}
		to, ok := all.Routes[l.Route]
		if !ok {
			c.suggest(at+".route", nearest(l.Route, all.RouteNames()), "there is no route %s", quote(l.Route))
			continue
		}
		params, param := to.paramNames(), cmp.Or(l.Param, "id")
		if !slices.Contains(params, param) {
			c.suggest(at+".param", nearest(param, params), "the route %s has no param %s%s", l.Route, quote(param), haveParams(params))
		}
	}
}

func (c *checks) method(path, method string) {
	if !methodPattern.MatchString(method) {
		suggestion := ""
		if upper := strings.ToUpper(method); methodPattern.MatchString(upper) {
			suggestion = upper
		}
		c.suggest(path, suggestion, "%q is not an HTTP method", method)
	} else if method == "CONNECT" || method == "TRACE" {
		c.fault(path, "the method %s can't be passed on", method)
	}
}

// compile has the request package check the templates, as it will when the route is used.
func (r Route) compile() error {
	params := make(map[string]request.Param, len(r.Params))
	for name, p := range r.Params {
		params[name] = request.Param{Required: p.Required, Pattern: p.Pattern, Default: p.Default, Doc: p.Doc}
	}
	probe := request.Route{Method: r.Method, Path: r.Path, Query: r.Query, Header: r.Headers, Body: r.Body, Params: params}
	return probe.Compile()
}

// unjoin lists the errors that errors.Join put together.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	return []error{err}
}

// routeFault splits "query.lang: problem" into key and problem.
func (c *checks) routeFault(path, text string, params []string) {
	key, problem, ok := strings.Cut(text, ": ")
	if !ok || strings.ContainsAny(key, " \"") {
		key, problem = "", text
	}
	key = join(path, key)
	if slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Key == key }) {
		return // told already, in our own words
	}
	c.fault(key, "%s", problem)
}

var templateParam = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_.-]*)\}`)

// paramNames lists the params that the route declares or uses.
func (r Route) paramNames() []string {
	names := slices.Collect(maps.Keys(r.Params))
	use := func(text string) {
		text = strings.NewReplacer("{{", "", "}}", "").Replace(text)
		for _, m := range templateParam.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	use(r.Path)
	for _, m := range []map[string]string{r.Query, r.Headers} {
		for _, text := range m {
			use(text)
		}
	}
	eachText(r.Body, use)
	slices.Sort(names)
	return slices.Compact(names)
}

func eachText(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, e := range v {
			eachText(e, f)
		}
	case map[string]any:
		for _, e := range v {
			eachText(e, f)
		}
	}
}

func haveParams(params []string) string {
	if len(params) == 0 {
		return "; it has none"
	}
	return "; it has " + strings.Join(params, ", ")
}

func quote(s string) string { return `"` + s + `"` }

// batch checks what the batcher will ask for.
func (c *checks) batch(path string, b Batch, params []string) {
	if b.Form == "" {
		if b.Param != "" || b.Path != "" || b.By != "" || b.ItemsPath != "" {
			c.fault(path+".form", "is needed for a batch; set it to query, path, json_array, jsonrpc, graphql, input or mget")
		}
		return
	}
	if b.Method != "" {
		c.method(path+".method", b.Method)
	}
	if b.Path != "" && !strings.HasPrefix(b.Path, "/") {
		c.fault(path+".path", "%q must begin with /", b.Path)
	}
	needs := b.Form == "query" || b.Form == "path" || b.Form == "mget"
	switch {
	case needs && b.Param == "":
		c.fault(path+".param", "is needed for the form %s: the route's param that carries the id%s", b.Form, haveParams(params))
	case b.Param != "" && !slices.Contains(params, b.Param):
		c.suggest(path+".param", nearest(b.Param, params), "the route has no param %s%s", quote(b.Param), haveParams(params))
	}
	onURL := b.Form == "query" || b.Form == "path"
	if onURL && (b.Body != nil || b.Item != nil) {
		c.fault(path, "the form %s sends no body; remove body and item", b.Form)
	}
	if b.MissingStatus > 499 && b.MissingStatus != 502 {
		c.fault(path+".missing_status", "must be 400 to 499 or 502, not %d", b.MissingStatus)
	}
}

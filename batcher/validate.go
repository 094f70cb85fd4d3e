package batcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/request"
)

// Fault is one thing wrong with a Rule.
type Fault struct {
	// Key is the setting inside the rule, e.g. "max_items".
	Key string
	// Problem says what is wrong and what would be right.
	Problem string
}

// Error gives the key and the problem.
func (f *Fault) Error() string { return f.Key + ": " + f.Problem }

// Validate reports every fault of the rule, joined; each is a [*Fault].
func (r Rule) Validate() error { return errors.Join(asErrors(r.Faults())...) }

// ValidateFor is Validate, and checks the rule against the route that it stands in.
func (r Rule) ValidateFor(route *request.Route) error {
	faults := r.Faults()
	if r.Param != "" && !routeNames(route, r.Param) {
		faults = append(faults, &Fault{"param", fmt.Sprintf("the route has no param %q", r.Param)})
	}
	if r.Form == FormPath && r.Path == "" && r.Param != "" && !names(route.Path, r.Param) {
		faults = append(faults, &Fault{"path", fmt.Sprintf("is needed: the route's own path doesn't name {%s}", r.Param)})
	}
	return errors.Join(asErrors(faults)...)
}

func asErrors(faults []*Fault) []error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errs
}

// Faults lists every fault of the rule.
func (r Rule) Faults() []*Fault {
	if !slices.Contains(Forms(), r.Form) {
		return []*Fault{{"form", fmt.Sprintf("%q is not one of query, path, json_array, jsonrpc, graphql, input, mget", r.Form)}}
	}
	var faults []*Fault
	bad := func(is bool, key, format string, args ...any) {
		if is {
			faults = append(faults, &Fault{key, fmt.Sprintf(format, args...)})
		}
	}
	r.faultsOfCall(bad)
	r.faultsOfAnswer(bad)
	r.faultsOfNumbers(bad)
	return faults
}

type badFunc func(is bool, key, format string, args ...any)

func (r Rule) faultsOfCall(bad badFunc) {
	f := r.Form
	ids := f.onURL() || f == FormMGet
	withBody := f == FormJSONArray || f == FormMGet
	bad(ids && r.Param == "", "param", "form %s needs the name of the param that carries the id", f)
	bad(f.whole() && r.Param != "", "param", "form %s reads the request's own body; leave param out", f)
	bad(r.Path == "" && (f == FormQuery || f == FormMGet || f == FormJSONArray && r.Param != ""), "path",
		"form %s needs the path of the batch call", f)
	bad(r.Path != "" && !strings.HasPrefix(r.Path, "/"), "path", "%q does not begin with /", r.Path)
	bad(strings.ContainsAny(r.Path, "?#"), "path", "%q has a query; put it under query", r.Path)
	bad(f == FormPath && r.Path != "" && r.Param != "" && strings.Count(r.Path, "{"+r.Param+"}") != 1, "path",
		"%q must name {%s}, for the joined ids, once", r.Path, r.Param)
	bad(f != FormPath && r.Param != "" && names(r.Path, r.Param), "path",
		"%q names {%s}, which differs between the members", r.Path, r.Param)
	for name, v := range r.Query {
		bad(r.Param != "" && names(v, r.Param), "query."+name, "names {%s}, which differs between the members", r.Param)
	}
	bad(r.Method != "" && !isToken(r.Method), "method", "%q is not an HTTP method", r.Method)
	bad(!f.onURL() && (r.Method == "GET" || r.Method == "HEAD") && f != FormMGet, "method", "form %s has a body; %s can't carry it", f, r.Method)
	bad(r.Method == "HEAD" && f.onURL(), "method", "the answer to HEAD has no body to split")
	bad(f != FormQuery && (r.Name != "" || r.Repeat), "name", "name and repeat are for form query only")
	bad(!f.onURL() && r.Separator != "", "separator", "is for the forms query and path only")
	bad(f == FormPath && strings.Contains(r.Separator, "/"), "separator", "%q can't stand inside a path segment", r.Separator)
	bad(!withBody && (r.Body != nil || r.Item != nil), "body", "body and item are for the forms json_array and mget only")
	bad(r.Item != nil && r.Param == "" && f == FormJSONArray, "item", "needs param; without it each member's own body is the item")
	bad(!withBody && f != FormInput && r.ArrayPath != "", "array_path", "is for the forms json_array, mget and input only")
	bad(r.ArrayPath != "" && !plainPath(r.ArrayPath), "array_path", "%q is not a plain path of field names joined by dots", r.ArrayPath)
	bad(r.Param != "" && namesIn(r.Body, r.Param), "body", "names {%s}, which differs between the members; use item", r.Param)
	bad(r.Item != nil && r.Param != "" && !namesIn(r.Item, r.Param), "item", "does not name {%s}", r.Param)
}

func (r Rule) faultsOfAnswer(bad badFunc) {
	f := r.Form
	bad(!slices.Contains([]By{"", ByID, ByOrder, ByKey}, r.By), "by", "%q is not one of id, order, key", r.By)
	d := Rule{Form: f, Param: r.Param}.withDefaults().By
	only := f == FormJSONRPC || f == FormGraphQL || f == FormMGet || f == FormJSONArray && r.Param == ""
	bad(only && r.By != "" && r.By != d, "by", "form %s is always split by %s here", f, d)
	bad(f == FormInput && r.By == ByKey, "by", "form input is split by id (the index) or by order")
	by := r.By
	if by == "" {
		by = d
	}
	bad(by != ByID && r.IDPath != "", "id_path", "has no meaning when split by %s", by)
	bad(f == FormJSONRPC && r.IDPath != "", "id_path", "JSON-RPC fixes it")
	bad(f == FormJSONRPC && r.ItemsPath != "", "items_path", "JSON-RPC fixes it")
	bad((f.whole() || f == FormMGet) && r.ItemPath != "", "item_path", "members of form %s get what an unbatched call gives", f)
	bad(f == FormInput && !plainPath(r.ItemsPath) && r.ItemsPath != "", "items_path", "%q is not a plain path of field names joined by dots", r.ItemsPath)
	bad(f == FormInput && !plainPath(r.IDPath) && r.IDPath != "", "id_path", "%q is not a plain path of field names joined by dots", r.IDPath)
	bad(f.whole() && r.MissingStatus != 0 && r.MissingStatus != 502, "missing_status", "nothing may be missing in form %s; leave it out", f)
	bad(r.MissingStatus != 0 && r.MissingStatus != 502 && (r.MissingStatus < 400 || r.MissingStatus > 499), "missing_status",
		"%d is neither 400 to 499 nor 502", r.MissingStatus)
	bad(r.ErrorStatus != 0 && (r.ErrorStatus < 400 || r.ErrorStatus > 599), "error_status", "%d is not within 400 to 599", r.ErrorStatus)
	bad(r.ErrorStatus != 0 && r.ErrorPath == "" && f != FormMGet, "error_status", "needs error_path")
	bad(f == FormInput && r.StatusPath+r.ErrorPath != "", "error_path", "error_path and status_path have no meaning in form input")
}

func (r Rule) faultsOfNumbers(bad badFunc) {
	bad(r.MaxItems < 0 || r.MaxItems == 1, "max_items", "%d is not 2 or more", r.MaxItems)
	bad(r.MaxBytes < 0, "max_bytes", "%d is negative", r.MaxBytes)
	for _, s := range r.SplitOn {
		bad(s < 400 || s > 499 || s == 401 || s == 403 || s == 429, "split_on",
			"%d can't be the fault of one member; allowed are 400 to 499 but 401, 403 and 429", s)
	}
	for _, h := range r.IgnoreHeaders {
		bad(!isToken(h), "ignore_headers", "%q is not a header name", h)
		bad(strings.EqualFold(h, "Authorization") || strings.EqualFold(h, "Cookie"), "ignore_headers",
			"%s decides what a client may see; batching across it would mix answers", h)
	}
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	}) < 0
}

// plainPath reports whether p is field names joined by dots, which gjson and sjson read alike.
func plainPath(p string) bool {
	for part := range strings.SplitSeq(p, ".") {
		if part == "" || strings.ContainsAny(part, `*?|#@\!{}[]():"`) {
			return false
		}
	}
	return true
}

package batcher

import (
	"net/url"

	"penstock/request"
)

// query is the query of the batch call: the member's own, less what differs between members, and
// the rule's.
func (b base) query(r *request.Request) (string, bool) {
	if r.RawQuery == "" && len(b.rule.Query) == 0 {
		return "", true
	}
	values, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		return "", false
	}
	for name, t := range r.Route.Query {
		for param := range b.vary {
			if names(t, param) {
				delete(values, name)
			}
		}
	}
	if b.rule.Form == FormQuery {
		delete(values, b.rule.Name)
	}
	for name, t := range b.rule.Query {
		// As in a route's query, an entry whose params are absent is left out.
		delete(values, name)
		if text, ok := expand(t, r.Params, plainText); ok {
			values.Set(name, text)
		}
	}
	return values.Encode(), true
}

func plainText(s string) (string, bool) { return s, true }

// pathText escapes a param for one segment of a path. Dot segments would leave the path.
func pathText(s string) (string, bool) {
	return url.PathEscape(s), s != "" && s != "." && s != ".."
}

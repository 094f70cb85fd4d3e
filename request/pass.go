package request

import (
	"net/http"
	"net/url"
	"strings"
)

// Pass hands on those of the client's headers that the route names. An answer may depend on them, so
// their values become part of the key.
func (r *Request) Pass(client http.Header) {
	for _, name := range r.Route.PassHeaders {
		name = http.CanonicalHeaderKey(name)
		values := client[name]
		if len(values) == 0 {
			continue
		}
		r.Header[name] = values
		if r.Key != "" {
			r.Key += "|" + name + "=" + url.QueryEscape(strings.Join(values, ","))
		}
	}
}

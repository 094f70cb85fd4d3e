package upstream

import (
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
)

// settings is all that a reload replaces. It is immutable, but for the breaker's state.
type settings struct {
	opts          Options
	base          base
	transport     *pooled
	breaker       *breaker
	static        map[string][]string
	secretHeaders map[string][]string
	secretParams  []secretParam
}

// newSettings validates o and builds everything, taking from old (nil at first) the transport and
// the breaker where their part is unchanged.
func newSettings(o Options, old *settings, conns *atomic.Int64) (*settings, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	s := &settings{opts: o, base: b, static: make(map[string][]string, len(o.Headers))}
	for name, value := range o.Headers {
		s.static[http.CanonicalHeaderKey(name)] = []string{value}
	}
	f := faults{prefix: "upstreams." + o.Name + "."}
	s.readCredentials(&f)
	files := o.TLS.read(&f)
	if len(f.all) > 0 {
		return nil, errors.Join(f.all...)
	}
	key := transportKey{
		base: base{scheme: b.scheme, host: b.host}, proxy: o.Proxy, connect: o.Timeouts.Connect,
		header: o.Timeouts.ResponseHeader, pool: o.Pool, tls: o.TLS, files: files.hash(),
	}
	if old != nil && old.transport.key == key && o.RoundTripper == nil && old.opts.RoundTripper == nil {
		s.transport = old.transport
	} else {
		s.transport = &pooled{RoundTripper: newTransport(&o, files, conns, &f), key: key}
	}
	if len(f.all) > 0 {
		return nil, errors.Join(f.all...)
	}
	// Another host is another upstream to the breaker: its rest would be for nothing.
	if old != nil && old.opts.Breaker == o.Breaker && old.base.host == b.host && old.base.scheme == b.scheme {
		s.breaker = old.breaker
	} else {
		s.breaker = newBreaker(o.Breaker)
	}
	return s, nil
}

func (s *settings) retriesStatus(status int) bool {
	return slices.Contains(s.opts.Retry.OnStatus, status)
}

package cache

import (
	"io"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// keep stores the complete answer, unless a purge came since the call began. It stores it as it
// is: who waits for the end of the body must not wait for its compression.
func (f *flight) keep(o *outcome, body []byte, answered time.Time) *entry {
	e := newEntry(o.response.Status, o.response.Header, body, o.verdict, answered)
	e.vary, e.selectors = o.vary, o.values
	var look *Look
	if f.observes(&o.verdict) {
		look = f.lookAt(o.response.Header, answered)
		f.c.tracks.observe(look, e, o.values, body, f.checks())
	}
	stored := f.put(e)
	f.tell(look)
	if !stored {
		return nil
	}
	return e
}

// pack compresses a stored entry if that pays, nil: none.
func (f *flight) pack(e *entry) {
	if e == nil || !packable(e.header, len(e.body), f.c.settings.Load().CompressMinBytes) {
		return
	}
	body, ok := f.c.codec.pack(e.body)
	if !ok {
		return
	}
	small := *e
	small.body, small.packed, small.thawed = body, true, new(thawed)
	f.c.store.update(f.key, func(old *record) *record { return old.replace(f.key, e, &small) })
}

// put stores e and ends the flight's listing in one step, so that no request finds neither. It
// reports whether a purge left that to do.
func (f *flight) put(e *entry) bool {
	e.counters = f.c.counters.of(f.req.Route.Upstream, f.req.Route.Name)
	e.tenant = strings.Clone(f.req.Tenant) // which may be a part of the whole request header
	f.c.sample(f.key, e)
	became := unwanted
	f.c.flights.conclude(f, func() {
		became = f.c.store.admit(f.key, e, f.c.limitOf, func(old *record) *record {
			now := time.Now()
			if failed(e.status) && old != nil {
				if good := old.find(f.selectors); good != nil && !failed(good.status) && good.age(now) < good.lifetime+good.staleIfError {
					return nil // a failure with a lifetime of its own must not push out what stands in for it
				}
			}
			return old.with(f.key, f.req, e, now)
		})
	})
	switch became {
	case admitted:
		if !f.second {
			f.c.counters.stored.Inc()
			f.c.second.offer(f.key)
		}
		f.c.confine(f.key, e.counters, e.weight()+int64(len(f.key)))
		if f.superseded != nil {
			f.c.flights.supersede(f)
		}
	case overShare:
		f.c.counters.shareExceeded.Inc()
	}
	return became == admitted
}

// renew ends a validation: what is stored is still right (RFC 9111, section 4.3.4).
func (f *flight) renew(resp *request.Response, m moment) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, minChunk))
	_ = resp.Body.Close()
	merged := f.validates.mergedHeader(resp.Header)
	q := f.q
	q.method = http.MethodGet // a HEAD renews the answer to GET that it asked about
	v := judge(q, f.validates.status, merged, m)
	e := f.validates.renew(resp.Header, v, m.answered)
	e.counters = f.c.counters.of(f.req.Route.Upstream, f.req.Route.Name)
	resp.Body = http.NoBody
	o := outcome{response: resp, verdict: v, renewed: e}
	var look *Look
	if v.store {
		if f.observes(&v) {
			look = f.lookAt(merged, m.answered)
			f.c.tracks.renewed(look, e, f.checks())
		}
		f.put(e)
	} else {
		f.c.purgeKey(f.key) // it may not be kept any longer
	}
	f.c.counters.revalidated.Inc()
	f.remember(v.share, f.validates.status, f.validates.vary)
	f.c.flights.unlist(f)
	f.hand(o)
	f.tell(look)
}

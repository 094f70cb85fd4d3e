package batcher

import (
	"net/http"

	"penstock/request"
)

// perMember are headers of the members' requests that the call must not carry: they describe
// one member's body or connection, or name one member only. Without Accept-Encoding the transport
// asks for what it can undo itself.
var perMember = []string{
	"Accept-Encoding", "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest",
	"Baggage", "X-Request-Id", "X-Correlation-Id", "Priority",
}

// call makes the upstream request for the slots: as urgent as the most urgent member, wanted until
// the last has given up, and in the background only if nobody waits.
func (x *exchange) call(p *part, slots []slot) *request.Request {
	items := make([]item, len(slots))
	first := x.first(slots)
	urgent := first
	c := &request.Request{
		ID: "batch-" + first.ID, Route: first.Route, Tenant: first.Tenant, StreamLength: -1,
		Arrived: first.Arrived, Deadline: first.Deadline, Background: true,
	}
	for n, s := range slots {
		items[n] = s.item
		for _, i := range s.members {
			m := x.members[i]
			c.Items++
			if m.Urgency() < urgent.Urgency() {
				urgent = m
			}
			if m.Tenant != c.Tenant {
				c.Tenant = ""
			}
			if m.Arrived.Before(c.Arrived) {
				c.Arrived = m.Arrived
			}
			if !c.Deadline.IsZero() && (m.Deadline.IsZero() || m.Deadline.After(c.Deadline)) {
				c.Deadline = m.Deadline
			}
			c.Background = c.Background && m.InBackground()
		}
	}
	c.SetUrgency(urgent.Urgency())
	c.MarkStarted()
	f := p.rule.codec.write(p.frame, items)
	c.Method, c.Path, c.RawQuery, c.Data = f.method, f.path, f.query, f.body
	c.Header = x.header(p.rule, first, urgent)
	return c
}

func (x *exchange) header(r *compiledRule, first, urgent *request.Request) http.Header {
	h := first.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	for _, name := range perMember {
		h.Del(name)
	}
	if v := urgent.Header.Get("Priority"); v != "" {
		h.Set("Priority", v)
	}
	switch {
	case r.bodyless():
		h.Del("Content-Type")
		h.Del("Content-Encoding")
	case r.jsonBody() || h.Get("Content-Type") == "":
		h.Set("Content-Type", "application/json")
	}
	return h
}

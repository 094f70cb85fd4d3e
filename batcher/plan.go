package batcher

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"penstock/request"
)

// ruleset is what Apply swaps: the rules by route, ready for use.
type ruleset struct {
	rules     map[string]*compiledRule
	maxAnswer int64
}

// compiledRule is a rule with all that is worked out once.
type compiledRule struct {
	Rule
	codec codec
	// vary are the params that may differ between members.
	vary map[string]bool
	// ignore are the headers that may differ, in canonical form.
	ignore  map[string]bool
	metrics *routeMetrics
}

func compile(r Rule, m *routeMetrics) *compiledRule {
	r = r.withDefaults()
	c := &compiledRule{Rule: r, codec: newCodec(r), vary: r.varying(), ignore: make(map[string]bool), metrics: m}
	for _, h := range r.IgnoreHeaders {
		c.ignore[http.CanonicalHeaderKey(h)] = true
	}
	return c
}

// ticket is how one request could travel with others.
type ticket struct {
	rule  *compiledRule
	frame frame
	item  item
	group string
	// room is the most bytes that items may add to the frame.
	room int
}

// ticket reads the request by the rule of its route. False: it travels alone.
func (s *ruleset) ticket(r *request.Request) (ticket, bool) {
	if s == nil || !batchable(r) {
		return ticket{}, false
	}
	rule := s.rules[r.Route.Name]
	if rule == nil || int64(len(r.Data)) > rule.MaxBytes {
		return ticket{}, false
	}
	f, it, ok := rule.codec.read(r)
	if !ok {
		return ticket{}, false
	}
	t := ticket{rule: rule, frame: f, item: it, room: int(rule.MaxBytes) - f.size(rule.Form.onURL())}
	if it.weight > t.room {
		return ticket{}, false
	}
	t.group, ok = rule.group(r, f)
	return t, ok
}

// plan is the ticket as the scheduler wants it.
func (s *ruleset) plan(r *request.Request) request.BatchPlan {
	t, ok := s.ticket(r)
	if !ok {
		return request.BatchPlan{Max: 1}
	}
	return request.BatchPlan{Group: t.group, Max: t.rule.MaxItems, Weight: t.item.weight, MaxWeight: t.room}
}

// ofOneRequest are the headers that speak of one request only. They don't decide whether requests
// may travel together; the call carries the trace of its first member, and none of the others.
var ofOneRequest = map[string]bool{
	"Traceparent": true, "Tracestate": true, "Baggage": true, "X-Request-Id": true, "X-Correlation-Id": true,
	"B3": true, "X-B3-Traceid": true, "X-B3-Spanid": true, "X-B3-Parentspanid": true, "X-B3-Sampled": true,
	"X-B3-Flags": true, "Priority": true, "Accept-Encoding": true, "Content-Length": true,
}

// group is the digest of everything that members share: upstream, route, frame, the params and
// headers that may not differ. A digest, since the group is kept and compared by the queue and must
// not carry credentials there.
func (c *compiledRule) group(r *request.Request, f frame) (string, bool) {
	b := make([]byte, 0, 512)
	add := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, s := range []string{r.Route.Upstream, r.Route.Name, f.method, f.path, f.query} {
		add(s)
	}
	add(string(f.body))
	if c.Param != "" {
		for _, name := range slices.Sorted(maps.Keys(r.Params)) {
			if c.vary[name] {
				continue
			}
			v, err := json.Marshal(r.Params[name])
			if err != nil {
				return "", false
			}
			add(name)
			add(string(v))
		}
	}
	add("")
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if ofOneRequest[name] || c.ignore[name] {
			continue
		}
		add(name)
		b = binary.AppendUvarint(b, uint64(len(r.Header[name])))
		for _, v := range r.Header[name] {
			add(v)
		}
	}
	sum := sha256.Sum256(b)
	return string(sum[:]), true
}

// slot is one item of a call and the members that it answers, as indices into DoBatch's members.
type slot struct {
	item    item
	members []int
	// own are the members' own items, equal but for what belongs to one member only.
	own []item
}

// part is a set of slots that travels as one call.
type part struct {
	ticket
	slots []slot
	// bytes is what the slots add to the frame.
	bytes int
	// share and ids find slots.
	share map[string]int
	ids   map[string]bool
}

// parts sorts the members into calls. The scheduler has grouped them by Plan, so this is one part
// as a rule; but rules may have changed since then, and ids that would be mistaken for each other
// must not meet.
func (s *ruleset) parts(members []*request.Request) []*part {
	var parts []*part
	for i, m := range members {
		t, ok := s.ticket(m)
		if !ok {
			parts = append(parts, &part{slots: []slot{{members: []int{i}}}})
			continue
		}
		joined := false
		for _, p := range parts {
			if joined = p.join(i, t); joined {
				break
			}
		}
		if !joined {
			p := &part{ticket: t, share: make(map[string]int), ids: make(map[string]bool)}
			p.join(i, t)
			parts = append(parts, p)
		}
	}
	return parts
}

// join adds member i to the part if it fits.
func (p *part) join(i int, t ticket) bool {
	if p.rule == nil || p.group != t.group {
		return false
	}
	if t.item.share != "" {
		if n, ok := p.share[t.item.share]; ok {
			p.slots[n].members = append(p.slots[n].members, i)
			p.slots[n].own = append(p.slots[n].own, t.item)
			return true
		}
	}
	full := len(p.slots) > 0 && (len(p.slots) >= p.rule.MaxItems || p.bytes+t.item.weight > p.room)
	if full || t.item.id != "" && p.ids[t.item.id] {
		return false
	}
	if t.item.share != "" {
		p.share[t.item.share] = len(p.slots)
	}
	p.ids[t.item.id] = true
	p.bytes += t.item.weight
	p.slots = append(p.slots, slot{item: t.item, members: []int{i}, own: []item{t.item}})
	return true
}

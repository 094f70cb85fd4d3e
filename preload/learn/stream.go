package learn

const (
	// sessionLags is how many requests back a key is credited to in its session.
	sessionLags = 4
	// groupLags is how many requests of a tenant are remembered.
	groupLags = 256
	// orders is the longest context, in keys.
	orders = 3
)

// session is the latest requests of a client, in a ring.
type session struct {
	keys [sessionLags]uint64
	ats  [sessionLags]int64
	n    uint32
}

// group is the latest requests of a tenant.
type group struct {
	ring [groupLags]groupStep
	n    uint32
	far  uint32 // the first step that is not a call's time ago
	only uint64 // the session of the latest requests
	same uint32 // how many of them
}

type groupStep struct {
	key uint64
	at  int64
}

// key is what was asked for lag requests ago, 1 the latest.
func (s *session) key(lag uint32) uint64 { return s.keys[(s.n-lag)%sessionLags] }

// context is the context of order further keys that ended with the request lag requests ago; 0: there is none.
func (s *session) context(lag, order uint32, tenant uint64) uint64 {
	if lag+order > min(s.n, sessionLags) {
		return 0
	}
	key := s.key(lag)
	h := join(key, tenant)
	for i := lag + 1; i <= lag+order; i++ {
		p := s.key(i)
		if p == key {
			return 0 // a key asked for again says nothing more
		}
		h = join(h, p)
	}
	return h
}

func (m *Model) session(h uint64) *session {
	slot := m.sessions.get(h)
	if slot < 0 {
		slot, _ = m.sessions.add(h)
		m.rings[slot] = session{}
	}
	return &m.rings[slot]
}

func (m *Model) group(h uint64) *group {
	slot := m.groups.get(h)
	if slot < 0 {
		slot, _ = m.groups.add(h)
		m.streams[slot] = group{}
	}
	return &m.streams[slot]
}

// push adds a request to a session.
func (s *session) push(a *Access) {
	s.keys[s.n%sessionLags], s.ats[s.n%sessionLags] = a.Key, a.At
	if s.n++; s.n >= 1<<30 {
		s.n = sessionLags
	}
}

// associated is the context of a key in the stream of its tenant.
func associated(key, tenant uint64) uint64 { return join(join(tenant, key), 1) }

func (g *group) push(a *Access) {
	g.ring[g.n%groupLags] = groupStep{a.Key, a.At}
	if g.n++; g.n >= 1<<30 {
		g.n, g.far = groupLags, 0
	}
	if a.Session != g.only {
		g.only, g.same = a.Session, 0
	}
	g.same = min(g.same+1, groupLags)
}

// creditLags is how many requests back a key is credited to contexts of 1, 2 and 3 keys: a longer one
// says what comes at once, and is spread over too many contexts to learn more.
var creditLags = [orders]uint32{4, 2, 1}

// Lags at which a key is credited to the requests of its tenant: the nearest, and from a call's time ago.
var (
	nearLags = [...]uint32{1, 2, 4}
	farLags  = [...]uint32{0, 1, 2, 4, 8, 16}
)

// contexts are those that one request bears on: the past ones that it is credited to, and those that it
// ends.
type contexts struct {
	list  [maxCredits + nodesSeen]uint64 // of credits, then of what is seen
	leads [maxCredits]int64
	n     int // credits
}

const maxCredits = 16

func (c *contexts) add(context uint64, lead int64) {
	c.list[c.n], c.leads[c.n] = context, lead
	c.n++
}

// seen are the contexts that the request ends; 0: none.
func (c *contexts) seen() *[nodesSeen]uint64 {
	return (*[nodesSeen]uint64)(c.list[c.n:])
}

// learn takes a request into the streams, credits the key, if it was not in the cache, to the contexts
// before it, and returns what may follow.
func (m *Model) learn(s *session, g *group, a *Access, fresh bool) (nodes [nodesSeen]*followers) {
	var c contexts
	if fresh && !m.o.Off[Sequence] {
		s.credit(&c, a)
	}
	if fresh && !m.o.Off[Association] {
		g.credit(&c, a)
	}
	s.push(a)
	g.push(a)
	seen := c.seen()
	if !m.o.Off[Sequence] {
		seen[0], seen[1] = halves(s.context(1, 0, a.Group))
		for order := uint32(1); order < orders; order++ {
			seen[order+1] = s.context(1, order, a.Group)
		}
	}
	if !m.o.Off[Association] {
		seen[nodesSeen-2], seen[nodesSeen-1] = halves(associated(a.Key, a.Group))
	}
	m.rules.warm(c.list[:c.n+nodesSeen])
	for i, context := range c.list[:c.n] {
		m.rules.credit(context, a.Key, c.leads[i])
	}
	for i, context := range seen {
		if context != 0 {
			nodes[i] = m.rules.see(context)
		}
	}
	m.warm(&nodes)
	return nodes
}

func (s *session) credit(c *contexts, a *Access) {
	for lag := uint32(1); lag <= min(s.n, sessionLags); lag++ {
		if s.key(lag) == a.Key {
			continue
		}
		for order, lags := range creditLags {
			if lag > lags {
				break
			}
			context := s.context(lag, uint32(order), a.Group)
			if order == 0 {
				context = half(context, a.Key)
			}
			if context != 0 {
				c.add(context, a.At-s.ats[(s.n-lag)%sessionLags])
			}
		}
	}
}

func (g *group) credit(c *contexts, a *Access) {
	if g.same < sessionLags { // where one client is the whole stream, the near is in its session already
		for _, lag := range nearLags {
			g.creditAt(c, a, lag)
		}
	}
	if a.Latency <= 0 {
		return
	}
	if g.n-g.far > groupLags {
		g.far = g.n - groupLags
	}
	for g.far < g.n && g.ring[g.far%groupLags].at <= a.At-a.Latency {
		g.far++
	}
	for _, lag := range farLags {
		g.creditAt(c, a, g.n-g.far+1+lag)
	}
}

func (g *group) creditAt(c *contexts, a *Access, lag uint32) {
	if lag > g.n || lag > groupLags {
		return
	}
	if st := &g.ring[(g.n-lag)%groupLags]; st.key != a.Key {
		c.add(half(associated(st.key, a.Group), a.Key), a.At-st.at)
	}
}
